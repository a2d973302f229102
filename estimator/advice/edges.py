"""Where the edge is: the same recipe at many batches and lengths, and at many ranks and targets, on one card. No
torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from estimator.core.problems import Problem
from estimator.estimates.conditions import Conditions
from estimator.estimates.estimate import Estimate, estimate
from estimator.hardware.cards import Gpu
from estimator.model.catalog import Model
from estimator.recipe.recipe import Recipe

BATCHES = (1, 2, 4, 8, 16, 32, 64)
LENGTHS_TOKENS = (256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)
RANKS = (4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Cell:
    """One recipe of a table, by the fields that differ, and its estimate; None where it is refused."""

    values: dict[str, object]
    answer: Estimate | None


def batch_length_map(recipe: Recipe, gpu: Gpu, model: Model, conditions: Conditions = Conditions()) -> list[list[Cell]]:
    """Rows by batch, columns by length, the recipe's own among them; no length beyond the model's context."""
    longest = model.spec.max_position_embeddings or LENGTHS_TOKENS[-1]
    lengths = _with([n for n in LENGTHS_TOKENS if n <= longest], recipe.max_length)
    batches = _with(BATCHES, recipe.per_device_train_batch_size)
    return [
        [_cell(recipe, gpu, model, conditions, per_device_train_batch_size=b, max_length=s) for s in lengths]
        for b in batches
    ]


def rank_targets_table(
    recipe: Recipe,
    gpu: Gpu,
    model: Model,
    targets: Sequence[str | tuple[str, ...]],
    conditions: Conditions = Conditions(),
) -> list[list[Cell]]:
    """Rows by targets, columns by rank, the recipe's own among them."""
    chosen = list(targets) + ([] if recipe.target_modules in targets else [recipe.target_modules])
    return [
        [_cell(recipe, gpu, model, conditions, target_modules=names, r=r) for r in _with(RANKS, recipe.r)]
        for names in chosen
    ]


def _with(values: Sequence[int], own: int) -> list[int]:
    return sorted({*values, own})


def _cell(recipe: Recipe, gpu: Gpu, model: Model, conditions: Conditions, **values: object) -> Cell:
    try:
        return Cell(values, estimate(recipe.replace(**values), gpu, model=model, **conditions.options))
    except Problem:
        return Cell(values, None)
