"""Where each number of an estimate comes from: its terms, what they count, and the source in words. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estimator.core.problems import Problem
from estimator.core.units import width_bytes
from estimator.estimates.parts import Parts
from estimator.law.law import COMPONENTS, DYNAMIC, PHI, STATIC, Point, Row
from estimator.recipe.recipe import Recipe

if TYPE_CHECKING:
    from estimator.estimates.result import Source

NAMES = {"1": "1", "B": "B", "S": "S", "BS": "B·S", "BSS": "B·S²", "BSr": "B·S·r", "r": "r", "SS": "S²"}
NAMES |= {"tile": "min(n, {tile})", "trained": "n", "chunks": "B·⌈S/{chunk}⌉"}
"""How a reader writes the law's variables; n is the number of trained tokens."""


MOMENTS = ("forward", "loss", "last_layer_backward", "first_layer_backward", "optimizer_step")
"""The phases of a step, in its order."""


@dataclass(frozen=True)
class Term:
    """`each` bytes, `times` of `name`: a variable of the law, a count, or a word for what the bytes are.

    `packed`, `rest`, `parameters`, `trained` are counts of values; `device` is a share of what one device alone would
    hold (`times` bytes); `bytes`, `step` (the optimizer's own), `sharding` and `beside` are bytes that stand for
    themselves.
    """

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
    notes: tuple[Problem, ...]
    """In words, with the source."""

    def to_dict(self) -> dict[str, Any]:
        terms = [vars(term) | {"bytes": term.bytes} for term in self.terms]
        notes = [note.to_dict() | {"text": str(note)} for note in self.notes]
        return {"component": self.component, "bytes": self.bytes, "terms": terms, "notes": notes}


def explained(source: Source, components: Mapping[str, int]) -> tuple[Formula, ...]:
    """Every component of an answer's peak that is not empty, in the order of COMPONENTS."""
    made = []
    for name in COMPONENTS:
        if size := components[name]:
            terms = _terms(source, name, size) if source.row else ()
            made.append(Formula(name, size, terms or (Term("bytes", 1.0, size),), _notes(source, name)))
    return tuple(made)


def highest(point: Point) -> tuple[tuple[str, dict[str, int]], ...]:
    """The highest moment of each phase that a law knows, in the order of a step."""
    found: dict[str, dict[str, int]] = {}
    for row in point.law.rows:
        components = point.components(row)
        if sum(components.values()) > sum(found.get(row.moment, {}).values()):
            found[row.moment] = components
    return tuple(
        sorted(found.items(), key=lambda entry: MOMENTS.index(entry[0]) if entry[0] in MOMENTS else len(MOMENTS))
    )


def _terms(source: Source, name: str, size: int) -> tuple[Term, ...]:
    """Of the law's own row, of what several devices make of it, or of what stands whole."""
    row, point, sharded = source.row, source.point, source.sharded
    terms = _law_terms(row, name, point)
    if name == "temporary":
        terms += _beside(row, point, sharded)
    if name == "gradients" and sharded and row.moment != "optimizer_step":
        share = sharded.gradient_share
        if share is None or sharded.backward_gradients_bytes is not None:
            return ()
        terms = tuple(Term(term.name, term.each * share, term.times) for term in terms)
    if terms or name not in STATIC:
        return terms
    whole = round(source.parts.static[name] * row.held.get(name, 1.0))
    alone = _static_terms(source.recipe, source.parts, row, name, whole)
    return _of_several(alone, whole, size, source.recipe.num_processes)


def _law_terms(row: Row, name: str, point: Point) -> tuple[Term, ...]:
    law, variables = point.law, dict(zip(PHI, point.phi, strict=True))
    coefficients = zip(PHI, row.coefficients.get(name, ()), strict=False)
    known = {"tile": f"{law.tile_tokens:,}", "chunk": law.chunk_tokens}
    return tuple(Term(NAMES[of].format(**known), each, variables[of]) for of, each in coefficients if each)


def _beside(row: Row, point: Point, sharded: Any) -> tuple[Term, ...]:
    """What is held for a while beside the law's own tensors."""
    step = point.step_temporary_bytes if row.holds_step_temporary else 0
    added = sharded.added_bytes.get(row.moment, 0) if sharded else 0
    return tuple(Term(name, 1.0, size) for name, size in (("step", step), ("sharding", added)) if size)


def _of_several(alone: tuple[Term, ...], whole: int, size: int, devices: int) -> tuple[Term, ...]:
    """`size` of what one device alone would hold `whole`: all of it and padding, or a share of it and what is not
    divided."""
    if size == whole:
        return alone
    if whole and size > whole:
        return (*alone, Term("beside", 1.0, size - whole))
    if whole and size >= whole / devices:
        rest = size - whole / devices
        return (Term("device", 1 / devices, whole), *((Term("beside", 1.0, rest),) if round(rest) else ()))
    return ()


def _static_terms(recipe: Recipe, parts: Parts, row: Row, name: str, bytes_there: int) -> tuple[Term, ...]:
    """Weights as stored and as they are; what trains by its parameters."""
    trained = parts.trained.parameters
    if name == "weights" and parts.base.quantized_parameters:
        packed = parts.base.quantized_parameters
        each = 1.0 if recipe.quantization == "int8" else 0.5
        return Term("packed", each, packed), Term(
            "rest", width_bytes(recipe.dtype), (bytes_there - each * packed) / width_bytes(recipe.dtype)
        )
    if name == "weights":
        return (Term("parameters", width_bytes(recipe.dtype), bytes_there / width_bytes(recipe.dtype)),)
    if name in ("adapters", "gradients", "optimizer_states") and trained:
        held = trained * row.held.get(name, 1.0)
        return (Term("trained", bytes_there / held, held),)
    return (Term("bytes", 1.0, bytes_there),)


def _notes(source: Source, name: str) -> tuple[Problem, ...]:
    recipe, law = source.recipe, source.point.law
    engine = law.engine if source.row else "trace"
    code = f"formula.{name}.{engine}" if name in DYNAMIC else f"formula.{name}"
    values: dict[str, Any] = {"optim": recipe.optim, "dtype": recipe.dtype, "quantization": recipe.quantization}
    values |= {"versions": ", ".join(f"{library} {version}" for library, version in law.versions.items())}
    note = Problem("formula.trace" if engine == "trace" and name in DYNAMIC else code, **values)
    if not source.sharded:
        return (note,)
    return note, Problem("formula.several", value=recipe.num_processes, kind=recipe.distributed_type)
