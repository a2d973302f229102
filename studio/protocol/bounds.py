"""Bounds on what foreign input may take of a worker: a base's chat template is a program, and its author is not the
user.

`bounded` stops work in this process once it has taken its share of CPU time or memory, and the worker lives on. Work
that never comes back to Python is beyond that: `end_when_stuck` has the whole process end then, which the page notices.
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem

try:
    import resource
except ImportError:  # Windows
    resource = None

RENDER_SECONDS = 5.0
"""CPU seconds for one conversation: a template takes less than a millisecond a turn."""
LOAD_SECONDS = 60.0
"""CPU seconds for a tokenizer: the largest take 2 s, those with 65,000 added tokens 5 s."""
MEMORY_BYTES = 2 * 1024**3
"""What one bounded piece of work may add to the process."""
STUCK_SECONDS = 120.0
"""Seconds of the clock after which bounded work that cannot be stopped ends its process."""
_PAGE_BYTES = resource.getpagesize() if resource else 4096

_ends_process = False


class _Overrun(BaseException):
    """Time is up. No `Exception`, since libraries catch those and go on."""


def end_when_stuck() -> None:
    """From now on, work under `bounded` that hangs outside Python ends this process. For the main of a worker."""
    global _ends_process
    _ends_process = True


@contextlib.contextmanager
def bounded(
    slow: Problem, large: Problem, seconds: float = RENDER_SECONDS, extra_bytes: int | None = None
) -> Iterator[None]:
    """Raise `slow` after `seconds` of CPU time, `large` where more than `extra_bytes` (`MEMORY_BYTES`) would be added
    to this process.

    Time is counted where the system counts it and in the main thread, where handlers run; memory on Linux.
    """
    if _ends_process:
        faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True, file=sys.__stderr__)
    try:
        with _timed(seconds), _limited(extra_bytes or MEMORY_BYTES):
            yield
    except _Overrun:
        raise slow from None
    except MemoryError:
        raise large from None
    finally:
        if _ends_process:
            faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _timed(seconds: float) -> Iterator[None]:
    """CPU time, not the clock's: a busy machine is no fault of the input."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: Any) -> None:
        raise _Overrun

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def _limited(extra_bytes: int) -> Iterator[None]:
    used = _data_bytes()
    if used is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = min(
        used + extra_bytes, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY), sys.maxsize
    )
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    """What Linux counts against RLIMIT_DATA; None elsewhere."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[5]) * _PAGE_BYTES if resource else None
    except (OSError, ValueError, IndexError):
        return None


MEASURES_MEMORY = _data_bytes() is not None
"""Whether this system bounds memory."""
