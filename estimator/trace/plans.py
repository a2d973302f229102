"""Which depths and lengths of a model are traced for its law: layers repeat, and a law reads one length, or two.

Imported where torch is, by `estimator.trace.fit` only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import torch

from estimator.hardware.platforms import Platform
from estimator.law.untraced import NotLinear
from estimator.program import program
from estimator.recipe.recipe import Recipe
from estimator.trace.prepared import built, layer_config, layer_stack
from estimator.trace.step import layer_programs
from estimator.trace.terms import NEAR, SIZES


def layer_kinds(
    config: dict[str, Any], class_name: str | None = None, dtype: torch.dtype = torch.bfloat16
) -> list[Any]:
    """What tells each layer of the model from others: its modules' tensors, and its place in the config's own lists."""
    model = built(json.dumps(config), class_name, dtype)
    text = layer_config(model)
    lists = [
        value
        for value in vars(text).values()
        if isinstance(value, (list, tuple)) and len(value) == text.num_hidden_layers
    ]
    kinds = []
    for n, layer in enumerate(layer_stack(model)):
        tensors = tuple((name, tuple(p.shape)) for name, p in layer.named_parameters())
        kinds.append((type(layer).__name__, tensors, tuple(str(values[n]) for values in lists if n < len(values))))
    return kinds


@dataclass(frozen=True)
class TracePlan:
    """Depths to trace (None: all layers) of `total`, and how many layers count from the start and from the end; the
    length of the rows, or two where layers cut them into chunks."""

    depths: tuple[int | None, ...]
    total: int
    start: int = 2
    end: int = 2
    lengths_tokens: tuple[int, ...] = ()
    chunk_tokens: int = 0

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(-(-length // self.chunk_tokens) for length in self.lengths_tokens)


LENGTHS_TOKENS = (587, 2027, SIZES.sequence)
"""Primes that are one more than twice a prime, so that one token less is told from a width too."""


def planned(recipe: Recipe, config: dict[str, Any], platform: Platform, class_name: str | None) -> TracePlan:
    """By what the configuration tells of the layers, or, where that has a long period or none, by what they run.

    Layers that run the same count as the same, but a shallow model keeps one of each, as it may make a mask for each.
    """
    kinds = layer_kinds(config, class_name, program.dtype(recipe))
    plan = plan_for(kinds)
    shallow, *deeper = plan.depths
    if shallow and deeper[0] == shallow + 1:
        return plan
    programs = layer_programs(recipe, config, platform, class_name)
    listed = [kind[2] for kind in kinds]
    named = [tuple(kind) for kind in zip(*(column for column in zip(*listed) if len(set(column)) < len(column)))] or [
        ()
    ] * len(kinds)
    return plan_for(
        list(zip((kind[:2] for kind in kinds), programs, strict=True)),
        at_least=max(named.index(kind) for kind in named) + 1,
    )


def plan_for(kinds: list[Any], at_least: int = 3) -> TracePlan:
    """Two depths whose difference is what repeats, or the whole model.

    After `first` layers of their own kinds the rest repeats with a period; the shallow models keep the same remainder,
    so that they end as the whole one does.
    """
    total = len(kinds)
    for period in range(1, total // 3 + 1):
        for first in range(min(total - 3 * period, 8)):
            if all(kinds[n] == kinds[n + period] for n in range(first, total - period)):
                rest = (total - first) % period
                low = first + 2 * period + rest
                low += -(-max(0, max(at_least, 3) - low) // period) * period
                if low + period < total:
                    return TracePlan((low, low + period), total, max(2, first + period), max(2, period + rest))
                return TracePlan((None,), total)
    return TracePlan((None,), total)


def check_lengths(
    recipe: Recipe,
    config: dict[str, Any],
    platform: Platform,
    class_name: str | None,
    layers: int | None,
    short: int,
    long: int,
) -> None:
    """A law reads one length. Raises `NotLinear` where a shorter row runs other operators, or tensors that are neither
    of one size nor grow with the row: chunks, padding to their length, choices of so many tokens."""
    programs = [layer_programs(recipe, config, platform, class_name, layers, length) for length in (short, long)]
    for number, (first, second) in enumerate(zip(*programs, strict=True)):
        if [func for func, _ in first] != [func for func, _ in second]:
            raise NotLinear(f"layer {number} runs {len(first)} operators on {short} tokens and {len(second)} on {long}")
        for (func, one), (_, other) in zip(first, second, strict=True):
            if [_grown(shape, short, long) for shape, _ in one] != [shape for shape, _ in other]:
                raise NotLinear(
                    f"layer {number}: {func} gives {one[0][0]} on {short} tokens and {other[0][0]} on {long}"
                )


def _grown(shape: tuple[int, ...], short: int, long: int) -> tuple[int, ...]:
    """The shape of a tensor of a short row as a long one has it."""
    grown = []
    for size in shape:
        step = next((step for step in (0, *NEAR) if size % (short + step) == 0), None)
        grown.append(size if step is None or not size else size // (short + step) * (long + step))
    return tuple(grown)


def names_layers(recipe: Recipe) -> bool:
    """Whether layers may differ by the recipe's own choice: it numbers them, or names modules by path or expression."""
    if recipe.layers_to_transform:
        return True
    chosen = (
        recipe.target_modules,
        recipe.exclude_modules,
        recipe.modules_to_save,
        recipe.target_parameters,
        tuple(recipe.rank_pattern or ()),
    )
    names = [name for field in chosen for name in ([field] if isinstance(field, str) else field or ())]
    return not all(name == "all-linear" or re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)
