"""Where each number of an estimate comes from: its terms, what they count, and the source in words. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from estimator.law import COMPONENTS, DYNAMIC, PHI, Law, Row
from estimator.parts import Parts
from estimator.problems import Problem
from estimator.recipe import Recipe
from estimator.units import width_bytes

NAMES = {"1": "1", "B": "B", "S": "S", "BS": "B·S", "BSS": "B·S²", "BSr": "B·S·r", "r": "r", "SS": "S²", "tile": "min(n, {tile})", "trained": "n"}
NAMES |= {"chunks": "B·⌈S/{chunk}⌉"}
"""How a reader writes the law's variables; n is the number of trained tokens."""


@dataclass(frozen=True)
class Term:
    """`each` bytes, `times` of `name` (a variable of the law, or a count)."""

    name: str
    each: float
    times: float

    @property
    def bytes(self) -> float:
        return self.each * self.times


@dataclass(frozen=True)
class Formula:
    """One component at the peak; its terms sum to `bytes`, up to the rounding of a law made from two depths."""

    component: str
    bytes: int
    terms: tuple[Term, ...]
    note: Problem
    """In words, with the source."""


def formulas(recipe: Recipe, parts: Parts) -> list[Formula]:
    """Every component of the peak that is not empty, in the order of COMPONENTS."""
    row, components = parts.evaluate(recipe)
    variables = dict(zip(PHI, parts.law.phi(recipe.per_device_train_batch_size, recipe.max_length, recipe.r), strict=True))
    made = []
    for name in COMPONENTS:
        if components[name]:
            terms = _law_terms(row, name, variables, parts.law) or _static_terms(recipe, parts, row, name, components[name])
            made.append(Formula(name, components[name], terms, _note(recipe, parts, name)))
    return made


def moments(recipe: Recipe, parts: Parts) -> list[tuple[str, dict[str, int]]]:
    """The highest moment of each phase that the law knows, in the order of a step: name and bytes by component."""
    batch, sequence = recipe.per_device_train_batch_size, recipe.max_length
    found: dict[str, dict[str, int]] = {}
    for row in parts.law.rows:
        alone = replace(parts.law, rows=(row,))
        _, components = alone.evaluate(batch, sequence, recipe.r, parts.static, parts.training.step_temporary_bytes)
        if sum(components.values()) > sum(found.get(row.moment, {}).values()):
            found[row.moment] = components
    order = ("forward", "loss", "last_layer_backward", "first_layer_backward", "optimizer_step")
    return sorted(found.items(), key=lambda entry: order.index(entry[0]) if entry[0] in order else len(order))


def _law_terms(row: Row, name: str, variables: dict[str, float], law: Law) -> tuple[Term, ...]:
    coefficients = zip(PHI, row.coefficients.get(name, ()), strict=False)
    known = {"tile": f"{law.tile_tokens:,}", "chunk": law.chunk_tokens}
    return tuple(Term(NAMES[of].format(**known), each, variables[of]) for of, each in coefficients if each)


def _static_terms(recipe: Recipe, parts: Parts, row: Row, name: str, bytes_there: int) -> tuple[Term, ...]:
    """Weights as stored and as they are; what trains by its parameters."""
    trained = parts.trained.parameters
    if name == "weights" and parts.base.quantized_parameters:
        packed = parts.base.quantized_parameters
        each = 1.0 if recipe.quantization == "int8" else 0.5
        return Term("packed", each, packed), Term("rest", width_bytes(recipe.dtype), (bytes_there - each * packed) / width_bytes(recipe.dtype))
    if name == "weights":
        return (Term("parameters", width_bytes(recipe.dtype), bytes_there / width_bytes(recipe.dtype)),)
    if name in ("adapters", "gradients", "optimizer_states") and trained:
        held = trained * row.held.get(name, 1.0)
        return (Term("trained", bytes_there / held, held),)
    return (Term("bytes", 1.0, bytes_there),)


def _note(recipe: Recipe, parts: Parts, name: str) -> Problem:
    code = f"formula.{name}.{parts.law.engine}" if name in DYNAMIC else f"formula.{name}"
    values: dict[str, Any] = {"optim": recipe.optim, "dtype": recipe.dtype, "quantization": recipe.quantization}
    values |= {"versions": ", ".join(f"{library} {version}" for library, version in parts.law.versions.items())}
    return Problem(code, **values)
