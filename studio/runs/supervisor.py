"""Starts, finds, stops, resumes and deletes runs. The folders are the only record: there is nothing to fall out of step
with, and a restarted page sees exactly what the worker wrote.
"""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from estimator.problems import Problem
from estimator.recipe import Recipe
from studio import paths
from studio.datasets.store import DatasetInfo
from studio.runs.folder import RunFolder, RunInfo, link_or_copy
from studio.runs.journal import Course, Reader
from studio.runs.process import Handle
from studio.storage import storage_problems
from studio.workers.client import worker_environment

WORKER = "studio.workers.train"
ACTIVE = ("starting", "preparing", "loading", "training", "evaluating", "saving")


@dataclass(frozen=True)
class RunView:
    """One run as it is now."""

    info: RunInfo
    recipe: Recipe
    status: str
    """One of `ACTIVE`, or finished, stopped, failed, interrupted (its worker died without a word)."""
    course: Course
    run: RunFolder

    @property
    def id(self) -> str:
        return self.info.id

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

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def has_result(self) -> bool:
        return self.run.result is not None

    @property
    def resumable(self) -> bool:
        return self.status in ("stopped", "failed", "interrupted")


class Supervisor:
    """One for the page process. Safe to call from several threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.RLock()
        self._readers: dict[str, Reader] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def list(self) -> list[RunView]:
        """All runs, newest first. A folder that is no run (half-deleted, say) is passed over."""
        folders = [path for path in self.root.iterdir() if (path / "run.json").is_file()]
        views = [self._view(RunFolder(path)) for path in folders]
        return sorted(views, key=lambda view: view.info.created, reverse=True)

    def get(self, id: str) -> RunView:
        """Raises `Problem("run.gone")`."""
        path = paths.inside(self.root, id or "-")
        if not (path / "run.json").is_file():
            raise Problem("run.gone", value=id)
        return self._view(RunFolder(path))

    def active(self) -> RunView | None:
        """The run at work, if any."""
        return next((view for view in self.list() if view.active), None)

    def start(self, recipe: Recipe, dataset: DatasetInfo, name: str = "", predicted_bytes: int | None = None) -> RunView:
        """Make the folder and set a detached worker on it. One run at a time: two would fight for the same memory."""
        with self._lock:
            if busy := self.active():
                raise Problem("run.busy", value=busy.name)
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
            with storage_problems(self.root):
                _make_folder(run, info, recipe, dataset)
            self._launch(run)
            return self._view(run)

    def resume(self, id: str) -> RunView:
        """Go on from the last complete checkpoint, or from the start where there is none."""
        with self._lock:
            view = self.get(id)
            if busy := self.active():
                raise Problem("run.busy", value=busy.name)
            if not view.resumable:
                raise Problem("run.not_resumable", value=view.name)
            view.run.stop_file.unlink(missing_ok=True)
            self._launch(view.run)
            return self._view(view.run)

    def stop(self, id: str) -> None:
        """Ask the worker to save and end after the step at work. It does so also when the page is gone."""
        view = self.get(id)
        if view.active:
            view.run.stop_file.touch()

    def delete(self, id: str) -> None:
        """Move a run that is not at work to the trash; `restore` brings it back."""
        with self._lock:
            view = self.get(id)
            if view.active:
                raise Problem("run.active", value=view.name)
            self._readers.pop(id, None)
            _move(view.folder, paths.trash() / f"run-{id}")

    def restore(self, id: str) -> RunView:
        with self._lock:
            source = paths.inside(paths.trash(), f"run-{id}")
            if not source.is_dir():
                raise Problem("run.gone", value=id)
            _move(source, self.root / id)
            return self.get(id)

    def _view(self, run: RunFolder) -> RunView:
        with self._lock:
            course = self._readers.setdefault(run.id, Reader(run.path)).course()
            return RunView(run.info(), run.recipe(), self._status(run, course), course, run)

    def _status(self, run: RunFolder, course: Course) -> str:
        """What the journal says, unless the process behind it is gone."""
        if (child := self._children.get(run.id)) and child.poll() is not None:
            del self._children[run.id]  # reaped: a zombie would look alive
        handle = Handle.read(run.path)
        alive = handle is not None and handle.alive
        if not alive:
            course = self._readers[run.id].course()  # its last line may have come between the two looks
        silent = handle is not None and handle.attempt > course.attempts  # no word from it yet
        if course.ended and not silent:
            return course.ended
        if alive:
            return "starting" if silent else course.phase or "starting"
        return "interrupted"

    def _launch(self, run: RunFolder) -> None:
        """A session of its own, so that neither a closed terminal nor the page's end takes the worker along."""
        attempt = self._readers.setdefault(run.id, Reader(run.path)).course().attempts + 1
        with run.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", WORKER, str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=run.path,
                env=worker_environment(),
                start_new_session=True,
            )
        Handle.of(child.pid, attempt).write(run.path)
        self._children[run.id] = child


def clean_name(name: str) -> str:
    """A run's name: one line of printable text, at most 80 characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:80]


def default_name(recipe: Recipe, dataset: DatasetInfo) -> str:
    method = {"qlora": f"qlora-{recipe.quantization}"}.get(recipe.method, recipe.method)
    rank = f" r{recipe.r}" if recipe.has_adapters else ""
    model = re.split(r"[/\\]", recipe.model.rstrip("/"))[-1]
    return clean_name(f"{model} {method}{rank}")


def _make_folder(run: RunFolder, info: RunInfo, recipe: Recipe, dataset: DatasetInfo) -> None:
    """Whole or not at all: built beside, then renamed."""
    building = RunFolder(run.path.with_name(f".{info.id}"))
    try:
        building.path.mkdir()
        building.write_start(info, recipe)
        link_or_copy(dataset.train_file, building.train_file)
        if dataset.eval_file:
            link_or_copy(dataset.eval_file, building.path / "eval.jsonl")
        building.path.rename(run.path)
    except OSError:
        shutil.rmtree(building.path, ignore_errors=True)
        raise


def _move(source: Path, target: Path) -> None:
    with storage_problems(target.parent):
        if target.exists():
            shutil.rmtree(target)
        source.rename(target)
