"""What becomes of `warmup_steps`: which schedules and optimizers take them, and which pass over them without a word. No
torch.

Sources: Transformers 5.23 (optimization.py get_scheduler, trainer_optimizer.py), schedulefree 1.4 (the optimizers'
`step`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from estimator.core.problems import Problem
from estimator.recipe.optimizers import optimizer

if TYPE_CHECKING:
    from estimator.recipe.recipe import Recipe

WITHOUT_WARMUP = "constant"
"""Transformers' get_constant_schedule takes no number of steps: the rate is at its peak from the first."""


def conflicts(recipe: Recipe) -> tuple[tuple[bool, tuple[str, str, str]], ...]:
    """(refused, (field, what it cannot be combined with, what to do)) for `recipe._check_together`.

    Transformers hands `warmup_steps` on to an optimizer that warms up itself as it is. A share is no number of steps:
    the first step's rate would be the peak divided by it, ten times the peak at 0.1.
    """
    share = 0 < recipe.warmup_steps < 1 and optimizer(recipe.optim).warmup == "steps"
    return ((share, ("warmup_steps", f"optim {recipe.optim}", "Give a number of steps, 1 or more, or 0")),)


def warmup_steps_done(recipe: Recipe, steps: int) -> int:
    """Of `steps` optimizer steps, how many the rate rises in; below 1 `warmup_steps` is a share of them."""
    taken_by = optimizer(recipe.optim).warmup
    if taken_by == "none" or recipe.lr_scheduler_type == WITHOUT_WARMUP and not taken_by:
        return 0
    return math.ceil(recipe.warmup_steps * (1 if recipe.warmup_steps >= 1 else steps))


def remarks(recipe: Recipe) -> Iterator[Problem]:
    """`recipe.*` where steps of warm-up are asked for and not done, or a rate is lowered twice."""
    record, schedule = optimizer(recipe.optim), recipe.lr_scheduler_type
    value = f"{recipe.warmup_steps:g}"
    if record.averages and schedule != WITHOUT_WARMUP:
        yield Problem("recipe.schedule_twice", field="lr_scheduler_type", value=schedule, other=recipe.optim)
    elif record.warmup == "none" and recipe.warmup_steps:
        yield Problem("recipe.own_warmup", field="warmup_steps", value=value, other=recipe.optim)
    elif not record.warmup and schedule == WITHOUT_WARMUP and recipe.warmup_steps:
        yield Problem("recipe.no_warmup", field="warmup_steps", value=value, other=schedule)
