"""How much memory a fine-tune takes. Knows neither gradio nor the studio; torch only where a model is built or traced (`trace`, `step`, `fit`, ...)."""

from estimator import library_logs
from estimator.cards import find_gpu, gpus
from estimator.catalog import models
from estimator.estimate import Estimate, check, compare_methods, estimate
from estimator.parts import cpu_growth
from estimator.problems import Problem
from estimator.recipe import Recipe
from estimator.sources import model_from_config, open_model

__all__ = [
    "Estimate", "Problem", "Recipe", "check", "compare_methods", "cpu_growth", "estimate", "find_gpu", "gpus",
    "model_from_config", "models", "open_model",
]  # fmt: skip

library_logs.drop_no_news()
