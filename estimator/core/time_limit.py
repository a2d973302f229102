"""A bound on the time that a foreign configuration may take."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from estimator.core.problems import Problem

COUNTING_SECONDS = 8
"""A model of 400 B parameters takes about 1 s; a configuration that takes this long is not one to train here, and a
page waits for it."""


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Stop after `seconds` of this process's own work, where the system counts it (handlers run in the main thread)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: object) -> None:
        raise Problem("model.too_slow", field="model", value=seconds)

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # CPU time: a busy machine is no fault of the configuration
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
