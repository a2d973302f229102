"""Which weights a reader asked for: a base alone, or a run and the base it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from estimator.problems import Problem
from estimator.recipe import Recipe
from studio import paths
from studio.models import EMBEDDED_ID
from studio.runs.folder import RunFolder
from studio.workers import bases
from studio.workers.weights import BaseKey


class Choice:
    """Which weights are asked for: a base alone, or a run and its base."""

    def __init__(self, recipe: Recipe, run_id: str | None, run_name: str, result: Path | None) -> None:
        self.recipe, self.run_id, self.run_name, self.result = recipe, run_id, run_name, result
        self.base = bases.open_base(recipe.model)
        self.key = BaseKey.of(recipe, self.base)

    @classmethod
    def of(cls, params: dict[str, Any]) -> Choice:
        """From `run_id`, or `model` for a base alone, which is loaded without quantization."""
        run_id = params.get("run_id")
        if not run_id:
            return cls(Recipe(model=params.get("model") or EMBEDDED_ID, method="lora"), None, "", None)
        run = RunFolder(paths.inside(paths.runs(), run_id))
        if not run.is_run():
            raise Problem("chat.run_gone", value=run_id)
        recipe, name = run.recipe(), run.facts().info.name
        result = run.adapter if recipe.has_adapters else run.model
        if not result.is_dir():
            raise Problem("chat.no_result", value=name)
        return cls(recipe, run_id, name, result)

    @property
    def panes(self) -> tuple[str, ...]:
        return ("base", "adapter") if self.run_id else ("base",)

    @property
    def label(self) -> dict[str, Any]:
        return {"model": self.recipe.model, "storage": self.key.storage, "run": self.run_name or None}
