"""The generation cache of a model: shipped with its preset (`presets/caches.json`), traced earlier, or traced now. No
torch but there."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from estimator.core import home
from estimator.core.problems import Problem
from estimator.memory.kv_cache import FORMAT, KvCache
from estimator.model.catalog import Model, presets_dir

GENERATES = ("CausalLM", "LMHeadModel", "ForConditionalGeneration")
"""Ends of the names of Transformers' classes that answer token by token."""


def find(model: Model) -> KvCache | None:
    """The cache of a preset, or one traced before on this machine; None where it is not known. Needs no torch."""
    if (groups := _shipped().get(model.id)) is not None:
        return groups
    return _kept(_path(model)) if model.config else None


def of(model: Model) -> KvCache:
    """The cache of any model, traced now where it has to be. Raises `Problem("serving.cache_unknown")`."""
    if (found := find(model)) is not None:
        return found
    try:
        if not model.inventory.class_name.endswith(GENERATES):
            raise ValueError(f"{model.inventory.class_name} generates no text")
        from estimator.trace import cache_trace

        made = cache_trace.derive(model.config or {}, model.inventory.class_name)
    except Exception as error:  # whatever a model's own code does without data, and a missing torch
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise Problem("serving.cache_unknown", field="model", value=model.id, reason=reason) from error
    _keep(_path(model), made)
    return made


@functools.cache
def _shipped() -> dict[str, KvCache]:
    data = json.loads((presets_dir() / "caches.json").read_text("utf-8"))
    return {id: KvCache.from_list(groups) for id, groups in data["models"].items()} if data["format"] == FORMAT else {}


def _path(model: Model) -> Path:
    return _path_of(model.config and json.dumps(model.config, sort_keys=True, ensure_ascii=False) or "")


@functools.lru_cache(maxsize=64)
def _path_of(text: str) -> Path:
    return home.cache() / "caches" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.{FORMAT}.json"


@functools.lru_cache(maxsize=64)
def _kept(path: Path) -> KvCache | None:
    try:
        return KvCache.from_list(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _keep(path: Path, made: KvCache) -> None:
    home.keep_json(path, made.to_list())
    _kept.cache_clear()
