"""Seconds a step, tokens a second, hours and energy of a run on a card: rated speed over efficiency, with a range. No
torch."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

from estimator.core.problems import Problem
from estimator.cost.efficiency import efficiency_of
from estimator.cost.roofline import GIGA, Amounts, amounts, seconds, step_bytes, unrated
from estimator.cost.rows import Epoch
from estimator.estimates.parts import Parts
from estimator.hardware.cards import Gpu
from estimator.hardware.links import link_of
from estimator.law.law import Law
from estimator.recipe.batches import shape
from estimator.recipe.recipe import Recipe

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Range:
    """A figure with its lowest and highest."""

    low: float
    central: float
    high: float

    def scaled(self, factor: float) -> Range:
        return Range(self.low * factor, self.central * factor, self.high * factor)

    def times(self, other: Range) -> Range:
        return Range(self.low * other.low, self.central * other.central, self.high * other.high)

    def inverse(self) -> Range:
        return Range(1 / self.high, 1 / self.central, 1 / self.low)

    def beside(self, other: Range) -> Range:
        """Seconds of both: at the least the longer alone, else one after the other."""
        return Range(max(self.low, other.low), self.central + other.central, self.high + other.high)


@dataclass(frozen=True)
class Throughput:
    """How fast one card trains a recipe. Figures are None where a rate of the card or the law's work is unknown; `why`
    says which.

    Of full rows: `flops` and `moved_bytes` an optimizer step, `arithmetic_share` the part of the rated time that waits
    for arithmetic and not for memory. Of a stated dataset: `steps`, `hours` and `energy_kwh`, what the boards draw at
    their full power for those hours (the computer around them is not counted). `place` says where in its range the
    likely figure lies, and why there.
    """

    flops: float | None
    moved_bytes: float | None
    recompute_share: float | None
    arithmetic_share: float | None
    seconds_per_step: Range | None
    tokens_per_second: Range | None
    steps: int | None
    padding_share: float | None
    hours: Range | None
    energy_kwh: Range | None
    why: tuple[Problem, ...]
    place: Problem | None = None

    @property
    def energy_kwh_at_most(self) -> float | None:
        return self.energy_kwh.high if self.energy_kwh else None

    def without_speed(self, *reasons: Problem) -> Throughput:
        """The work alone, where `reasons` say why no time is known."""
        nothing = dict.fromkeys(TIMES)
        return replace(self, **nothing, why=(*reasons, *self.why), place=None)

    def to_dict(self) -> dict[str, Any]:
        data = {name: vars(value) if isinstance(value, Range) else value for name, value in vars(self).items()}
        said = {"why": [_said(note) for note in self.why], "place": _said(self.place) if self.place else None}
        return data | {"energy_kwh_at_most": self.energy_kwh_at_most} | said


TIMES = ("arithmetic_share", "seconds_per_step", "tokens_per_second", "hours", "energy_kwh")
"""What of a `Throughput` a card's speed says."""


def _said(note: Problem) -> dict[str, Any]:
    return note.to_dict() | {"text": str(note)}


@dataclass(frozen=True)
class Load:
    """What does not depend on the card's speed: the work of one optimizer step of full rows, and of the whole run."""

    tokens_per_step: int
    step: Amounts | None
    step_bytes: float
    epoch: Epoch | None
    run: Amounts | None
    steps: int | None
    run_bytes: float

    @functools.cached_property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(group.dtype for group in self.step.groups)) if self.step else ()

    @functools.cached_property
    def known(self) -> dict[str, Any]:
        """What of a `Throughput` is the same on every card."""
        step = self.step
        return {
            "flops": step.flops if step else None,
            "moved_bytes": step.moved_bytes + self.step_bytes if step else None,
            "recompute_share": step.recompute_flops / step.flops if step else None,
            "steps": self.steps,
            "padding_share": self.epoch.wasted if self.epoch else None,
        }


ADDED_PASSES = 3
"""autograd's AccumulateGrad: both gradients are read, the sum is written."""


def load_of(recipe: Recipe, parts: Parts, epoch: Epoch | None = None, single: Law | None = None) -> Load:
    """The work of `recipe`'s step and, with an `epoch`, of all its epochs (or `max_steps`).

    `single` is the law without gradient accumulation, which answers where that of the recipe knows no work: all but the
    first pass add their gradients to the first's.
    """
    law, passes = parts.law, recipe.gradient_accumulation_steps
    batch, length = shape(recipe)
    moved = step_bytes(recipe, parts)
    if law.flops is None and single is not None:
        law = single
        moved += ADDED_PASSES * (passes - 1) * parts.training.gradients_bytes
    step = amounts(law, [passes * x for x in law.phi(batch, length, recipe.r)])
    if epoch is None:
        return Load(passes * batch * length, step, moved, None, None, None, 0.0)
    steps = math.ceil(epoch.steps * recipe.num_train_epochs) if recipe.max_steps < 0 else recipe.max_steps
    run = amounts(law, [steps / epoch.steps * x for x in epoch.phi(law, recipe)])
    return Load(passes * batch * length, step, moved, epoch, run, steps, steps * moved)


@dataclass(frozen=True)
class Spread:
    """The same recipe on several cards, each with rows of its own: the `load` of one of them, and the bytes it sends in
    an optimizer step (`ParallelPlan.communication_bytes_per_step`)."""

    devices: int
    load: Load
    sent_bytes: float


def throughput_of_several(spread: Spread, gpu: Gpu) -> Throughput:
    """`spread` on as many of `gpu` in one machine. Collectives may run beside the arithmetic, as FSDP gathers ahead:
    wholly at the low end, not at all in the rest."""
    one, link = throughput(spread.load, gpu), link_of(gpu, spread.devices)
    if one.seconds_per_step is None:
        return one
    if link is None:
        return one.without_speed(Problem("time.no_link", field="gpu", value=gpu.name))
    sending = Range(*(spread.sent_bytes / (speed * GIGA) for speed in (link.high_gbs, link.gbs, link.low_gbs)))
    per_step = one.seconds_per_step.beside(sending)
    hours = one.hours.beside(sending.scaled(one.steps / SECONDS_PER_HOUR)) if one.hours else None
    return replace(
        one,
        arithmetic_share=None,
        seconds_per_step=per_step,
        tokens_per_second=per_step.inverse().scaled(spread.devices * spread.load.tokens_per_step),
        hours=hours,
        energy_kwh=energy(gpu, hours, spread.devices),
        why=(*one.why, link.why),
    )


def throughput(load: Load, gpu: Gpu) -> Throughput:
    """`load` on `gpu`."""
    step, epoch = load.step, load.epoch
    reason = unrated(gpu, load.dtypes) if step else Problem("time.no_work", field="model")
    notes = (
        [Problem("time.dropped", field="lengths", value=f"{epoch.dropped_rows:,}")]
        if epoch and epoch.dropped_rows
        else []
    )
    if reason:
        return Throughput(**load.known, **dict.fromkeys(TIMES), why=(reason, *notes))
    share = efficiency_of(gpu)
    slower = Range(1 / share.high, 1 / share.central, 1 / share.low)
    rated, arithmetic = seconds(step, gpu, load.step_bytes)
    per_step = slower.scaled(rated)
    hours = slower.scaled(seconds(load.run, gpu, load.run_bytes)[0] / SECONDS_PER_HOUR) if load.run else None
    unknown_power = [Problem("time.no_power", field="gpu", value=gpu.name)] if hours and not gpu.tdp_w else []
    return Throughput(
        **load.known,
        arithmetic_share=arithmetic / rated,
        seconds_per_step=per_step,
        tokens_per_second=per_step.inverse().scaled(load.tokens_per_step),
        hours=hours,
        energy_kwh=energy(gpu, hours),
        why=(share.why, *([Problem("why.int8")] if "int8" in load.dtypes else []), *notes, *unknown_power),
        place=share.place,
    )


def energy(gpu: Gpu, hours: Range | None, devices: int = 1) -> Range | None:
    """kWh of `devices` boards at their full power for `hours`; None where either is unknown."""
    return hours.scaled(gpu.tdp_w * devices / 1000) if hours and gpu.tdp_w else None
