"""The place that is this machine: one detached process a job, found again by the lock of its folder."""

from __future__ import annotations

import subprocess
import sys
import threading

from studio.disk.storage import storage_problems
from studio.jobs.folder import RunFolder
from studio.jobs.lock import FolderLock
from studio.jobs.process import at_work
from studio.protocol.client import worker_environment
from studio.space import Space


class Here:
    """Workers of `space` on this machine."""

    room = 1
    """Two would fight for the same memory."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, run: RunFolder, worker: str, lock: FolderLock) -> None:
        """A session of its own, so that neither a closed terminal nor the page's end takes the worker along. The
        folder's lock goes over to it: nobody takes the run for dead meanwhile, whoever is killed."""
        handed = () if lock.descriptor is None else (lock.descriptor,)
        with run.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", worker, str(run.path), *map(str, handed)],
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

    def stop(self, run: RunFolder) -> None:
        """By a file, which the worker looks for at each step."""
        with storage_problems(run.path):
            run.stop_file.touch()

    def at_work(self, run: RunFolder) -> bool:
        """The lock tells, and of a worker of this process that has not taken it yet, the process."""
        with self._lock:
            child = self._children.get(run.id)
            if child and child.poll() is not None:
                self._children.pop(run.id, None)
                child = None
        return child is not None or at_work(run.path)
