"""One worker a run folder: a lock of the operating system, held from before the worker's process begins until its end.

The page takes the lock, and the worker inherits it: between the two there is no moment in which nobody holds it,
whichever of them is killed when. The kernel lets go with the last process that has the descriptor open, so a lock that
is held is a worker that lives, and a pid, a clock or a restart of the machine say nothing beside it.

flock(2) is used as it is, since `filelock` does not hand a lock over to a child. Windows cannot hand one over either:
there the worker takes it by itself, through `filelock`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import Any

if sys.platform == "win32":
    from filelock import FileLock, Timeout
else:
    import fcntl

FILE_NAME = "worker.lock"
LOOK_EVERY_S = 0.01
MOMENT_S = 0.5
"""A look at the lock holds it, shared, for microseconds; whoever takes it tries again for this long."""
NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


class FolderLock:
    """The lock of one folder, held; a context manager that gives it back, or leaves it with the worker it was handed
    to."""

    def __init__(self, descriptor: int | None, lock: Any = None) -> None:
        self.descriptor, self._lock = descriptor, lock

    @classmethod
    def take(cls, folder: Path, wait_s: float = MOMENT_S) -> FolderLock | None:
        """None where another process holds it and does not let go within `wait_s`. Raises OSError where nothing can be
        written."""
        if sys.platform == "win32":
            lock = FileLock(folder / FILE_NAME)
            try:
                lock.acquire(timeout=wait_s)
            except Timeout:
                return None
            return cls(None, lock)
        descriptor = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o666)  # not inherited, as Python opens files
        until = time.monotonic() + wait_s
        while not _flock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > until:
                os.close(descriptor)
                return None
            time.sleep(LOOK_EVERY_S)
        return cls._alone(descriptor)

    @classmethod
    def inherited(cls, folder: Path, descriptor: int) -> FolderLock | None:
        """The lock that the page took for this process; None where `descriptor` is not it."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(folder / FILE_NAME)) and _flock(
                descriptor, fcntl.LOCK_EX
            ):
                os.set_inheritable(descriptor, False)
                return cls._alone(descriptor)
        return None

    @classmethod
    def _alone(cls, descriptor: int) -> FolderLock:
        """Forked children (a data loader's, say) may outlive a killed worker: they must not go on holding its lock."""
        lock = cls(descriptor)
        os.register_at_fork(after_in_child=lock.release)
        return lock

    def release(self) -> None:
        """Closing, not unlocking: the worker that has the same descriptor keeps the lock."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        if self._lock:
            self._lock.release()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def held(folder: Path) -> bool | None:
    """Whether some process holds the folder's lock; None where the file system cannot tell. Changes nothing, and needs
    no right to write."""
    if sys.platform == "win32":
        lock = FolderLock.take(folder, 0) if (folder / FILE_NAME).exists() else FolderLock(None)
        return lock.release() is not None if lock else True
    try:
        descriptor = os.open(folder / FILE_NAME, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _flock(descriptor: int, kind: int) -> bool:
    """Whether it was had. A file system without locks gives it to everyone: there the record of the process has to
    do."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            raise
    return True
