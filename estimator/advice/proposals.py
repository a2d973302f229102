"""What `estimator.advice.advise` answers: changes with what they save and cost, and the largest that fits."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from estimator.advice.changes import COSTS, Change
from estimator.core.field_text import shown_in_box
from estimator.core.problems import Problem
from estimator.cost.throughput import Spread, load_of, throughput, throughput_of_several
from estimator.estimates.estimate import Estimate
from estimator.hardware.machines import machine
from estimator.recipe.recipe import Recipe

TIMED = ("ddp", "fsdp")
"""What has every device do the whole step on rows of its own."""


READ_FIRST = ("max_length", "r", "target_modules", "method", "optim")
"""What a reader wants to keep."""
ROWS_A_STEP = ("per_device_train_batch_size", "gradient_accumulation_steps")


def _rows_a_step(recipe: Recipe) -> int:
    return math.prod(getattr(recipe, name) for name in ROWS_A_STEP)


def _spelled(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else shown_in_box(value)


@dataclass(frozen=True)
class Proposal:
    """Changes to a recipe, the recipe they make and its estimate. `saved_bytes` is on the device, against the recipe as
    it was."""

    changes: tuple[Change, ...]
    recipe: Recipe
    estimate: Estimate
    saved_bytes: int
    before: Estimate

    @property
    def time_ratio(self) -> float | None:
        """Seconds a token on the card, against those before; None where the work of either law is not known, nor how
        several cards divide it (all but TIMED, and offloading), and between 16-bit and packed weights, whose kernels
        reach other shares of a card's speed (presets/efficiency.csv)."""
        if self.recipe.is_quantized is not self.before.source.recipe.is_quantized:
            return None
        before, after = (_seconds_per_token(made) for made in (self.before, self.estimate))
        return after / before if before and after else None

    @property
    def values(self) -> dict[str, Any]:
        """What to set, all changes together."""
        return {name: value for change in self.changes for name, value in change.values.items()}

    @property
    def kept(self) -> Problem:
        """What of a run stays as it was asked for, and how much less of the rest there is: "4,224 of 8,192 tokens"."""
        asked, kept, less = self.before.source.recipe, [], []
        for name in READ_FIRST:
            old, new = getattr(asked, name), getattr(self.recipe, name)
            if old == new:
                kept.append(f"{name} {_spelled(new)}")
            elif isinstance(old, int):
                less.append(f"{name} {_spelled(new)} / {_spelled(old)}")
        rows = _rows_a_step(asked)
        if rows == _rows_a_step(self.recipe):
            kept.append(f"{' x '.join(ROWS_A_STEP)} {rows:,}")
        return Problem(f"advice.kept{'_less' if less else ''}", kept=", ".join(kept), less=", ".join(less))

    @property
    def cost(self) -> str:
        """The worst kind of cost in it."""
        return max((change.cost for change in self.changes), key=COSTS.index)

    def to_dict(self) -> dict[str, Any]:
        return {
            "changes": [change.to_dict() for change in self.changes],
            "cost": self.cost,
            "saved_bytes": self.saved_bytes,
            "time_ratio": self.time_ratio,
            "device_bytes": self.estimate.device_bytes,
            "headroom_bytes": self.estimate.headroom_bytes,
            "fits": self.estimate.fits,
            "is_close": self.estimate.is_close,
        }


@dataclass(frozen=True)
class Room:
    """How much of what a card offers a recipe takes: likely, and at the upper end of its error bar; the margin is what
    lies between. Paged states are not in it: they move to the host."""

    device_bytes: int
    high_bytes: int
    edge_bytes: int

    @property
    def margin_bytes(self) -> int:
        return self.high_bytes - self.device_bytes

    @classmethod
    def of(cls, made: Estimate) -> Room:
        """Of the largest moment of the run: the error bar of the step, moved there (`Estimate.is_close`); the edge is
        the lowest that the card may offer."""
        context = made.edge_bytes - made.usable_bytes
        paged = made.device_bytes - made.peak_reserved_bytes - context
        device = made.largest_peak.device_bytes - paged
        beyond = made.uncertainty.high_bytes - made.device_bytes
        edge = made.edge_bytes - (made.usable_bytes - made.usable_low_bytes)
        return cls(device, device + beyond, edge)

    def to_dict(self) -> dict[str, int]:
        return vars(self) | {"margin_bytes": self.margin_bytes}


@dataclass(frozen=True)
class Largest:
    """The largest value of each field that fits beyond doubt with the rest as it is: it leaves the margin of its error
    bar free (`room`). None where not even the smallest does.

    `model` is the preset with most parameters of those released in `recent_since` or later, of all where none of them
    fits; one whose date is not known counts as older. A value at its field's own limit is not the card's.
    """

    per_device_train_batch_size: int | None
    max_length: int | None
    r: int | None
    model: str | None
    recent_since: str = ""
    room: Mapping[str, Room] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("per_device_train_batch_size", "max_length", "r", "model")}

    @property
    def note(self) -> Problem:
        """What margin each leaves, and which models come first."""
        return Problem("advice.largest_margin", since=self.recent_since)

    def to_dict(self) -> dict[str, Any]:
        room = {name: one.to_dict() for name, one in self.room.items()}
        return self.values | {"recent_since": self.recent_since, "room": room, "note": str(self.note)}


@dataclass(frozen=True)
class Advice:
    """`singles` each save something, mildest cost first; `cheapest` is None where the recipe fits or nothing makes it
    fit. Where the limit lies inside the error bar of what fits, `surest` is the mildest that fits beyond doubt; None
    where nothing does."""

    estimate: Estimate
    singles: tuple[Proposal, ...]
    cheapest: Proposal | None
    surest: Proposal | None
    find_largest: Callable[[], Largest] = field(repr=False, compare=False)

    @functools.cached_property
    def largest(self) -> Largest:
        """Looked for when it is asked for: a third of the work."""
        return self.find_largest()

    def to_dict(self) -> dict[str, Any]:
        return {
            "estimate": self.estimate.to_dict(),
            "singles": [proposal.to_dict() for proposal in self.singles],
            "cheapest": self.cheapest.to_dict() if self.cheapest else None,
            "surest": self.surest.to_dict() if self.surest else None,
            "largest": self.largest.to_dict(),
        }


def _seconds_per_token(made: Estimate) -> float | None:
    recipe, plan, gpu = made.source.recipe, made.parallel, machine(made.gpu).gpu
    load = load_of(recipe, made.source.parts)
    if plan is None:
        speed = throughput(load, gpu).tokens_per_second
    elif plan.distributed_type not in TIMED or recipe.offload_param_device != "none":
        return None
    else:
        stepped = load.step_bytes if plan.distributed_type == "ddp" else load.step_bytes / plan.num_devices
        sent = sum(plan.communication_bytes_per_step.values())
        speed = throughput_of_several(
            Spread(plan.num_devices, replace(load, step_bytes=stepped), sent), gpu
        ).tokens_per_second
    return 1 / speed.central if speed else None
