"""Starts, finds, stops, resumes and deletes jobs, of whatever kind and wherever they are done (`studio.jobs.job`). The
folders are the only record: there is nothing to fall out of step with, and a restarted page sees exactly what the
worker wrote.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from estimator.core.problems import Problem
from studio.disk.storage import storage_problems, sync
from studio.jobs.folder import Facts, RunFolder
from studio.jobs.job import Job, Kind, Place
from studio.jobs.journal import Course, Journal, Reader
from studio.jobs.kinds import KINDS, places
from studio.jobs.lock import FolderLock
from studio.jobs.view import RunView
from studio.space import Space, inside

STARTING = ".starting.lock"
"""Held in the folder of runs by the process that starts, resumes, moves or deletes one."""
WAIT_S = 10.0
"""For another page that starts a run, and for a worker that has said its last word and is about to exit."""


class Supervisor:
    """One for the page process. Safe to call from several threads, and beside another page on the same folder."""

    def __init__(
        self, space: Space, kinds: Mapping[str, Kind] = KINDS, where: Mapping[str, Place] | None = None
    ) -> None:
        """`where`: the places, by name; by default those of `studio.jobs.kinds`."""
        self.space, self.root = space, space.runs
        self.kinds, self.places = kinds, places(space) if where is None else where
        self._lock, self._starting = threading.RLock(), threading.Lock()
        self._readers: dict[str, Reader] = {}

    def list(self) -> list[RunView]:
        """All runs, newest first, the damaged ones too. A folder with nothing of a run in it is passed over."""
        found = (RunFolder(path) for path in self.root.glob("*") if not path.name.startswith("."))
        views = [self._view(run) for run in found if run.is_run()]
        return sorted(views, key=lambda view: view.info.created, reverse=True)

    def get(self, id: str) -> RunView:
        """Raises `Problem("run.gone")`."""
        run = RunFolder(inside(self.root, id or "-"))
        if not run.is_run():
            raise Problem("run.gone", value=id)
        return self._view(run)

    def active(self) -> RunView | None:
        """The run at work, if any."""
        return next((view for view in self.list() if view.active), None)

    def start(self, job: Job) -> RunView:
        """Make the folder and set a worker on it, where there is room for one."""
        with self._alone():
            self._refuse_crowd(job.place)
            run = RunFolder(self.root / (time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)))
            with storage_problems(self.root), _make_folder(run, job) as lock:
                self._launch(run, job.kind, job.place, lock)
            return self._view(run)

    def resume(self, id: str) -> RunView:
        """Go on from the last complete checkpoint, or from the start where there is none."""
        with self._alone():
            view = self.get(id)
            self._refuse_crowd(view.info.place)
            if view.faults:
                raise view.faults[0]
            if not view.resumable:
                raise Problem("run.not_resumable", value=view.name)
            if missing := self.kinds[view.info.kind].missing(view.run):
                raise missing
            with storage_problems(view.folder):
                lock = FolderLock.take(view.folder, WAIT_S)
                if lock is None:
                    raise Problem("run.active", value=view.name)
                with lock:
                    self._launch(view.run, view.info.kind, view.info.place, lock)
            return self._view(view.run)

    def stop(self, id: str) -> None:
        """Ask the worker to save and end after the step at work. It does so also when the page is gone."""
        view = self.get(id)
        if not view.active:
            raise Problem("run.not_at_work", value=view.name)
        self.places[view.info.place].stop(view.run)

    def delete(self, id: str) -> None:
        """Move a run that is not at work to the trash; `restore` brings it back."""
        with self._alone():
            view = self.get(id)
            if view.active:
                raise Problem("run.active", value=view.name)
            self._readers.pop(id, None)
            _move(view.folder, self.space.trash / f"run-{id}")

    def restore(self, id: str) -> RunView:
        with self._alone():
            source = inside(self.space.trash, f"run-{id}")
            if not source.is_dir():
                raise Problem("run.gone", value=id)
            _move(source, self.root / id)
            return self.get(id)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread, and no other page on this folder, starts, resumes or moves a run meanwhile."""
        with self._starting, storage_problems(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / STARTING)
            try:
                lock.acquire(timeout=WAIT_S)
            except Timeout:
                raise Problem("run.another_starts") from None
            with lock:
                yield

    def _refuse_crowd(self, place: str) -> None:
        """Raises `Problem("run.busy")` where as many are at work as there is room for. A place that nobody knows is a
        fault of the run, said by whoever looks at it."""
        busy = [view for view in self.list() if view.active and view.info.place == place]
        if place in self.places and len(busy) >= self.places[place].room:
            raise Problem("run.busy", value=busy[0].name)

    def _view(self, run: RunFolder) -> RunView:
        facts = run.facts()
        with self._lock:
            alive = self._alive(run, facts)
            # After the look: the last word is in it.
            course = self._readers.setdefault(run.id, Reader(run.path)).course()
            # Or another page has started it between the two.
            alive = alive or course.ended is None and self._alive(run, facts)
        faults = (*facts.faults, *self._unknown(facts), *filter(None, [course.unreadable]))
        status = _status(alive, course, any(fault.code != "record.unknown_field" for fault in faults))
        return RunView(facts.info, facts.recipe, status, course, run, faults, self.kinds.get(facts.info.kind))

    def _unknown(self, facts: Facts) -> Iterator[Problem]:
        """A kind or a place of another version."""
        for key, value, known in (("kind", facts.info.kind, self.kinds), ("place", facts.info.place, self.places)):
            if value not in known:
                yield Problem("record.bad_value", file="run.json", key=key, value=value[:80])

    def _alive(self, run: RunFolder, facts: Facts) -> bool:
        """Whether a worker is on it."""
        place = self.places.get(facts.info.place)
        return place is not None and place.at_work(run)

    def _launch(self, run: RunFolder, kind: str, place: str, lock: FolderLock) -> None:
        """The journal says so before the worker begins."""
        with contextlib.closing(Journal(run.path)) as journal:
            run.stop_file.unlink(missing_ok=True)
            journal.write("launched")
            self.places[place].start(run, self.kinds[kind].worker, lock)


def _status(alive: bool, course: Course, damaged: bool) -> str:
    """What the journal says, unless the process behind it is gone."""
    if alive:
        return course.ended or course.phase or "starting"
    return "damaged" if damaged else course.ended or "interrupted"


def _make_folder(run: RunFolder, job: Job) -> FolderLock:
    """Whole or not at all: built beside, then renamed. It is locked before it has its name."""
    building = RunFolder(run.path.with_name(f".{run.id}"))
    try:
        building.path.mkdir()
        lock = FolderLock.take(building.path)
        if lock is None:
            raise BlockingIOError(f"{building.path} is locked, though it was just made")
        job.write(building)
        if lock.descriptor is None:
            lock.release()  # Windows renames no folder with an open file in it
        building.path.rename(run.path)
        sync(run.path.parent)
    except OSError:
        shutil.rmtree(building.path, ignore_errors=True)
        raise
    return lock


def _move(source: Path, target: Path) -> None:
    with storage_problems(target.parent):
        if target.exists():
            shutil.rmtree(target)
        source.rename(target)
