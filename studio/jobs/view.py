"""One job as it is now, for whoever shows it or decides what may be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.jobs.folder import RunFolder, RunInfo
from studio.jobs.job import Kind
from studio.jobs.journal import PHASES, Course
from studio.jobs.learned import Learned

ACTIVE = ("starting", *PHASES)


@dataclass(frozen=True)
class RunView:
    """One run as it is now."""

    info: RunInfo
    recipe: Recipe | None
    """None where it cannot be read: the run is damaged, or a worker that read it before is still at work."""
    status: str
    """One of `ACTIVE`, or finished, stopped, failed, interrupted (its worker died without a word), damaged."""
    course: Course
    run: RunFolder
    faults: tuple[Problem, ...] = ()
    """What is damaged or another version's (`record.*`): it is shown, and not resumed."""
    kind: Kind | None = None
    """What it does; None where this version does not know."""

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def dataset_name(self) -> str:
        return self.info.dataset_name

    @property
    def folder(self) -> Path:
        return self.run.path

    @property
    def predicted_bytes(self) -> int | None:
        """Of the peak: for the longest row once the worker has read the rows, before that for `max_length`."""
        return self.course.predicted_bytes or self.info.predicted_bytes

    @cached_property
    def learned(self) -> Learned | None:
        """Whether it learned; None while it is at work, where its recipe cannot be read, or where nobody asks that of
        its kind."""
        return self.kind.outcome(self.recipe, self.course) if self.kind and self.recipe and not self.active else None

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def has_result(self) -> bool:
        return self.run.result is not None

    @property
    def damaged(self) -> bool:
        return self.status == "damaged"

    @property
    def resumable(self) -> bool:
        return self.status in ("stopped", "failed", "interrupted") and not self.faults
