"""Starts, finds, stops, resumes and deletes runs. The folders are the only record: there is nothing to fall out of step
with, and a restarted page sees exactly what the worker wrote.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.store import DatasetInfo
from studio.disk.storage import storage_problems, sync
from studio.jobs.folder import RunFolder, RunInfo, link_or_copy
from studio.jobs.journal import PHASES, Course, Journal, Reader
from studio.jobs.learned import Learned, learned
from studio.jobs.lock import FolderLock
from studio.jobs.process import at_work
from studio.protocol.client import worker_environment
from studio.space import Space, inside

WORKER = "studio.workers.train"
ACTIVE = ("starting", *PHASES)
STARTING = ".starting.lock"
"""Held in the folder of runs by the process that starts, resumes, moves or deletes one."""
WAIT_S = 10.0
"""For another page that starts a run, and for a worker that has said its last word and is about to exit."""


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
        """Whether it learned; None while it is at work, or where its recipe cannot be read."""
        return learned(self.recipe, self.course) if self.recipe and not self.active else None

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


class Supervisor:
    """One for the page process. Safe to call from several threads, and beside another page on the same folder."""

    def __init__(self, space: Space) -> None:
        self.space, self.root = space, space.runs
        self._lock, self._starting = threading.RLock(), threading.Lock()
        self._readers: dict[str, Reader] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

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

    def start(
        self, recipe: Recipe, dataset: DatasetInfo, name: str = "", predicted_bytes: int | None = None
    ) -> RunView:
        """Make the folder and set a detached worker on it. One run at a time: two would fight for the same memory."""
        with self._alone():
            self._refuse_second()
            info = RunInfo(
                id=time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2),
                name=clean_name(name) or default_name(recipe, dataset),
                created=time.time(),
                dataset_id=dataset.id,
                dataset_name=dataset.name,
                fingerprint=dataset.fingerprint,
                predicted_bytes=predicted_bytes,
            )
            run = RunFolder(self.root / info.id)
            with storage_problems(self.root), _make_folder(run, info, recipe, dataset) as lock:
                self._launch(run, lock)
            return self._view(run)

    def resume(self, id: str) -> RunView:
        """Go on from the last complete checkpoint, or from the start where there is none."""
        with self._alone():
            view = self.get(id)
            self._refuse_second()
            if view.faults:
                raise view.faults[0]
            if not view.resumable:
                raise Problem("run.not_resumable", value=view.name)
            if not view.run.train_file.is_file():
                raise Problem("record.missing", file=view.run.train_file.name)
            with storage_problems(view.folder):
                lock = FolderLock.take(view.folder, WAIT_S)
                if lock is None:
                    raise Problem("run.active", value=view.name)
                with lock:
                    self._launch(view.run, lock)
            return self._view(view.run)

    def stop(self, id: str) -> None:
        """Ask the worker to save and end after the step at work. It does so also when the page is gone."""
        view = self.get(id)
        if not view.active:
            raise Problem("run.not_at_work", value=view.name)
        with storage_problems(view.folder):
            view.run.stop_file.touch()

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

    def _refuse_second(self) -> None:
        if busy := self.active():
            raise Problem("run.busy", value=busy.name)

    def _view(self, run: RunFolder) -> RunView:
        facts = run.facts()
        with self._lock:
            alive = self._alive(run)
            course = self._readers.setdefault(
                run.id, Reader(run.path)
            ).course()  # after the look: the last word is in it
            alive = alive or course.ended is None and self._alive(run)  # or another page has started it between the two
        faults = (*facts.faults, course.unreadable) if course.unreadable else facts.faults
        return RunView(
            facts.info,
            facts.recipe,
            _status(alive, course, facts.damaged or bool(course.unreadable)),
            course,
            run,
            faults,
        )

    def _alive(self, run: RunFolder) -> bool:
        """Whether a worker is on it: the lock tells, and of a worker of this process that has not taken it yet, the process."""
        child = self._children.get(run.id)
        if child and child.poll() is not None:
            del self._children[run.id]
            child = None
        return child is not None or at_work(run.path)

    def _launch(self, run: RunFolder, lock: FolderLock) -> None:
        """A session of its own, so that neither a closed terminal nor the page's end takes the worker along. The folder's lock
        goes over to the worker, and the journal says so: nobody takes the run for dead meanwhile, whoever is killed."""
        handed = () if lock.descriptor is None else (lock.descriptor,)
        with run.log.open("ab") as log, contextlib.closing(Journal(run.path)) as journal:
            run.stop_file.unlink(missing_ok=True)
            journal.write("launched")
            child = subprocess.Popen(
                [sys.executable, "-m", WORKER, str(run.path), *map(str, handed)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=run.path,
                env=worker_environment(self.space),
                start_new_session=True,
                pass_fds=handed,
            )
        with self._lock:
            self._children[run.id] = child


def _status(alive: bool, course: Course, damaged: bool) -> str:
    """What the journal says, unless the process behind it is gone."""
    if alive:
        return course.ended or course.phase or "starting"
    return "damaged" if damaged else course.ended or "interrupted"


def clean_name(name: str) -> str:
    """A run's name: one line of printable text, at most 80 characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:80]


def default_name(recipe: Recipe, dataset: DatasetInfo) -> str:
    method = {"qlora": f"qlora-{recipe.quantization}"}.get(recipe.method, recipe.method)
    rank = f" r{recipe.r}" if recipe.has_adapters else ""
    model = re.split(r"[/\\]", recipe.model.rstrip("/"))[-1]
    return clean_name(f"{model} {method}{rank}")


def _make_folder(run: RunFolder, info: RunInfo, recipe: Recipe, dataset: DatasetInfo) -> FolderLock:
    """Whole or not at all: built beside, then renamed. It is locked before it has its name."""
    building = RunFolder(run.path.with_name(f".{info.id}"))
    try:
        building.path.mkdir()
        lock = FolderLock.take(building.path)
        if lock is None:
            raise BlockingIOError(f"{building.path} is locked, though it was just made")
        building.write_start(info, recipe)
        link_or_copy(dataset.train_file, building.train_file)
        if dataset.eval_file:
            link_or_copy(dataset.eval_file, building.path / "eval.jsonl")
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
