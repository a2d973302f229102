"""Every card for one recipe: whether it fits, how fast it is, what it costs; alone, as several, or as many as were
asked for. One law a kind of kernels, shared by its cards. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from estimator.advice.changes import more_devices
from estimator.advice.together import Kernels, Together, goes_together
from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.cost.money import Cost, cost
from estimator.cost.own_cards import OwnCard
from estimator.cost.rows import Epoch, course
from estimator.cost.throughput import Load, Throughput, load_of, throughput
from estimator.estimates.conditions import Conditions
from estimator.estimates.estimate import Estimate, check, composed
from estimator.estimates.parts import parts_of
from estimator.hardware.cards import Gpu, gpus
from estimator.hardware.machines import Machine, check_system
from estimator.hardware.platforms import Platform
from estimator.hub.sources import open_model
from estimator.law.law import Law
from estimator.law.question import Question
from estimator.memory import stored
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches
from estimator.recipe.costing import MOST_CARDS
from estimator.recipe.recipe import Recipe
from estimator.shelf import laws

RANKED_COUNTS = (2, 4, 8)
SORTS = ("fits", "cost", "hours", "memory")


@dataclass(frozen=True)
class Candidate:
    """One card. Where nobody said how many: `devices` is how many of it the recipe needs, one, or the fewest of
    RANKED_COUNTS over which FSDP2 makes it fit, with `sharded` the estimate of each; None where none of them does, or
    its memory is unknown. Where a count was asked for, `estimate` is of one of that many and `devices` that count, None
    where it does not fit.

    Speed and cost are of `count` cards together; `strategy` says how several divide the work, and why so.
    """

    gpu: Gpu
    estimate: Estimate
    devices: int | None
    sharded: Estimate | None
    throughput: Throughput
    cost: Cost
    count: int = 1
    strategy: Problem | None = None
    owned: int = 0
    """How many of it the user has."""
    course: Problem | None = None
    """How the rows of the data come to the steps of the run."""

    @property
    def runs(self) -> Estimate:
        """Of what is run: one of the several cards, else the one."""
        return self.sharded or self.estimate

    @property
    def answer(self) -> tuple[Problem, ...]:
        """Own, buy or rent in sentences; of what does not fit that it does not."""
        if self.runs.fits is False:
            return (Problem("answer.misses", field="gpu", value=self.gpu.name, count=self.count),)
        return self.cost.answer

    @property
    def recipe(self) -> Recipe:
        """The recipe that is run, with its number of processes."""
        return self.runs.source.recipe

    def to_dict(self) -> dict[str, Any]:
        made = self.estimate
        memory = {
            name: getattr(made, name) for name in ("fits", "is_close", "device_bytes", "usable_bytes", "headroom_bytes")
        }
        bar = {"low_bytes": made.uncertainty.low_bytes, "high_bytes": made.uncertainty.high_bytes}
        strategy = self.strategy and {"distributed_type": self.recipe.distributed_type, "text": str(self.strategy)}
        return {
            "gpu": self.gpu.name, "devices": self.devices, "count": self.count, "strategy": strategy,
            "memory": memory | bar,
            "sharded": {name: getattr(self.sharded, name) for name in ("device_bytes", "headroom_bytes",
                "is_close")} if self.sharded else None,
            "throughput": self.throughput.to_dict(), "cost": self.cost.to_dict(),
            "course": self.course and self.course.to_dict() | {"text": str(self.course)},
        }  # fmt: skip


def rank(
    recipe: Recipe,
    epoch: Epoch | None = None,
    *,
    model: Model | None = None,
    loop: str = "trl",
    sort: str = "fits",
    hours_per_month: float | None = None,
    usd_per_kwh: float | None = None,
    derive: bool = False,
    cache_dir: Path | None = None,
    batches: Batches = Batches(),
    own: Sequence[OwnCard] = (),
    conditions: Conditions = Conditions(),
    devices: int | None = None,
    owned: Mapping[str, int] | None = None,
    only: Iterable[Gpu] | None = None,
) -> list[Candidate]:
    """All accelerators of the presets for `recipe`, or `only` some, in the order of `sort`. `derive` traces a law that
    is not at hand; `batches` says what the data do to memory; `own` are cards and prices of the user's, `owned` how
    many of which card (by name) stand at home and cost their electricity alone. Of `conditions` the system, the slice
    and the size count: cards that have none such are left out.

    `devices` asks for that many of each card (1 to MOST_CARDS), and so does a recipe on several processes: by its
    `distributed_type`, else by the first way that fits (`Together.ways`). Raises `Problem` for a count out of range,
    for what the model or the recipe cannot be on so many, and where no card is left."""
    if devices is not None and not 1 <= devices <= MOST_CARDS:
        raise Problem("recipe.range", field="devices", value=f"{devices:,}", allowed=f"1 to {MOST_CARDS}")
    model = model or open_model(recipe.model)
    recipe = stored.as_loaded(recipe, model.config, model.id)
    asked = _Asked(recipe, model, loop, epoch, devices, {"derive": derive, "cache_dir": cache_dir, "batches": batches})
    stated, owned = {card.gpu.name: card for card in own}, owned or {}
    prices = {"hours_per_month": hours_per_month, "usd_per_kwh": usd_per_kwh}
    listed = {gpu.name: gpu for gpu in only} if only is not None else gpus()
    added = {name: card.gpu for name, card in stated.items() if only is None or name in listed}
    made = []
    for where in _machines({**listed, **added}.values(), conditions):
        estimate, running, strategy, speed = asked.of(where)
        count = running.source.recipe.num_processes
        offers = stated[where.gpu.name].offers if where.gpu.name in stated else ()
        has = owned.get(where.gpu.name, 0)
        money = cost(
            where.gpu,
            count,
            hours=speed.hours,
            tokens_per_second=speed.tokens_per_second,
            own=offers,
            owned=has >= count,
            **prices,
        )
        fitting = count if running.fits else None
        sharded = None if running is estimate else running
        steps = course(running.source.recipe, epoch, speed.steps) if epoch and speed.steps else None
        made.append(Candidate(where.gpu, estimate, fitting, sharded, speed, money, count, strategy, has, steps))
    return sorted(made, key=ORDERS[sort])


class _Asked:
    """One recipe asked of many cards: on one, on as many as it takes, or on a count that was chosen."""

    def __init__(
        self, recipe: Recipe, model: Model, loop: str, epoch: Epoch | None, devices: int | None, opened: dict[str, Any]
    ) -> None:
        chosen = devices or (recipe.num_processes if recipe.num_processes > 1 else None)
        self.one = recipe.replace(num_processes=1) if recipe.num_processes > 1 else recipe
        self.model, self.loop, self.epoch, self.opened = model, loop, epoch, opened
        self.together = Together(self.one, model, loop, epoch, **opened)
        self.is_chosen = chosen is not None
        self.ways: list[Recipe] = []
        if recipe.num_processes > 1 and chosen > 1:
            self.ways = [recipe.replace(num_processes=chosen)]
        elif chosen and chosen > 1:
            self.ways = self.together.ways(chosen)
        self.is_asked = recipe.num_processes > 1
        self.fewest = [] if chosen else self._fewest()
        self._kernels: dict[tuple[str, int], tuple[Kernels, Any, Load]] = {}

    def _fewest(self) -> list[Recipe]:
        made = []
        for change in more_devices(self.one):
            try:
                recipe = self.one.replace(**change.values)
            except Problem:  # not every recipe can be spread
                continue
            if recipe.num_processes in RANKED_COUNTS and not check(recipe, model=self.model):
                made.append(recipe)
        return made

    def of(self, where: Machine) -> tuple[Estimate, Estimate, Problem | None, Throughput]:
        """(the estimate asked for, that of what is run, why so, its speed)."""
        kernels, evaluated, load = self._at(where)
        if self.ways:
            return self._several(where, kernels)
        alone = _runnable(self.one, where.gpu, composed(self.one, where, kernels.parts, *evaluated))
        if not alone.fits and not _is_slice(where):
            for recipe in self.fewest if where.usable and goes_together(where) else ():
                if self.together.least_bytes(recipe, kernels) <= where.usable.bytes:
                    made = self.together.estimate(recipe, where, kernels)
                    if made.fits:
                        return (
                            alone,
                            made,
                            _needed(recipe, where, alone),
                            self.together.throughput(recipe, where.gpu, kernels),
                        )
        speed = throughput(load, where.gpu)
        return alone, alone, None, _of_a_slice(speed) if _is_slice(where) else speed

    def _several(self, where: Machine, kernels: Kernels) -> tuple[Estimate, Estimate, Problem | None, Throughput]:
        """The chosen count by the first way that fits, else by the one that takes least."""
        made = []
        for recipe in self.ways:
            made.append(self.together.estimate(recipe, where, kernels))
            if made[-1].fits:
                break
        best = made[-1] if made[-1].fits else min(made, key=lambda one: one.device_bytes)
        recipe = best.source.recipe
        speed = self.together.throughput(recipe, where.gpu, kernels)
        if not goes_together(where):
            alone = Problem("gpu.alone", field="gpu", value=where.gpu.name)
            best = replace(best, fits=False, warnings=(*best.warnings, alone))
            speed = speed.without_speed(alone)
        return best, best, _why(recipe, self.is_asked), speed

    def _at(self, where: Machine) -> tuple[Kernels, Any, Load]:
        platform = Platform.of(where.gpu)
        key = platform.kernels, platform.workspace_bytes
        if key not in self._kernels:
            question = Question(self.one, self.model, self.loop, platform, **self.opened)
            parts, single = parts_of(question), _single(question)
            load = load_of(self.one, parts, self.epoch, single)
            self._kernels[key] = Kernels(platform, parts, single), parts.evaluate(self.one), load
        return self._kernels[key]


def _why(recipe: Recipe, asked: bool = False) -> Problem:
    """How several cards divide the work, and why so."""
    kind = "asked" if asked else recipe.distributed_type
    return Problem(f"why.several_{kind}", count=recipe.num_processes, kind=recipe.distributed_type)


def _needed(recipe: Recipe, where: Machine, alone: Estimate) -> Problem:
    """Why several are counted that nobody asked for."""
    sizes = {"needed": human_bytes(alone.largest_peak.device_bytes), "edge": human_bytes(alone.edge_bytes)}
    return Problem("why.needs_several", gpu=where.gpu.name, count=recipe.num_processes, **sizes)


def _machines(cards: Iterable[Gpu], conditions: Conditions) -> list[Machine]:
    """The cards that there are so. Raises the last's `Problem` where there is none."""
    made, problem = [], None
    for gpu in cards:
        try:
            made.append(conditions.machine(gpu))
        except Problem as found:
            problem = found
    if not made and problem:
        raise problem
    return made


def _is_slice(where: Machine) -> bool:
    return " MIG " in where.gpu.name


def _of_a_slice(speed: Throughput) -> Throughput:
    """The work is known; what of a card's speed a slice has is not."""
    return replace(speed, why=()).without_speed(Problem("time.slice", field="gpu"))


def _runnable(recipe: Recipe, gpu: Gpu, made: Estimate) -> Estimate:
    """The estimate; on Apple's GPUs a recipe that has no kernels there does not fit, and says why."""
    try:
        check_system(recipe, "macos" if gpu.vendor == "Apple" else None)
    except Problem as problem:
        return replace(made, fits=False, warnings=(*made.warnings, problem))
    return made


def _single(question: Question) -> Law | None:
    """The law at hand of the same step without gradient accumulation."""
    recipe = question.recipe
    if recipe.gradient_accumulation_steps == 1:
        return None
    alone = recipe.replace(gradient_accumulation_steps=1)
    return laws.find(question.but(recipe=alone, batches=Batches()))


def _fitting(candidate: Candidate) -> int:
    """Fits surely, fits within the error bar, fits on several, unknown, does not fit."""
    made = candidate.estimate
    if made.fits:
        return 1 if made.is_close else 0
    return 2 if candidate.devices else 3 if made.fits is None else 4


def rent_usd(candidate: Candidate) -> float:
    """USD of the run at the cheapest offer, or of a million tokens where no dataset was stated; infinite where unknown.
    Of a card that one owns the electricity, and nothing where its price was not given."""
    rent = candidate.cost.cheapest
    if candidate.cost.way == "own":
        return candidate.cost.electricity.central if candidate.cost.electricity else 0.0
    if rent is None or rent.usd_per_million_tokens is None:
        return math.inf
    return rent.usd.central if rent.usd else rent.usd_per_million_tokens


def _seconds(candidate: Candidate) -> float:
    taken = candidate.throughput.hours or candidate.throughput.seconds_per_step
    return taken.central if taken else math.inf


def _room(candidate: Candidate) -> float:
    """Bytes of all cards together."""
    each = candidate.estimate.usable_bytes
    return math.inf if each is None else each * candidate.count


ORDERS: dict[str, Callable[[Candidate], tuple[float, ...]]] = {
    "fits": lambda one: (_fitting(one), rent_usd(one), _seconds(one), _room(one)),
    "cost": lambda one: (_fitting(one) > 2, rent_usd(one), _seconds(one)),
    "hours": lambda one: (_fitting(one) > 2, _seconds(one), rent_usd(one)),
    "memory": lambda one: (_fitting(one) > 2, _room(one), rent_usd(one)),
}
"""What comes first under each choice; cards that do not fit come last under all."""
