"""The largest batch, length, rank and model that fit a card beyond doubt, each found by halving: a smaller one never
takes more memory.

The margin is that of the error bar and stands here alone (`Judge.beyond_doubt`): what fits only within it is not the
largest.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from estimator.advice.proposals import Largest, Room
from estimator.core.problems import Problem
from estimator.core.units import width_bytes
from estimator.estimates.estimate import Estimate, check
from estimator.model.catalog import ModelPreset, load_preset, models
from estimator.recipe.recipe import FIELDS, Recipe

if TYPE_CHECKING:
    from estimator.advice.advise import Judge

NEXT_LARGER = 12
"""Presets tried beyond the largest that halving finds."""
LONGEST_UNKNOWN_TOKENS = 1 << 17
"""Where a model states no context, no longer length is looked for."""
RECENT_YEARS = 2
"""Models this much older than the catalogue's newest are proposed only where no newer one fits."""


def largest_of(judge: Judge) -> Largest:
    judge = judge.beyond_doubt()
    values = {
        "per_device_train_batch_size": highest(
            judge, "per_device_train_batch_size", FIELDS["per_device_train_batch_size"].limits["high"]
        ),
        "max_length": highest(judge, "max_length", longest_tokens(judge)),
        "r": highest(judge, "r", FIELDS["r"].limits["high"]) if judge.recipe.has_adapters else None,
    }
    room = {name: Room.of(judge.try_values({name: value})[1]) for name, value in values.items() if value is not None}
    model = _largest_model(judge)
    if model:
        room["model"] = Room.of(model)
    return Largest(**values, model=model.source.recipe.model if model else None, recent_since=recent_since(), room=room)


@functools.cache
def recent_since() -> str:
    """The month from which on a model is recent, as `2024-04`: RECENT_YEARS before the newest of the catalogue."""
    year, _, month = max(preset.released for preset in models().values()).partition("-")
    return f"{int(year) - RECENT_YEARS}-{month}"


def longest_tokens(judge: Judge) -> int:
    """The model's context, or what is asked beyond it."""
    context = judge.model.spec.max_position_embeddings or LONGEST_UNKNOWN_TOKENS
    return min(max(context, judge.recipe.max_length), FIELDS["max_length"].limits["high"])


def highest(judge: Judge, name: str, high: int) -> int | None:
    """The highest value of a field that fits: doubled up from what is, then halved in."""
    low = FIELDS[name].limits["low"]
    if not judge.fits(**{name: low}):
        return None
    step = max(low, min(getattr(judge.recipe, name), high))
    while low < high:
        probe = min(high, max(step, low + 1))
        if judge.fits(**{name: probe}):
            low, step = probe, probe * 2
        else:
            high, step = probe - 1, (low + probe) // 2
    return low


def _largest_model(judge: Judge) -> Estimate | None:
    """The recipe with the largest recent preset that fits, else with the largest of all."""
    room = judge.start.usable_bytes / _least_bytes(judge.recipe)
    presets = [preset for preset in models().values() if preset.is_causal and preset.parameters <= room]
    recent = [preset for preset in presets if preset.released >= recent_since()]
    return _largest_among(judge, recent) or _largest_among(judge, presets)


def _largest_among(judge: Judge, presets: Iterable[ModelPreset]) -> Estimate | None:
    """More parameters do not always take more memory, so after halving in on the edge the next larger ones are tried
    too."""
    presets = sorted(presets, key=lambda preset: preset.parameters)
    low, high = 0, len(presets)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _fits_model(judge, presets[middle]) else (low, middle)
    around = presets[max(0, low - 1) : low + NEXT_LARGER]
    return next((_of_model(judge, preset) for preset in reversed(around) if _fits_model(judge, preset)), None)


def _least_bytes(recipe: Recipe) -> float:
    """Bytes a parameter takes at the very least: its weight as stored, and its gradient where all train."""
    if recipe.is_quantized:
        return 0.5 if recipe.quantization != "int8" else 1.0
    return width_bytes(recipe.dtype) * (2 if recipe.method == "full" else 1)


def newest_models(judge: Judge, families: int) -> list[Estimate]:
    """Of the model families released last, each one's largest preset that fits beyond doubt with the rest of the recipe
    as it is, else the largest that fits within its error bar; newest first."""
    surely, room, found = judge.beyond_doubt(), judge.start.usable_bytes / _least_bytes(judge.recipe), []
    for presets in _by_release():
        close: Estimate | None = None
        for preset in presets:
            made = _of_model(judge, preset) if preset.parameters <= room else None
            if made and surely.is_enough(made):
                close = made
                break
            close = close or (made if made and made.fits else None)
        found += [close] if close else []
        if len(found) == families:
            break
    return found


@functools.cache
def _by_release() -> list[list[ModelPreset]]:
    """The families, each with its presets from the largest down."""
    made: dict[str, list[ModelPreset]] = {}
    for preset in sorted((p for p in models().values() if p.is_causal and p.released), key=lambda p: -p.parameters):
        made.setdefault(preset.family, []).append(preset)
    return sorted(made.values(), key=lambda presets: max(preset.released for preset in presets), reverse=True)


def _fits_model(judge: Judge, preset: ModelPreset) -> bool:
    made = _of_model(judge, preset)
    return bool(made and judge.is_enough(made))


def _of_model(judge: Judge, preset: ModelPreset) -> Estimate | None:
    """The recipe with another model; None where they do not go together."""
    try:
        model, recipe = load_preset(preset.id), judge.recipe.replace(model=preset.id)
        if recipe.max_length > (model.spec.max_position_embeddings or recipe.max_length):
            return None  # one's own model may be asked for more than its context; no other one is proposed for it
        return None if check(recipe, model=model) else judge.estimate(recipe, model=model)
    except Problem:
        return None
