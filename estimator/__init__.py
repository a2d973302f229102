"""How much memory a fine-tune takes. Knows neither gradio nor the studio; torch only where a model is built or traced
(`trace`, `step`, `fit`, ...)."""

from estimator.core import library_logs
from estimator.core.problems import Problem
from estimator.estimates.estimate import Estimate, check, compare_methods, estimate
from estimator.estimates.parts import cpu_growth
from estimator.hardware.cards import find_gpu, gpus
from estimator.hub.sources import model_from_config, open_model
from estimator.model.catalog import models
from estimator.recipe.recipe import Recipe

__all__ = [
    "Estimate", "Problem", "Recipe", "check", "compare_methods", "cpu_growth", "estimate", "find_gpu", "gpus",
    "model_from_config", "models", "open_model",
]  # fmt: skip

library_logs.drop_no_news()
