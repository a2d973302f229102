"""Every card for one recipe: whether it fits, how fast it is, what it costs. One law a kind of kernels, shared by its cards. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from estimator.advice.changes import Change, more_devices
from estimator.core.problems import Problem
from estimator.cost.money import Cost, cost
from estimator.cost.own_cards import OwnCard
from estimator.cost.rows import Epoch
from estimator.cost.throughput import Load, Spread, Throughput, load_of, throughput, throughput_of_several
from estimator.estimates.conditions import Conditions
from estimator.estimates.estimate import Estimate, check, composed
from estimator.estimates.parts import Parts, parts_of
from estimator.hardware.cards import Gpu, gpus
from estimator.hardware.machines import Machine, check_system
from estimator.hardware.platforms import Platform
from estimator.hub.sources import open_model
from estimator.law.law import Law, Row
from estimator.model.catalog import Model
from estimator.parallel import parallel
from estimator.parallel.plan import Sharded
from estimator.recipe.batches import Batches
from estimator.recipe.recipe import Recipe
from estimator.shelf import laws

RANKED_COUNTS = (2, 4, 8)
SORTS = ("fits", "cost", "hours", "memory")


@dataclass(frozen=True)
class Candidate:
    """One card. `devices` is how many of it the recipe needs: one, or the fewest of DEVICE_COUNTS over which FSDP2 makes it fit,
    with `sharded` the estimate of each; None where none of them does, or its memory is unknown.

    Speed and cost are of one card, or of all of several together.
    """

    gpu: Gpu
    estimate: Estimate
    devices: int | None
    sharded: Estimate | None
    throughput: Throughput
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        made = self.estimate
        memory = {
            name: getattr(made, name) for name in ("fits", "is_close", "device_bytes", "usable_bytes", "headroom_bytes")
        }
        bar = {"low_bytes": made.uncertainty.low_bytes, "high_bytes": made.uncertainty.high_bytes}
        return {
            "gpu": self.gpu.name, "devices": self.devices, "memory": memory | bar,
            "sharded": {name: getattr(self.sharded, name) for name in ("device_bytes", "headroom_bytes", "is_close")} if self.sharded else None,
            "throughput": self.throughput.to_dict(), "cost": self.cost.to_dict(),
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
) -> list[Candidate]:
    """All accelerators of the presets for `recipe`, in the order of `sort`. `derive` traces a law that is not at hand; `batches`
    says what the data do to memory; `own` are cards and prices of the user's. Of `conditions` the system, the slice and the size count:
    cards that have none such are left out. Raises `Problem` for a recipe on several devices (the ranking spreads it itself), and where
    no card is left."""
    if recipe.num_processes > 1:
        raise Problem(
            "recipe.conflict",
            field="num_processes",
            value=recipe.num_processes,
            other="a ranking of cards",
            allowed="Use 1, or estimate one card",
        )
    model = model or open_model(recipe.model)
    shared: dict[tuple[str, int], tuple[Parts, Any, Load, Law | None]] = {}
    several = _Several(recipe, model, loop, epoch)
    made = []
    stated = {card.gpu.name: card for card in own}
    for where in _machines({**gpus(), **{name: card.gpu for name, card in stated.items()}}.values(), conditions):
        gpu = where.gpu
        platform = Platform.of(gpu)
        key = platform.kernels, platform.workspace_bytes
        if key not in shared:
            parts = parts_of(recipe, model, loop, "cuda", platform, derive, cache_dir, batches)
            single = _single(recipe, model, loop, platform, cache_dir)
            shared[key] = parts, parts.evaluate(recipe), load_of(recipe, parts, epoch, single), single
        parts, (row, components), load, single = shared[key]
        estimate = _runnable(recipe, gpu, composed(recipe, where, parts, row, components))
        devices, sharded = (
            (1, None) if estimate.fits else (None, None) if conditions.mig else several.fewest(where, key, parts)
        )
        speed = (
            throughput_of_several(several.spread(devices, key, parts, single), gpu)
            if sharded
            else throughput(load, gpu)
        )
        speed = _of_a_slice(speed) if conditions.mig else speed
        prices = {
            "hours_per_month": hours_per_month,
            "usd_per_kwh": usd_per_kwh,
            "own": stated[gpu.name].offers if gpu.name in stated else (),
        }
        money = cost(gpu, devices or 1, hours=speed.hours, tokens_per_second=speed.tokens_per_second, **prices)
        made.append(Candidate(gpu, estimate, devices, sharded, speed, money))
    return sorted(made, key=ORDERS[sort])


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


def _of_a_slice(speed: Throughput) -> Throughput:
    """The work is known; what of a card's speed a slice has is not."""
    nothing = dict.fromkeys(("seconds_per_step", "tokens_per_second", "hours", "energy_kwh_at_most"))
    return replace(speed, **nothing, why=(Problem("time.slice", field="gpu"),))


def _runnable(recipe: Recipe, gpu: Gpu, made: Estimate) -> Estimate:
    """The estimate; on Apple's GPUs a recipe that has no kernels there does not fit, and says why."""
    try:
        check_system(recipe, "macos" if gpu.vendor == "Apple" else None)
    except Problem as problem:
        return replace(made, fits=False, warnings=(*made.warnings, problem))
    return made


def _single(recipe: Recipe, model: Model, loop: str, platform: Platform, cache_dir: Path | None) -> Law | None:
    """The law at hand of the same step without gradient accumulation."""
    if recipe.gradient_accumulation_steps == 1:
        return None
    return laws.find(recipe.replace(gradient_accumulation_steps=1), model, loop, platform, cache_dir)


class _Several:
    """The recipe spread over 2, 4 and 8 cards by FSDP2; each count is worked out once for cards with the same kernels."""

    def __init__(self, recipe: Recipe, model: Model, loop: str, epoch: Epoch | None) -> None:
        self.recipe, self.loop, self.epoch = recipe, loop, epoch
        self.recipes = [change for change in map(self._applied(recipe, model), more_devices(recipe)) if change]
        self._made: dict[tuple[Any, int], tuple[Sharded, Row, dict[str, int]]] = {}
        self._spread: dict[tuple[Any, int], Spread] = {}

    @staticmethod
    def _applied(recipe: Recipe, model: Model) -> Callable[[Change], Recipe | None]:
        def applied(change: Change) -> Recipe | None:
            try:
                made = recipe.replace(**change.values)
            except Problem:  # not every recipe can be spread
                return None
            return made if made.num_processes in RANKED_COUNTS and not check(made, model=model) else None

        return applied

    def fewest(self, where: Machine, key: Any, parts: Parts) -> tuple[int | None, Estimate | None]:
        for recipe in self.recipes if where.usable and _goes_together(where) else ():
            sharded, row, components = self._of(recipe, key, parts)
            if (
                sum(components.values()) <= where.usable.bytes
                and (made := composed(recipe, where, parts, row, components, sharded=sharded)).fits
            ):
                return recipe.num_processes, made
        return None, None

    def spread(self, devices: int, key: Any, parts: Parts, single: Law | None) -> Spread:
        """The work of each of `devices`, asked for only where `fewest` found that many."""
        at = key, devices
        if at not in self._spread:
            sharded = self._made[at][0]
            epoch = self.epoch.shared_by(devices, self.recipe) if self.epoch else None
            load = load_of(self.recipe, parts, epoch, single)
            share = sharded.gradient_share  # of what the optimizer reads and writes
            load = replace(load, step_bytes=share * load.step_bytes, run_bytes=share * load.run_bytes)
            self._spread[at] = Spread(devices, load, sum(sharded.plan.communication_bytes_per_step.values()))
        return self._spread[at]

    def _of(self, recipe: Recipe, key: Any, parts: Parts) -> tuple[Sharded, Row, dict[str, int]]:
        at = key, recipe.num_processes
        if at not in self._made:
            sharded = parallel.shard(recipe, parts, self.loop)
            row, components = sharded.evaluate(recipe)
            self._made[at] = sharded, row, components
        return self._made[at]


def _goes_together(where: Machine) -> bool:
    """Whether machines have several of it: a card with memory of its own, and NCCL or RCCL, which there are for Linux alone."""
    gpu = where.gpu
    if (where.system or "").startswith("windows"):
        return False
    return gpu.vendor in ("NVIDIA", "AMD") and gpu.mem_type.startswith(("HBM", "GDDR")) and not gpu.is_laptop


def _fitting(candidate: Candidate) -> int:
    """Fits surely, fits within the error bar, fits on several, unknown, does not fit."""
    made = candidate.estimate
    if made.fits:
        return 1 if made.is_close else 0
    return 2 if candidate.devices else 3 if made.fits is None else 4


def rent_usd(candidate: Candidate) -> float:
    """USD of the run at the cheapest offer, or of a million tokens where no dataset was stated; infinite where unknown."""
    rent = candidate.cost.cheapest
    if rent is None or rent.usd_per_million_tokens is None:
        return math.inf
    return rent.usd.central if rent.usd else rent.usd_per_million_tokens


def _seconds(candidate: Candidate) -> float:
    taken = candidate.throughput.hours or candidate.throughput.seconds_per_step
    return taken.central if taken else math.inf


def _room(candidate: Candidate) -> float:
    """Bytes of all cards together."""
    each = candidate.estimate.usable_bytes
    return math.inf if each is None else each * (candidate.devices or 1)


ORDERS: dict[str, Callable[[Candidate], tuple[float, ...]]] = {
    "fits": lambda one: (_fitting(one), rent_usd(one), _seconds(one), _room(one)),
    "cost": lambda one: (_fitting(one) > 2, rent_usd(one), _seconds(one)),
    "hours": lambda one: (_fitting(one) > 2, _seconds(one), rent_usd(one)),
    "memory": lambda one: (_fitting(one) > 2, _room(one), rent_usd(one)),
}
"""What comes first under each choice; cards that do not fit come last under all."""
