"""What to change so that a recipe fits a card, and the largest that fits (`estimator.advice.largest`). Every proposal
is estimated, none is guessed.

The search relies on one thing: a smaller batch, length or rank never takes more memory. Sets of changes are judged by
the worst kind of cost in them, then by how many they are: all pairs are tried, and larger sets are made by leaving out
of all what is not needed. What is lost most of is then given back as far as milder changes allow
(`estimator.advice.relief`).
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from estimator.advice import changes
from estimator.advice.changes import COSTS, Change
from estimator.advice.largest import highest, largest_of, longest_tokens
from estimator.advice.largest import newest_models as newest_of_families
from estimator.advice.proposals import Advice, Largest, Proposal
from estimator.advice.relief import SCALES, go_together, mildest, relieved
from estimator.core.problems import Problem
from estimator.core.same import Same
from estimator.estimates.estimate import Estimate, check, estimate
from estimator.hardware.cards import Gpu
from estimator.hardware.machines import machine
from estimator.hub.sources import open_model
from estimator.model.catalog import Model
from estimator.recipe.recipe import Recipe

MACHINE = ("system", "mig", "memory_gib")
"""What says which part of a card there is."""


def advise(recipe: Recipe, gpu: Gpu | str, *, model: Model | None = None, loop: str = "trl", **where: object) -> Advice:
    """Advice for `recipe` on `gpu`; `where` may say `system`, `mig`, `memory_gib`, `trained_share` and `padded` as
    `estimate` takes them.

    Raises `Problem`, `gpu.memory_unknown` where there is nothing to fit into.
    """
    judge = _judge(recipe, gpu, model, loop, where)
    singles = tuple(_singles(judge))
    cheapest = None if judge.start.fits else _cheapest(judge, singles)
    best, surest = cheapest.estimate if cheapest else judge.start, None
    if best.fits and best.is_close:
        stricter = judge.beyond_doubt()
        surest = _cheapest(stricter, tuple(_singles(stricter)))
    return Advice(judge.start, singles, cheapest, surest, functools.partial(largest_of, judge))


def largest(
    recipe: Recipe, gpu: Gpu | str, *, model: Model | None = None, loop: str = "trl", **where: object
) -> Largest:
    """The last part of the advice alone. Raises `Problem` as `advise` does."""
    return largest_of(_judge(recipe, gpu, model, loop, where))


def newest_models(
    recipe: Recipe, gpu: Gpu | str, *, families: int = 8, model: Model | None = None, loop: str = "trl", **where: Any
) -> list[Estimate]:
    """Models of the newest families, each family's largest that fits: estimates of `recipe` with them. Raises `Problem`
    as `advise` does."""
    return newest_of_families(_judge(recipe, gpu, model, loop, where), families)


def highest_length(
    recipe: Recipe, gpu: Gpu | str, *, model: Model | None = None, loop: str = "trl", **where: Any
) -> int | None:
    """Its `max_length` alone, up to the edge: within the error bar too. Raises `Problem` as `advise` does."""
    judge = _judge(recipe, gpu, model, loop, where)
    return highest(judge, "max_length", longest_tokens(judge))


def _judge(recipe: Recipe, gpu: Gpu | str, model: Model | None, loop: str, where: dict[str, Any]) -> Judge:
    judge = _judge_of(Same(recipe), gpu, model or open_model(recipe.model), loop, tuple(where.items()))
    if judge.start.usable_bytes is None:
        raise Problem("gpu.memory_unknown", field="gpu", value=judge.start.gpu)
    return judge


@functools.lru_cache(maxsize=4)
def _judge_of(
    recipe: Same[Recipe], gpu: Gpu | str, model: Model, loop: str, where: tuple[tuple[str, Any], ...]
) -> Judge:
    """One for all that is asked of one recipe: what was estimated for the changes serves the largest too."""
    return Judge(recipe.value, gpu, model, loop, dict(where))


def _asking(gpu: Gpu | str, loop: str, where: dict[str, Any]) -> Callable[..., Estimate]:
    """`estimate` of this card and these conditions: a recipe and its model are still to be said."""
    return functools.partial(estimate, gpu=gpu, loop=loop, **where)


class Judge:
    """Estimates recipes near one recipe on one card, each once; says what is enough of a fit."""

    is_strict = False

    def __init__(self, recipe: Recipe, gpu: Gpu | str, model: Model, loop: str, where: dict[str, Any]) -> None:
        self.card = machine(gpu, **{name: where[name] for name in MACHINE if name in where}).gpu
        self.recipe, self.model = recipe, model
        self.estimate = _asking(gpu, loop, where)
        self._made: dict[str, Estimate | None] = {}
        self.start = self.estimate(recipe, model=model)

    def beyond_doubt(self) -> Judge:
        """The same, for whom a limit inside the error bar is no fit. What was estimated serves both."""
        made = copy.copy(self)
        made.is_strict = True
        return made

    def is_enough(self, made: Estimate) -> bool:
        return bool(made.fits and not (self.is_strict and made.is_close))

    def propose(self, *made: Change) -> Proposal | None:
        """The changes applied and estimated; None where the recipe refuses them or the model does."""
        values = {name: value for change in made for name, value in change.values.items()}
        answer = self.try_values(values)
        if answer is None:
            return None
        recipe, found = answer
        return Proposal(made, recipe, found, self.start.device_bytes - found.device_bytes, self.start)

    def try_values(self, values: dict[str, Any]) -> tuple[Recipe, Estimate] | None:
        try:
            recipe = self.recipe.replace(**values)
            key = repr(vars(recipe))
            if key not in self._made:
                self._made[key] = None if check(recipe, model=self.model) else self.estimate(recipe, model=self.model)
        except Problem:
            return None
        return (recipe, self._made[key]) if self._made[key] else None

    def fits(self, **values: object) -> bool:
        answer = self.try_values(values)
        return bool(answer and self.is_enough(answer[1]))


def _singles(judge: Judge) -> Iterator[Proposal]:
    """Every single change that saves memory, mildest first and among equals the one that saves most; what fits before
    what does not."""
    found = [judge.propose(change) for change in _choices(judge)]
    saving = [proposal for proposal in found if proposal and proposal.saved_bytes > 0]
    yield from sorted(saving, key=lambda p: (COSTS.index(p.cost), not p.estimate.fits, -p.saved_bytes))


def _cheapest(judge: Judge, singles: Sequence[Proposal]) -> Proposal | None:
    """One change, or a set where its worst cost is milder than that of any change that does it alone."""
    alone = _gentlest(judge, singles)
    found = _cheapest_set(judge, singles, COSTS.index(alone.cost) if alone else len(COSTS)) or alone
    return relieved(judge, found, _levers(singles)) if found else None


def _gentlest(judge: Judge, singles: Sequence[Proposal]) -> Proposal | None:
    """Of the single changes that fit, the one of the mildest cost; among equals one that fits beyond doubt and changes
    least."""
    fitting = [proposal for proposal in singles if judge.is_enough(proposal.estimate)]
    return min(fitting, key=lambda p: (COSTS.index(p.cost), p.estimate.is_close, p.saved_bytes), default=None)


def _choices(judge: Judge) -> Iterator[Change]:
    yield from changes.fixed_changes(judge.recipe, judge.model, judge.card)
    for scale in SCALES.values():
        if steps := scale(judge.recipe):
            yield mildest(judge, steps)


def _cheapest_set(judge: Judge, singles: Sequence[Proposal], below: int) -> Proposal | None:
    """The set with the mildest worst cost, milder than COSTS[below], then fewest changes, then most memory left; None
    where all together do not fit."""
    levers = _levers(singles)
    for worst in range(below):
        allowed = [change for change in levers if COSTS.index(change.cost) <= worst]
        if allowed and (found := _pair(judge, allowed) or _many(judge, allowed)):
            return _softened(judge, found, singles)
    return None


def _levers(singles: Sequence[Proposal]) -> list[Change]:
    """What may be combined: for the same fields and the same cost the change that saves most."""
    strongest = {}
    for proposal in sorted(singles, key=lambda p: p.saved_bytes):
        (change,) = proposal.changes
        strongest[(*sorted(change.values), change.cost)] = change
    return list(strongest.values())


def _pair(judge: Judge, allowed: Sequence[Change]) -> Proposal | None:
    """The two changes that fit together and leave most memory."""
    pairs = [judge.propose(*made) for made in itertools.combinations(allowed, 2) if go_together(made)]
    return min(
        (p for p in pairs if p and judge.is_enough(p.estimate)),
        key=lambda p: (COSTS.index(p.cost), p.estimate.device_bytes),
        default=None,
    )


def _many(judge: Judge, allowed: Sequence[Change]) -> Proposal | None:
    """Everything that goes together, less what turns out not to be needed, the dearest first; None where it does not
    fit."""
    kept: list[Change] = []
    for change in sorted(allowed, key=lambda c: -COSTS.index(c.cost)):
        kept += [change] if go_together([*kept, change]) else []
    found = judge.propose(*kept)
    if not found or not judge.is_enough(found.estimate):
        return None
    for change in found.changes:
        fewer = judge.propose(*(other for other in found.changes if other is not change))
        found = fewer if fewer and judge.is_enough(fewer.estimate) else found
    return found


def _softened(judge: Judge, found: Proposal, singles: Sequence[Proposal]) -> Proposal:
    """Each change as mild as the others of the set allow: a larger batch, a milder optimizer, more targets."""
    made = list(found.changes)
    for n, change in enumerate(made):
        beside = tuple(made[:n] + made[n + 1 :])
        if steps := SCALES.get(change.kind):
            made[n] = mildest(judge, steps(judge.recipe), beside)
            continue
        milder = [
            p.changes[0] for p in singles if p.changes[0].values.keys() == change.values.keys() and p.saved_bytes > 0
        ]
        ladder = sorted(milder, key=lambda c: (COSTS.index(c.cost), judge.propose(c).saved_bytes))
        made[n] = next((c for c in ladder if (p := judge.propose(*beside, c)) and judge.is_enough(p.estimate)), change)
    return judge.propose(*made) or found
