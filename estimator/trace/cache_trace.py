"""Reads a model's generation cache off Transformers itself, on the meta device.

Two prompts of different lengths are read by the real model with the cache that `generate` makes; what grows is a
token's, the rest is a state. Imported where torch is.
"""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

import torch
from transformers import DynamicCache

from estimator.memory.kv_cache import CacheGroup, KvCache
from estimator.trace.meta_model import build_on_meta, quiet

LENGTHS = (8, 12)
"""Tokens of the two prompts."""


def derive(config: dict[str, Any], class_name: str | None = None) -> KvCache:
    """The cache of the model of `config`, or what its code raises without data. Raises ValueError where it keeps
    none."""
    with quiet():
        short, long = _read(config, class_name)
    groups = Counter(_group(few, many, window) for (few, window), (many, _) in zip(short, long, strict=True))
    made = KvCache(tuple(CacheGroup(layers, *sizes) for sizes, layers in groups.items() if any(sizes[:4])))
    if not made.groups:
        raise ValueError("the model keeps no cache")
    return made


def _read(config: dict[str, Any], class_name: str | None) -> list[Any]:
    model = build_on_meta(config, class_name, dtype=torch.bfloat16).eval()
    return [_sizes(model, tokens) for tokens in LENGTHS]


def _sizes(model: Any, tokens: int) -> list[tuple[Counter[str], int | None]]:
    """Elements by kind of number in each layer's cache, and its window, after a prompt of `tokens` tokens."""
    cache = DynamicCache(config=model.config)
    name = "cache_params" if "cache_params" in inspect.signature(model.forward).parameters else "past_key_values"
    ids = torch.zeros((1, tokens), dtype=torch.int64, device="meta")
    with torch.no_grad():
        model(input_ids=ids, use_cache=True, **{name: cache})
    return [(_elements(layer), getattr(layer, "sliding_window", None)) for layer in cache.layers]


def cached_tensors(layer: Any) -> list[torch.Tensor]:
    """Every tensor that a layer of a cache holds, of any kind of layer."""
    found = []
    for name, value in vars(layer).items():
        if name.startswith("_"):
            continue  # the window as a tensor
        values = value.values() if isinstance(value, dict) else [value]
        found += [tensor for tensor in values if isinstance(tensor, torch.Tensor)]
    return found


def _elements(layer: Any) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for tensor in cached_tensors(layer):
        kinds["fp32" if tensor.dtype is torch.float32 else "half"] += (
            tensor.untyped_storage().nbytes() // tensor.element_size()
        )
    return kinds


def _group(few: Counter[str], many: Counter[str], window: int | None) -> tuple[Any, ...]:
    """(token_half, token_fp32, state_half, state_fp32, window). A token's elements are whole: anything else is
    refused."""
    token, state = {}, {}
    for kind in ("half", "fp32"):
        token[kind], rest = divmod(many[kind] - few[kind], LENGTHS[1] - LENGTHS[0])
        state[kind] = few[kind] - token[kind] * LENGTHS[0]
        if rest or state[kind] < 0:
            raise ValueError(f"a cache of {few[kind]} and {many[kind]} elements is not linear in the tokens")
    return token["half"], token["fp32"], state["half"], state["fp32"], window if any(token.values()) else None
