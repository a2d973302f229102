"""From the name a user gave a model to its tensors and sizes, without torch in this process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from estimator import sources
from estimator.catalog import TINY_BASE, Model, load_preset, models
from estimator.hubs import parse
from estimator.inventory import Inventory
from estimator.problems import Problem
from studio import paths
from studio.workers.client import Worker

EMBEDDED_ID = TINY_BASE
REFUSAL_SECONDS = 30.0
"""How long a hub's refusal is repeated without asking again: a page asks at every change of every control."""
_refusals: dict[str, tuple[float, Problem]] = {}
_asking = [threading.Lock() for _ in range(16)]


def local_folder(name: str) -> Path | None:
    """The folder a name means: the embedded base, or a folder of this machine; None for presets and hub ids."""
    if name == EMBEDDED_ID:
        return paths.embedded_base()
    folder = None if name in models() else sources.local_folder(name)
    return folder.resolve() if folder else None


def find_model(name: str, trace_worker: Worker | None) -> Model:
    """A preset at once; a folder or a hub id through what was counted before, or else through the trace worker (seconds).

    A hub is asked in this thread, within `estimator.hub.SECONDS` and without this machine's login: whoever looks at the
    page sees what anyone may see. Raises `Problem` (`model.*`, `hub.*`).
    """
    if name in models():
        return load_preset(name)
    folder = local_folder(name)
    if folder or not parse(name):
        return _counted(str(folder or name), trace_worker)
    with _asking[hash(name) % len(_asking)]:  # several controls change at once: one of them asks
        _repeat_refusal(name)
        try:
            return _counted(name, trace_worker)
        except Problem as problem:
            if problem.code.startswith("hub."):
                _refusals[name] = (time.monotonic(), problem)
            raise


def _repeat_refusal(name: str) -> None:
    for known, (then, _) in list(_refusals.items()):
        if time.monotonic() - then > REFUSAL_SECONDS:
            _refusals.pop(known, None)
    if refusal := _refusals.get(name):
        raise refusal[1]


def _counted(name: str, trace_worker: Worker | None) -> Model:
    source = sources.open_source(name, paths.cache(), token=False)
    inventory = sources.counted_before(source, paths.cache())
    if inventory is None and trace_worker is None:
        raise Problem("model.not_counted", field="model", value=name)
    if inventory is None:
        inventory = Inventory.from_json(trace_worker.call("inventory", model=name, cache=str(paths.cache())))
    return source.model(inventory)
