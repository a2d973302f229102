"""What an estimate answers: the figures, how they were made, and how they are told. Made by
`estimator.estimates.estimate` alone."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from estimator.core.problems import Problem
from estimator.estimates.disk import Disk, disk_of
from estimator.estimates.error_bar import Uncertainty
from estimator.estimates.formulas import Formula, explained, highest
from estimator.estimates.parts import Parts
from estimator.estimates.peaks import Peak, Step, largest, later_peaks
from estimator.law.law import Point, Row
from estimator.parallel.plan import ParallelPlan, Sharded
from estimator.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Source:
    """What an estimate was made of, for those of its figures that are made when they are asked for."""

    recipe: Recipe
    parts: Parts
    """Of one device alone."""
    derive: bool
    step: Step
    row: Row | None
    """The row of the law that peaks; None where the figures are a trace's."""
    sharded: Sharded | None = None
    """Of several devices the one that the answer is about."""

    @property
    def point(self) -> Point:
        """The law with all that the figures were made of."""
        return (self.sharded or self.parts).at(self.recipe)


@dataclass(frozen=True)
class Estimate:
    """Memory of one fine-tune on one device. Bytes throughout; `components` sum to `peak_allocated_bytes`.

    `peak_reserved_bytes` is what the caching allocator holds, `device_bytes` what the device shows: reserved, context,
    and paged optimizer states while they fit. `fits` is None without a GPU or where its memory is unknown, and where
    the error bar spans the limit it still states the central figure (a warning says so).
    """

    total_parameters: int
    trainable_parameters: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    device_bytes: int
    components: dict[str, int]
    peak_moment: str
    engine: str
    uncertainty: Uncertainty
    fits: bool | None
    headroom_bytes: int | None
    usable_bytes: int | None
    gpu: str | None
    warnings: tuple[Problem, ...]
    run_peaks: tuple[Peak, ...]
    """Loading, step, evaluation, saving: the largest of them has to fit."""
    source: Source = field(repr=False, compare=False)
    parallel: ParallelPlan | None = None
    """Beside several devices (`Recipe.num_processes`); all other bytes are then those of the device that needs most."""
    system: str | None = None
    usable_low_bytes: int | None = None
    usable_high_bytes: int | None = None
    usable_source: str | None = None
    stands_on: str | None = None
    """Of engine `nearest`: the settings of the law at hand that was changed into this structure's."""
    versions: dict[str, str] = field(default_factory=dict)
    """The libraries whose program was counted, such as `{"transformers": "5.23.0"}`: another version may keep other
    tensors."""

    @property
    def largest_peak(self) -> Peak:
        """The largest of `run_peaks`."""
        return largest(self.run_peaks)

    @functools.cached_property
    def peaks(self) -> tuple[Peak, ...]:
        """All moments: the run's, then drawing samples, merging and the chat."""
        return (
            *self.run_peaks,
            *later_peaks(self.source.recipe, self.source.parts, self.source.step, self.source.derive),
        )

    @functools.cached_property
    def formulas(self) -> tuple[Formula, ...]:
        """Where each component that is not empty comes from."""
        return explained(self.source, self.components)

    @functools.cached_property
    def moments(self) -> tuple[tuple[str, dict[str, int]], ...]:
        """The highest moment of each phase of a step, in its order: name and bytes by component. A trace gives the peak
        alone."""
        return highest(self.source.point) if self.source.row else ((self.peak_moment, self.components),)

    @functools.cached_property
    def disk(self) -> Disk:
        """What the run writes."""
        return disk_of(self.source.recipe, self.source.parts)

    @property
    def edge_bytes(self) -> int | None:
        """All of the card that the run can have, the context included: comparable with `device_bytes`. None where it is
        unknown."""
        return None if self.headroom_bytes is None else self.headroom_bytes + self.largest_peak.device_bytes

    @property
    def is_close(self) -> bool:
        """Whether the limit lies inside the error bar."""
        u = self.uncertainty
        beyond = self.largest_peak.device_bytes - self.device_bytes  # the bar is the step's
        if self.usable_bytes is None:
            return False
        low, high = u.low_bytes + beyond - self._context, u.high_bytes + beyond - self._context
        return low <= self.usable_high_bytes and self.usable_low_bytes < high

    @property
    def _context(self) -> int:
        return self.device_bytes - self.peak_reserved_bytes

    def to_dict(self) -> dict[str, Any]:
        own = (
            name
            for name in self.__dataclass_fields__
            if name not in ("warnings", "uncertainty", "run_peaks", "source", "parallel")
        )
        data = {name: getattr(self, name) for name in own}
        data |= {
            "peaks": [vars(peak) for peak in self.peaks],
            "largest_peak": self.largest_peak.name,
            "disk": vars(self.disk),
            "formulas": [formula.to_dict() for formula in self.formulas],
        }
        data["parallel"] = self.parallel.to_dict() if self.parallel else None
        bar = {"low_bytes": self.uncertainty.low_bytes, "high_bytes": self.uncertainty.high_bytes}
        return data | {"uncertainty": bar | {"why": _said(self.uncertainty.why)}, "warnings": _said(self.warnings)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def _repr_html_(self) -> str:
        """What a notebook shows: verdict, parts, error bar."""
        from estimator.estimates import notebook

        return notebook.to_html(self)

    def to_frame(self) -> Any:
        """A pandas frame, a row a part (`estimator.estimates.notebook.parts`), in bytes. Raises `Problem` without
        pandas."""
        from estimator.estimates import notebook

        return notebook.to_frame(self)

    def figure(self) -> Any:
        """A Plotly figure of the parts, the error bar and the card's edge. Raises `Problem` without Plotly."""
        from estimator.estimates import notebook

        return notebook.figure(self)


def _said(notes: Iterable[Problem]) -> list[dict[str, Any]]:
    return [note.to_dict() | {"text": str(note)} for note in notes]
