"""The trace worker: counts models that are no preset, so that the page can estimate them without torch.

Started when a page asks for a folder it has not seen, and ends when the page's process closes its stdin.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from estimator.problems import Problem
from estimator.spec import read_config
from studio.workers.serve import Request, serve

MOST_SECONDS = 60
"""A model of 400 B parameters takes about 1 s; a configuration that takes a minute is not one to train here."""


def inventory(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`{"folder": path}` -> `{"inventory": ..., "config": ...}` for `estimator.Inventory.from_json` and `ModelSpec`.

    Weights are neither read nor needed: a folder with a config.json is enough. Raises `Problem` (`model.*`).
    """
    from estimator import trace

    config = read_config(params["folder"])
    with _at_most(MOST_SECONDS):
        made = trace.derive(config)
    return {"inventory": made.to_json(), "config": config}


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Stop after `seconds` of this process's own work, where the system counts it (handlers run in the main thread)."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(signum: int, frame: Any) -> None:
        raise Problem("model.too_slow", field="model", value=seconds)

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # CPU time: a busy machine is no fault of the configuration
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def check_base(params: dict[str, Any], request: Request) -> None:
    """`{"model": name}`: refuse a base that could not be loaded (`base.*`), before anything starts."""
    from studio.workers.bases import open_base

    open_base(params["model"])


HANDLERS = {"inventory": inventory, "check_base": check_base}


def _warm() -> None:
    """Torch, transformers and peft take seconds to load; do it before the first request."""
    import peft.utils.transformers_weight_conversion  # noqa: F401

    import estimator.trace  # noqa: F401


if __name__ == "__main__":
    serve(HANDLERS, _warm)
