"""A structure whose law is not at hand, by the nearest law that is: the same model with milder settings, changed by
what the closed form says the settings change. No torch.

Dropout, biases, other targets and the reentrant way of checkpointing change what is beside a layer's own tensors, which
the closed form knows to the byte; so its mistakes, large on anything but dense decoders, are the same on both sides and
fall out. Against exact traces of 11 models at 810 points (tests/estimator/test_nearest.py has six of the structures) it
was at most 13 % off on the dynamic bytes, with the targets kept at most 7 %, where the closed form alone was up to 109
% off. DoRA, LLM.int8, eager attention and other types change the layer itself: there it was no nearer, and they keep
the closed form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from estimator.adapters.adapters import Trainables
from estimator.adapters.target_sets import target_sets
from estimator.core.problems import Problem
from estimator.law.law import DYNAMIC, PHI, Law, Row
from estimator.model.catalog import Model, load_preset, models
from estimator.recipe.recipe import FIELDS, Recipe

ENGINE = "nearest"
RELATIVE_ERROR = 0.15
"""Half width of the error bar on the dynamic bytes: the worst of the traces above is 13 %."""
MILD = (
    "lora_dropout",
    "bias",
    "lora_bias",
    "rank_pattern",
    "layers_to_transform",
    "layers_pattern",
    "exclude_modules",
    "use_reentrant",
)
MOMENTS = {"forward": "loss"}
"""Whose change a moment takes that the closed form does not tell apart: all layers have run at both."""


@dataclass(frozen=True)
class Side:
    """A recipe with its closed form and the bytes of its gradients."""

    recipe: Recipe
    closed: Law
    gradients_bytes: int
    trained: Trainables

    @property
    def leaves(self) -> frozenset[str]:
        return frozenset(group.leaf for group in self.trained.adapters)


def nearest(
    recipe: Recipe, model: Model, find: Callable[[Recipe], Law | None], side: Callable[[Recipe], Side]
) -> tuple[Law, str] | None:
    """The law, and the settings of the one it stands on; None where no neighbour has a law. `find` looks for a law at
    hand, `side` raises `Problem` for a recipe that the model does not take."""
    own = side(recipe)
    for other in _milder(recipe, model):
        law = find(other)
        if law is None:
            continue
        try:
            beside = side(other)
        except Problem:
            continue
        if own.leaves <= beside.leaves:
            return _changed(law, own, beside), _differs(recipe, other)
    return None


def _differs(recipe: Recipe, other: Recipe) -> str:
    """The fields in which `other` differs, by their own names."""
    changed = [name for name in (*MILD, "target_modules") if getattr(recipe, name) != getattr(other, name)]
    return ", ".join(f"{name} {_shown(getattr(other, name))}" for name in changed)


def _shown(value: Any) -> str:
    return (
        ", ".join(map(str, value))
        if isinstance(value, (tuple, list))
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def _milder(recipe: Recipe, model: Model) -> Iterator[Recipe]:
    """The recipe without its mild settings, on its own targets and on those that laws ship for, few before many."""
    plain = {name: FIELDS[name].default for name in MILD if recipe.has_adapters or name == "use_reentrant"}
    targets = [recipe.target_modules, *(_shipped_targets(model.id) if recipe.has_adapters and model.config else ())]
    for one in dict.fromkeys(tuple(t) if isinstance(t, list) else t for t in targets):
        try:
            made = recipe.replace(**plain, target_modules=one)
        except Problem:
            continue
        if made != recipe:
            yield made


@functools.lru_cache(maxsize=256)
def _shipped_targets(id: str) -> tuple[Any, ...]:
    """Of a preset; no others have laws that ship."""
    return (
        tuple(tuple(one) if isinstance(one, list) else one for one in target_sets(load_preset(id)))
        if id in models()
        else ("all-linear",)
    )


def _changed(law: Law, own: Side, beside: Side) -> Law:
    """`law` with the difference of the two closed forms at each moment, and gradients of the parameters that train."""
    changes = _differences(own.closed.rows, beside.closed.rows)
    gradients = own.gradients_bytes / beside.gradients_bytes if beside.gradients_bytes else 1.0
    rows = []
    for row in law.rows:
        parts = dict(row.coefficients)
        for name, terms in changes.get(MOMENTS.get(row.moment, row.moment), {}).items():
            parts[name] = tuple(map(sum, zip(parts.get(name, (0.0,) * len(PHI)), terms)))
        if "gradients" in parts:
            parts["gradients"] = tuple(gradients * term for term in parts["gradients"])
        rows.append(replace(row, coefficients=parts))
    return replace(law, rows=tuple(rows), engine=ENGINE, relative_error=max(RELATIVE_ERROR, law.relative_error))


def _differences(own: tuple[Row, ...], beside: tuple[Row, ...]) -> dict[str, dict[str, tuple[float, ...]]]:
    """By moment and component; of several rows of a moment the first, its highest in a step of usual size."""
    made: dict[str, dict[str, tuple[float, ...]]] = {}
    none = (0.0,) * len(PHI)
    for one, other in zip(own, beside, strict=True):
        terms = {
            name: tuple(a - b for a, b in zip(one.coefficients.get(name, none), other.coefficients.get(name, none)))
            for name in DYNAMIC
        }
        made.setdefault(one.moment, {name: term for name, term in terms.items() if any(term)})
    return made
