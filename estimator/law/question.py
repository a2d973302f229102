"""What is asked: a recipe on a model, under what is known of who trains it, of kernels and of the data. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from estimator.hardware.platforms import Platform
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches
from estimator.recipe.loop import LOOPS, Loop
from estimator.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Question:
    """Frozen; `but` makes the next one. Equal is what is one object: models are slow to compare."""

    recipe: Recipe
    model: Model
    loop_name: str = "trl"
    """Who trains (`estimator.recipe.loop.LOOPS`)."""
    platform: Platform = Platform()
    batches: Batches = Batches()
    derive: bool = False
    """Whether what is not at hand may be traced now, which takes torch and seconds."""
    cache_dir: Path | None = None
    """Where derived records are kept; None is this machine's own folder."""

    @property
    def loop(self) -> Loop:
        return LOOPS[self.loop_name]

    def but(self, **changes: Any) -> Question:
        """The same with some of it otherwise."""
        return replace(self, **changes)

    @property
    def as_all_train(self) -> Question:
        """Of batches whose every token trains."""
        return self.but(batches=replace(self.batches, trained_share=1.0))
