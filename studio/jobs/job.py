"""A job: long work in a folder of its own. What is done there is its kind, who does it its place; the supervisor asks
both and names neither. Both stand in `run.json`, so that a page started later finds whom to ask.

A new kind is one module with a `Kind` and a `Job`, and a line in `kinds.py`; a new place is one `Place`, and a line
there.
"""

from __future__ import annotations

from typing import Protocol

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.jobs.folder import RunFolder, RunInfo
from studio.jobs.journal import Course
from studio.jobs.learned import Learned
from studio.jobs.lock import FolderLock


class Kind(Protocol):
    """What a job does."""

    @property
    def name(self) -> str:
        """As `run.json` keeps it."""

    @property
    def worker(self) -> str:
        """The module of the process that does it: `python -m worker FOLDER [descriptor of the folder's lock]`, around
        `studio.jobs.attempt.main`."""

    def missing(self, run: RunFolder) -> Problem | None:
        """Why it cannot begin, or go on, with what is in its folder."""

    def outcome(self, recipe: Recipe, course: Course) -> Learned | None:
        """What its end means; None where that says nothing."""


class Job(Protocol):
    """One that shall begin: what its worker is asked."""

    @property
    def kind(self) -> str: ...

    @property
    def place(self) -> str: ...

    def write(self, run: RunFolder) -> RunInfo:
        """Put all that the worker will read into the folder, which takes its name afterwards."""


class Place(Protocol):
    """Who does jobs: this machine, or another."""

    @property
    def room(self) -> int:
        """How many are at work there at a time."""

    def start(self, run: RunFolder, worker: str, lock: FolderLock) -> None:
        """Begin, or go on. `lock` is held until this returns; a worker that lives longer has to hold the folder
        itself."""

    def stop(self, run: RunFolder) -> None:
        """Ask the worker to save and end; it does so also when the page is gone."""

    def at_work(self, run: RunFolder) -> bool:
        """Whether a worker is on it, whoever started it: also after a restart of the page."""
