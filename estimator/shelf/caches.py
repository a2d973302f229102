"""The generation cache of a model: shipped with its preset (`presets/caches.json`), traced earlier, or traced now. No
torch but there."""

from __future__ import annotations

import functools
import json

from estimator.core.problems import Problem
from estimator.memory.kv_cache import FORMAT, KvCache
from estimator.model.catalog import Model, presets_dir
from estimator.recipe.tasks import CAUSAL_LM
from estimator.shelf.shelf import Shelf, shipped_file

FILE, KEY = "caches.json", f"cache {FORMAT}"
GENERATES = CAUSAL_LM.class_ends
"""Ends of the names of Transformers' classes that answer token by token; those of an encoder and a decoder too."""


def find(model: Model) -> KvCache | None:
    """The cache of a preset, or one traced before on this machine; None where it is not known. Needs no torch."""
    return CACHES.find(model, KEY)


def of(model: Model) -> KvCache:
    """The cache of any model, traced now where it has to be. Raises `Problem("serving.cache_unknown")`."""
    if (found := find(model)) is not None:
        return found
    try:
        if not model.inventory.class_name.endswith(GENERATES):
            raise ValueError(f"{model.inventory.class_name} generates no text")
        made = derive(model)
    except Exception as error:  # whatever a model's own code does without data, and a missing torch
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise Problem("serving.cache_unknown", field="model", value=model.id, reason=reason) from error
    CACHES.keep(made, model, KEY)
    return made


def derive(model: Model) -> KvCache:
    """Traced now."""
    from estimator.trace import cache_trace

    return cache_trace.derive(model.config or {}, model.inventory.class_name)


@functools.cache
def _at_hand() -> dict[str, KvCache]:
    return read_shipped() if shipped_file(FILE) else {}


def read_shipped() -> dict[str, KvCache]:
    """What ships, whichever tracer made it."""
    data = json.loads((presets_dir() / FILE).read_text("utf-8"))
    return {id: KvCache.from_list(groups) for id, groups in data["models"].items()} if data["format"] == FORMAT else {}


def _read(groups: list[dict[str, int]]) -> KvCache:
    if not all(isinstance(value, int) for group in groups for value in group.values()):
        raise ValueError("a size of a cache is a whole number")
    return KvCache.from_list(groups)


CACHES = Shelf("caches", _read, KvCache.to_list, lambda model, key: _at_hand().get(model.id))
