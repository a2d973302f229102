"""From the name a user gave a model to its tensors and sizes, without torch in this process."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from estimator.core.problems import Problem
from estimator.hub import sources
from estimator.hub.hubs import parse
from estimator.model import names
from estimator.model.catalog import TINY_BASE, Model, load_preset, models
from estimator.model.inventory import Inventory
from studio import shipped
from studio.get import copy
from studio.get.known import SMOLLM2, SMOLLM2_START, wheel_of
from studio.models import pasted
from studio.protocol.client import Worker
from studio.space import Space

EMBEDDED_ID = TINY_BASE
EMBEDDED_START = {
    "model": EMBEDDED_ID,
    "dtype": "float32",
    "per_device_train_batch_size": 8,
    "max_length": 256,
    "learning_rate": 2e-3,
    "gradient_checkpointing": False,
}
"""Recipe fields that suit the embedded base on a CPU; every other is the recipe's own default."""
STARTS = {EMBEDDED_ID: EMBEDDED_START, SMOLLM2: SMOLLM2_START}
"""Settings that a base brings when it is chosen, where some are known."""
ANSWER_SECONDS = 9.5
"""After so long a reader is told, whatever a hub or a configuration does."""
_LIKE_A_PATH = re.compile(r"[/~.\\]|[A-Za-z]:[/\\]")
REFUSAL_SECONDS = 30.0
"""How long a hub's refusal is repeated without asking again: a page asks at every change of every control."""


class _Asking:
    """One of those who ask for a name asks; who asks for another name does not wait for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


_refusals: dict[str, tuple[float, Problem]] = {}
_asking: WeakValueDictionary[str, _Asking] = WeakValueDictionary()


def local_folder(space: Space, name: str, field: str = "model") -> Path | None:
    """The folder a name means: the embedded base, a model that was fetched as a wheel, or a folder of this machine;
    None for presets and hub ids. Raises `Problem` (`get.*`) where a wheel's model is not here, or not whole."""
    if name == EMBEDDED_ID:
        return shipped.embedded_base()
    if wheel := wheel_of(name):
        return copy.folder_for_use(space, wheel, field)
    folder = None if name in models() else sources.local_folder(name)
    return folder.resolve() if folder else None


def base_name(space: Space, name: str, folders: bool) -> str:
    """What a worker is told of a base: a folder by its whole path, since a worker stands in another one; a preset or a
    hub id as it is. Without `folders` none is looked at. Raises `Problem`: `model.folder_refused`,
    `base.config_only`."""
    if not isinstance(name, str) or name in models() or name == EMBEDDED_ID:
        return name
    if name.startswith(pasted.PREFIX):
        raise Problem("base.config_only", field="model", value=name[:80])
    if not folders:
        refuse_folder(name)
        return names.repository(name)
    return str(local_folder(space, name) or names.repository(name))


def refuse_folder(name: str) -> None:
    """Raises `Problem("model.folder_refused")` for what looks like a folder, whether or not it is there."""
    if name != EMBEDDED_ID and _LIKE_A_PATH.match(name):
        raise Problem("model.folder_refused", field="model", value=name[:80])


def find_model(space: Space, name: str, trace_worker: Worker | None, folders: bool = True) -> Model:
    """A preset at once; a folder, a hub id or a pasted config through what was counted before, or else through the
    trace worker (seconds, at most `ANSWER_SECONDS` all in all).

    A hub is asked in this thread, within `estimator.hub.hub.SECONDS` and without this machine's login: whoever looks at
    the page sees what anyone may see. Without `folders` none is looked at, not even whether it is there. Raises
    `Problem` (`model.*`, `hub.*`, `worker.*`).
    """
    until = time.monotonic() + ANSWER_SECONDS
    if name in models():
        return load_preset(name)
    if name.startswith(pasted.PREFIX):
        config = pasted.config_of(space, name)
        return _counted(space, sources.UncountedModel(name, config), trace_worker, until, config)
    if not folders:
        refuse_folder(name)
    folder = local_folder(space, name) if folders or name == EMBEDDED_ID else None
    if not folder:
        name = names.plain_id(name)
        if model := sources.by_name(name):
            return model
    if folder or not parse(name):
        return _counted(space, _source(space, str(folder or name), bool(folder) or folders), trace_worker, until)
    asking = _asking.setdefault(name, _Asking())  # several controls change at once: one of them asks
    with asking.lock:
        try:
            _repeat_refusal(name)
            return _counted(space, _source(space, name, folders), trace_worker, until)
        except Problem as problem:
            if problem.code.startswith("hub."):
                _refusals.setdefault(name, (time.monotonic(), problem))  # a repeated one is no younger
            if model := sources.by_name(name, problem):
                return model
            raise


def _source(space: Space, name: str, folders: bool) -> sources.UncountedModel:
    return sources.open_source(name, space.cache, token=False, folders=folders)


def _repeat_refusal(name: str) -> None:
    for known, (then, _) in list(_refusals.items()):
        if time.monotonic() - then > REFUSAL_SECONDS:
            _refusals.pop(known, None)
    if refusal := _refusals.get(name):
        raise refusal[1]


def _counted(
    space: Space,
    source: sources.UncountedModel,
    trace_worker: Worker | None,
    until: float,
    config: dict[str, Any] | None = None,
) -> Model:
    inventory = sources.counted_before(source, space.cache)
    if inventory is None and trace_worker is None:
        raise Problem("model.not_counted", field="model", value=source.name)
    if inventory is None:
        asked = {"model": source.name, "cache": str(space.cache)} | ({"config": config} if config else {})
        left = max(1.0, until - time.monotonic())
        inventory = Inventory.from_json(trace_worker.call("inventory", within_seconds=left, **asked))
    return source.model(inventory)
