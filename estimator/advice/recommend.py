"""A model, a dataset and a budget in; plans that fit, the cheapest first, out: a card, a recipe, memory, hours and
money. No torch.

Methods that were not chosen are all tried (`ranking.rank`); where no card within the budget holds any of them, what to
change is asked of `advise` for the cheapest of these cards.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from estimator.advice.advise import advise
from estimator.advice.changes import LENGTH_STEP_TOKENS, Change
from estimator.advice.priced import owned_counts, ranked
from estimator.advice.ranking import Candidate, rent_usd
from estimator.core.fields import FieldInfo, checked
from estimator.core.problems import Problem
from estimator.cost.rows import Epoch, epoch, uniform
from estimator.estimates.estimate import check
from estimator.estimates.take_away import command_line, stated
from estimator.hub.sources import open_model
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches
from estimator.recipe.costing import COSTING, MAX_ROWS, Costing
from estimator.recipe.recipe import FIELDS, METHODS, Recipe

ADVISED_CARDS = 3
"""Cards for which changes are looked for; each search makes hundreds of estimates."""
MAX_LENGTHS = 1_000_000
ASKED = {
    info.name: info
    for info in (
        FieldInfo("rows", int | None, None, {"low": 1, "high": MAX_ROWS}),
        FieldInfo("tokens_per_row", int | None, None, {"low": 1, "high": FIELDS["max_length"].limits["high"]}),
        FieldInfo("lengths", tuple[int, ...] | None, None, {}),
        FieldInfo("budget_usd", float | None, None, {"above": 0.0, "high": 1e9}),
        FieldInfo("buy", bool, False, {}),
        FieldInfo("plans", int, 5, {"low": 1, "high": 100}),
        COSTING["devices"],
        COSTING["usd_per_kwh"],
        COSTING["owned"],
    )
}


@dataclass(frozen=True)
class Wish:
    """The dataset, by rows of one length or by the length of each (tokens), the budget in USD, and how many plans.

    The budget is for the run on a rented card, with `buy` for the card. `devices`, `usd_per_kwh` and `owned` are those
    of `Costing`: a card that one owns costs its electricity, to run and to buy. Raises `Problem` naming the field.
    """

    rows: int | None = None
    tokens_per_row: int | None = None
    lengths: tuple[int, ...] | None = None
    budget_usd: float | None = None
    buy: bool = False
    plans: int = 5
    devices: int | None = None
    usd_per_kwh: float | None = None
    owned: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        owned_counts(self.costing.owned)
        for name, info in ASKED.items():
            if info is COSTING.get(name):
                continue  # `Costing` has checked it
            object.__setattr__(self, name, checked(info, getattr(self, name)))
        if self.lengths is None:
            if self.rows is None:
                raise Problem("recipe.missing", field="rows", allowed=ASKED["rows"].allowed)
            return
        for name in ("rows", "tokens_per_row"):
            if getattr(self, name) is not None:
                raise Problem(
                    "recipe.conflict",
                    field=name,
                    value=getattr(self, name),
                    other="lengths",
                    allowed="Give one of them",
                )
        if len(self.lengths) > MAX_LENGTHS:
            raise Problem(
                "recipe.range",
                field="lengths",
                value=f"{len(self.lengths):,} rows",
                allowed=f"1 to {MAX_LENGTHS:,} rows",
            )
        if min(self.lengths) < 1:
            raise Problem("recipe.range", field="lengths", value=min(self.lengths), allowed=f"1 to {MAX_ROWS:,}")

    @functools.cached_property
    def costing(self) -> Costing:
        """Raises `Problem`."""
        return Costing(devices=self.devices, usd_per_kwh=self.usd_per_kwh, owned=self.owned)

    @property
    def longest_tokens(self) -> int | None:
        """The longest row, where it was stated."""
        return max(self.lengths) if self.lengths else self.tokens_per_row

    def epoch(self, recipe: Recipe) -> Epoch:
        if self.lengths is not None:
            return epoch(self.lengths, recipe)
        return uniform(self.rows, self.tokens_per_row or recipe.max_length, recipe)

    def usd(self, one: Candidate) -> float:
        """What the budget is for; infinite where it is unknown."""
        if not self.buy or one.cost.way == "own":
            return rent_usd(one)
        return math.inf if one.cost.purchase_usd is None else one.cost.purchase_usd

    def allows(self, one: Candidate) -> bool:
        """What costs an unknown sum is within no budget."""
        return self.budget_usd is None or self.usd(one) <= self.budget_usd


@dataclass(frozen=True)
class Plan:
    """A recipe on a card that holds it, or on the fewest cards over which FSDP2 spreads it. `changes` are what had to
    change in the recipe asked for, `usd` what the budget is for."""

    recipe: Recipe
    candidate: Candidate
    usd: float
    changes: tuple[Change, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "usd": self.usd if math.isfinite(self.usd) else None,
            "recipe": stated(self.recipe) | {"method": self.recipe.method},
            "changes": [change.to_dict() for change in self.changes],
            "command": command_line(self.recipe, self.candidate.gpu.name),
            **self.candidate.to_dict(),
        }


@dataclass(frozen=True)
class Recommendation:
    """`plans` are within the budget, the cheapest first, the best method of each card. What costs an unknown sum comes
    last, few cards before many. Where there are none, `nearest` is the cheapest plan beyond the budget, if it fits any
    card. `refused` says which method the model cannot take, and why."""

    dataset: Epoch
    plans: tuple[Plan, ...]
    nearest: Plan | None
    refused: dict[str, Problem]

    def to_dict(self) -> dict[str, Any]:
        names = ("rows", "dropped_rows", "tokens", "padded_tokens", "steps", "wasted")
        return {
            "dataset": {name: getattr(self.dataset, name) for name in names},
            "plans": [plan.to_dict() for plan in self.plans],
            "nearest": self.nearest.to_dict() if self.nearest else None,
            "refused": {method: problem.to_dict() | {"text": str(problem)} for method, problem in self.refused.items()},
        }


def recommend(
    fields: dict[str, Any], wish: Wish, *, model: Model | None = None, loop: str = "trl", cache_dir: Path | None = None
) -> Recommendation:
    """Plans for the recipe that `fields` begin: `model`, and whatever else is fixed. Without a `method` all are tried;
    without a `max_length` it is the longest row's, as far as the model reads. Raises `Problem` for what no method could
    make good."""
    if fields.get("num_processes", 1) != 1 and "distributed_type" not in fields:  # a count alone: the way is chosen
        wish = replace(wish, devices=wish.devices or Recipe.from_dict(fields).num_processes)
        fields = fields | {"num_processes": 1}
    base = Recipe.from_dict(fields)
    model = model or open_model(base.model)
    if "max_length" not in fields and wish.longest_tokens:
        base = base.replace(max_length=_length_for(wish.longest_tokens, model))
    search = _Search(wish, model, loop, cache_dir)
    recipes, refused = _recipes(base, model, (base.method,) if "method" in fields else METHODS)
    found = [plan for recipe in recipes for plan in search.plans(recipe)]
    allowed = [plan for plan in found if wish.allows(plan.candidate)]
    is_chosen = wish.devices is not None or base.num_processes > 1
    if (
        not allowed if is_chosen else all(plan.candidate.devices > 1 for plan in allowed)
    ):  # a change may spare the others
        allowed += search.changed(recipes[-1])
    within = _best_of_each_card(allowed)
    beyond = min(found, key=_order, default=None)
    return Recommendation(wish.epoch(recipes[0]), tuple(within[: wish.plans]), None if within else beyond, refused)


def _length_for(tokens: int, model: Model) -> int:
    longest = min(model.spec.max_position_embeddings or math.inf, FIELDS["max_length"].limits["high"])
    return int(min(longest, LENGTH_STEP_TOKENS * math.ceil(tokens / LENGTH_STEP_TOKENS)))


def _recipes(base: Recipe, model: Model, methods: Sequence[str]) -> tuple[list[Recipe], dict[str, Problem]]:
    """The recipe by each method, and why those that cannot be are not. Raises the last's `Problem` where none can."""
    made, refused = [], {}
    for method in methods:
        try:
            recipe = base.replace(method=method)
            for problem in check(recipe, model=model):
                raise problem
            made.append(recipe)
        except Problem as problem:
            refused[method] = problem
    if not made:
        raise refused[methods[-1]]
    return made, refused


class _Search:
    """Ranks recipes for one wish."""

    def __init__(self, wish: Wish, model: Model, loop: str, cache_dir: Path | None) -> None:
        self.wish, self.model, self.loop, self.cache_dir = wish, model, loop, cache_dir
        self._unfit: list[Candidate] = []

    def _ranked(self, recipe: Recipe) -> list[Candidate]:
        batches = Batches(padded=self._pads(recipe))
        opened = {"model": self.model, "loop": self.loop, "cache_dir": self.cache_dir, "batches": batches}
        return ranked(recipe, self.wish.costing, self.wish.epoch(recipe), **opened)

    def _pads(self, recipe: Recipe) -> bool:
        data = self.wish.epoch(recipe)
        return data.padded_tokens > data.tokens and not recipe.packing

    def plans(self, recipe: Recipe) -> Iterator[Plan]:
        """Every card that holds the recipe, alone or several of it; those that do not alone are kept for `changed`."""
        found = self._ranked(recipe)
        self._unfit = [one for one in found if one.estimate.fits is False]
        for one in found:
            if one.devices:
                yield Plan(one.recipe if one.count > 1 else recipe, one, self.wish.usd(one))

    def changed(self, recipe: Recipe) -> Iterator[Plan]:
        """The recipe with the mildest changes that make it fit the cheapest cards on which it does not; `recipe` was
        asked last."""
        affordable = sorted((one for one in self._unfit if self.wish.allows(one)), key=self.wish.usd)
        for one in affordable[:ADVISED_CARDS]:
            asked = one.recipe if one.count > 1 else recipe
            proposal = advise(asked, one.gpu, model=self.model, loop=self.loop, padded=self._pads(recipe)).cheapest
            if proposal is None or proposal.recipe.num_processes != asked.num_processes:
                continue
            for again in self._ranked(proposal.recipe):
                if again.gpu is one.gpu and again.devices == asked.num_processes and self.wish.allows(again):
                    yield Plan(proposal.recipe, again, self.wish.usd(again), proposal.changes)


def _best_of_each_card(plans: Iterable[Plan]) -> list[Plan]:
    best: dict[str, Plan] = {}
    for plan in sorted(plans, key=_order):
        best.setdefault(plan.candidate.gpu.name, plan)
    return list(best.values())


def _order(plan: Plan) -> tuple[float, ...]:
    """Cheapest first; at one price the fewest cards, what fits beyond doubt, then the fastest."""
    hours, made = plan.candidate.throughput.hours, plan.candidate.sharded or plan.candidate.estimate
    return plan.usd, plan.candidate.devices, made.is_close, hours.central if hours else math.inf
