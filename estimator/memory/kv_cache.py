"""What a model keeps between the tokens it generates: keys and values, latent vectors, recurrent states. No torch.

A `KvCache` is read off the real cache of Transformers on the meta device (`estimator.trace.cache_trace`), so sliding windows,
latent attention, shared layers and states of linear attention are as the model's own code keeps them. Presets ship theirs
(`presets/caches.json`); another model's is traced once and kept, and unknown where torch is missing.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator.core import home
from estimator.core.problems import Problem
from estimator.core.units import width_bytes
from estimator.model.catalog import Model, presets_dir

FORMAT = 1
GENERATES = ("CausalLM", "LMHeadModel", "ForConditionalGeneration")
"""Ends of the names of Transformers' classes that answer token by token."""


@dataclass(frozen=True)
class CacheGroup:
    """`layers` equal layers. Elements of one row: a token's, and those of states whose size no length changes.

    `half` elements take the model's dtype, `fp32` ones are fp32 whatever it is. A `window` keeps the last `window - 1` tokens.
    """

    layers: int
    token_half: int = 0
    token_fp32: int = 0
    state_half: int = 0
    state_fp32: int = 0
    window: int | None = None

    def bytes(self, tokens: int, width: int, while_reading: bool) -> int:
        """Bytes of one row of `tokens` tokens.

        `DynamicSlidingWindowLayer.update` (transformers cache_utils.py) concatenates what it keeps with what came and keeps a
        view: after a prompt the storage of the whole prompt, after a token that of `window` tokens.
        """
        kept = tokens if while_reading or self.window is None else min(tokens, self.window)
        return self.layers * (
            kept * (self.token_half * width + self.token_fp32 * 4) + self.state_half * width + self.state_fp32 * 4
        )


@dataclass(frozen=True)
class KvCache:
    """A model's cache, one row at a time; rows add up."""

    groups: tuple[CacheGroup, ...]

    def bytes(self, rows: int, tokens: int, dtype: str, *, while_reading: bool = False) -> int:
        """Bytes that `rows` rows of `tokens` tokens hold: while they generate, or while their prompts are read (`while_reading`)."""
        width = width_bytes(dtype)
        return rows * sum(group.bytes(tokens, width, while_reading) for group in self.groups)

    def layer_bytes(self, rows: int, tokens: int, dtype: str) -> int:
        """Bytes of the largest layer: what `torch.cat` holds twice while a token is added."""
        width = width_bytes(dtype)
        return rows * max((group.bytes(tokens, width, False) // group.layers for group in self.groups), default=0)

    def to_list(self) -> list[dict[str, Any]]:
        return [{name: value for name, value in vars(group).items() if value} for group in self.groups]

    @classmethod
    def from_list(cls, groups: list[dict[str, Any]]) -> KvCache:
        return cls(tuple(CacheGroup(**group) for group in groups))


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
