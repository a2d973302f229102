"""Which weights a reader asked for: a base alone, or a run and the base it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.memory import stored
from estimator.model.spec import read_config
from estimator.recipe.recipe import Recipe
from studio.inference.weights import BaseKey
from studio.jobs.folder import RunFolder
from studio.models import bases
from studio.models.find import EMBEDDED_ID
from studio.space import Space, inside


class Choice:
    """Which weights are asked for: a base alone, or a run and its base."""

    def __init__(
        self, recipe: Recipe, base: Path, run_id: str | None = None, run_name: str = "", result: Path | None = None
    ) -> None:
        self.recipe, self.base, self.run_id, self.run_name, self.result = recipe, base, run_id, run_name, result
        self.key = BaseKey.of(recipe, self.base)

    @classmethod
    def of(cls, space: Space, params: dict[str, Any]) -> Choice:
        """From `run_id`, or `model` for a base alone, which is quantized only where its repository is."""
        run_id = params.get("run_id")
        if not run_id:
            model = params.get("model") or EMBEDDED_ID
            base = bases.open_base(space, model)
            return cls(_alone(model, base), base)
        run = RunFolder(inside(space.runs, run_id))
        if not run.is_run():
            raise Problem("chat.run_gone", value=run_id)
        recipe, name = run.recipe(), run.facts().info.name
        result = run.adapter if recipe.has_adapters else run.model
        if not result.is_dir():
            raise Problem("chat.no_result", value=name)
        return cls(recipe, bases.open_base(space, recipe.model), run_id, name, result)

    @property
    def panes(self) -> tuple[str, ...]:
        return ("base", "adapter") if self.run_id else ("base",)

    @property
    def label(self) -> dict[str, Any]:
        return {"model": self.recipe.model, "storage": self.key.storage, "run": self.run_name or None}


def _alone(model: str, base: Path) -> Recipe:
    """A base as it is stored: packed by bitsandbytes, or else in 16 bits."""
    storage = stored.storage_of(read_config(base))
    if storage and storage.is_bitsandbytes:
        return Recipe(
            model=model,
            method="qlora",
            quantization=storage.quantization,
            bnb_4bit_use_double_quant=storage.double_quant,
        )
    return Recipe(model=model, method="lora")
