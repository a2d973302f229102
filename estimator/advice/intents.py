"""What people want of a fine-tune (`presets/intents.toml`) as changes to a recipe. What depends on the card is
estimated."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from typing import Any

from estimator.advice import advise
from estimator.estimates.conditions import Conditions
from estimator.estimates.estimate import estimate
from estimator.hardware.cards import Gpu
from estimator.model.catalog import Model, presets_dir
from estimator.recipe.recipe import Recipe

STEP_TOKENS = 64
"""A longest sequence is given in whole steps of this: smaller ones take less."""


@dataclass(frozen=True)
class Intent:
    """One wish. `source` says where its numbers are from."""

    name: str
    values: dict[str, Any]
    source: str
    tries: tuple[dict[str, Any], ...] = ({},)
    one_row: bool = False
    longest: bool = False


@functools.cache
def intents() -> dict[str, Intent]:
    """All by name, in the file's order."""
    with (presets_dir() / "intents.toml").open("rb") as file:
        stated = tomllib.load(file)["intent"]
    return {entry["name"]: Intent(**entry | {"tries": tuple(entry.get("tries", ({},)))}) for entry in stated}


def meet(intent: Intent, recipe: Recipe, gpu: Gpu, model: Model, conditions: Conditions = Conditions()) -> Recipe:
    """`recipe` with what the intent sets; of a full fine-tune, QLoRA where the intent says nothing of the method.
    Raises `Problem`."""
    values: dict[str, Any] = {} if recipe.has_adapters else {"method": "qlora", "quantization": "nf4"}
    if intent.one_row:
        passes = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
        values |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": min(passes, 4096)}
    values |= intent.values
    for attempt in intent.tries:
        made = recipe.replace(**values | attempt)
        if len(intent.tries) == 1 or estimate(made, gpu, model=model, **conditions.options).fits is not False:
            break
    if intent.longest and conditions.machine(gpu).usable:
        most = advise.highest_length(made, gpu, model=model, **conditions.options)
        made = made.replace(max_length=max(8, most // STEP_TOKENS * STEP_TOKENS)) if most else made
    return made
