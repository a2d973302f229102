"""From the name a user gave a model to its tensors and sizes, without torch in this process."""

from __future__ import annotations

from pathlib import Path

from estimator.catalog import TINY_BASE, Model, models
from estimator.estimate import counted_model, load_model
from estimator.problems import Problem
from studio import paths
from studio.workers.client import Worker

EMBEDDED_ID = TINY_BASE


def local_folder(name: str) -> Path | None:
    """The folder a name means: the embedded base, or a folder of this machine; None for presets and hub ids."""
    if name == EMBEDDED_ID:
        return paths.embedded_base()
    path = Path(name).expanduser()
    return path.resolve() if name not in models() and path.is_dir() else None


def find_model(name: str, trace_worker: Worker | None) -> Model:
    """A preset at once; a folder through what was counted before, or else through the trace worker (seconds).

    Raises `Problem` (`model.*`); `model.unknown` for a hub id that is no preset.
    """
    folder = local_folder(name)
    counted = paths.cache() / "inventories"
    if name in models() or folder is None:
        return load_model(name)
    try:
        return load_model(str(folder), counted)
    except Problem as problem:
        if problem.code != "model.not_counted" or trace_worker is None:
            raise
    return counted_model(str(folder), trace_worker.call("inventory", folder=str(folder)), counted)
