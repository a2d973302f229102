"""What a dataset's real row lengths make of a recipe: steps, padding, time and the memory of its longest batch, with
rows padded to the longest of their batch and with rows packed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from estimator.core.problems import Problem
from estimator.cost.rows import Epoch, epoch
from estimator.cost.throughput import load_of, throughput
from estimator.estimates.estimate import Estimate, estimate
from estimator.estimates.parts import parts_of
from estimator.hardware.cards import Gpu
from estimator.law.question import Question
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches, is_flat
from estimator.recipe.recipe import FIELDS, Recipe

MOST_EXAMPLES = 20_000
"""Laid out in batches one by one; more are stood for by as many, evenly taken."""


@dataclass(frozen=True)
class Way:
    """One way to lay the rows out. `steps` and `computed_tokens` are of one pass over all training rows; `longest` is
    the tokens of its longest row; `made` the memory with that row in a full batch, `hours` of the whole run on the card
    (lowest, highest), or None; `refused` says why there is none of all this."""

    recipe: Recipe
    steps: int = 0
    computed_tokens: int = 0
    padding_share: float = 0.0
    longest: int = 0
    made: Estimate | None = None
    hours: tuple[float, float] | None = None
    refused: Problem | None = None


def ways(
    recipe: Recipe,
    model: Model,
    gpu: Gpu | None,
    lengths: Sequence[tuple[int, int]],
    *,
    rows_share: float = 1.0,
    trained_share: float = 1.0,
) -> dict[str, Way]:
    """`padded` and `packed`. `lengths`: tokens and how many examples have them, of a `rows_share` of the rows. Raises
    `Problem` where there is no example."""
    examples, each = evenly(lengths, rows_share)
    made = {}
    for name, packing in (("padded", False), ("packed", True)):
        try:
            own = recipe.replace(packing=packing)
            made[name] = _way(own, model, gpu, epoch(examples, own), each, trained_share)
        except Problem as problem:
            made[name] = Way(recipe, refused=problem)
    return made


def evenly(lengths: Sequence[tuple[int, int]], rows_share: float) -> tuple[list[int], float]:
    """Single lengths, `MOST_EXAMPLES` at most, and how many examples of all each of them stands for."""
    count = sum(times for _, times in lengths)
    step = max(1, math.ceil(count / MOST_EXAMPLES))
    single = [length for length, times in sorted(lengths, reverse=True) for _ in range(times)]
    return single[::step], count / max(1, len(single[::step])) / rows_share


def _way(recipe: Recipe, model: Model, gpu: Gpu | None, found: Epoch, each: float, trained_share: float) -> Way:
    longest = recipe.max_length if recipe.packing else max(length for _, length in found.batches)
    real = recipe.replace(max_length=max(FIELDS["max_length"].limits["low"], longest))
    pads = not recipe.packing and recipe.per_device_train_batch_size > 1 and len(found.batches) > 1
    share = min(1.0, max(trained_share, 1e-6))
    steps = max(1, round(found.steps * each))
    return Way(
        recipe,
        steps,
        round(found.padded_tokens * each),
        found.wasted,
        longest,
        estimate(real, gpu, model=model, trained_share=share, padded=pads),
        _hours(recipe, model, gpu, found, steps, share),
    )


def _hours(
    recipe: Recipe, model: Model, gpu: Gpu | None, found: Epoch, steps: int, share: float
) -> tuple[float, float] | None:
    if gpu is None:
        return None
    parts = parts_of(Question(recipe, model, batches=Batches(share, not is_flat(recipe))))
    hours = throughput(load_of(recipe, parts, found), gpu).hours
    times = steps / found.steps if recipe.max_steps < 0 else 1.0
    return (hours.low * times, hours.high * times) if hours else None
