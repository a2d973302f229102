"""Which repositories hold in 16 bits what another one holds quantized: by its name, by what its config says of its
origin, and by presets of the same sizes. Names for a sentence; nothing is asked of a hub."""

from __future__ import annotations

import difflib
import functools
import re
from typing import Any

from estimator.core.problems import Problem
from estimator.model import catalog
from estimator.model.spec import ModelSpec

_ENDS = re.compile(
    r"[-_.](?:"
    r"(?:unsloth[-_.])?(?:bnb|dynamic)[-_.]?[48]bits?|unsloth|bnb|"
    r"(?:auto)?awq|(?:auto)?gptq(?:v2)?|aqlm|auto[-_]?round|hqq|eetq|quanto|higgs|vptq|spqr|exl[23]|mlx|gguf|torchao|ao|"
    r"(?:nv|mx)?fp[48]|(?:fp8|w\d+a\d+|int[48])[-_.]?(?:dynamic|static|block)|quantized|w\d+a\d+(?:fp8)?|"
    r"(?:[qu]?int|[qw])?[-_.]?[2-8][-_.]?bits?|[ui]?int[2-8](?:wo)?|q[2-8](?:[-_][01k](?:[-_][sml])?)?|\d+x\d+|"
    r"gs?\d{2,3}|\d{2,3}g|kv|sym|asym|dynamic|block"
    r")$",
    re.IGNORECASE,
)
"""Endings that say how a copy is stored."""
PUBLISH_BOTH = ("unsloth", "qwen", "zai-org", "openbmb", "internlm")
"""Organisations whose quantized copies stand beside the 16-bit model, under its name and an ending."""
_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*", re.ASCII)
MOST = 3


def originals(name: str, config: dict[str, Any]) -> list[str]:
    """Up to three hub ids, the likeliest first, or what a name says without its endings; empty where nothing tells."""
    owner, _, tail = name.rpartition("/")
    plain = _plain(tail)
    found = []
    if owner.lower() in PUBLISH_BOTH and plain != tail:
        found.append(f"{owner}/{plain}")
    came_from = config.get("_name_or_path")
    if isinstance(came_from, str) and _ID.fullmatch(came_from) and came_from != name and _plain(came_from) == came_from:
        found.append(came_from)
    other_context = _same_sizes(config)
    same = list(other_context)
    if owner or plain != tail:  # a name that tells something
        same.sort(key=lambda id: (other_context[id], -_likeness(plain, id)))
    exact = [id for id in same if _stem(id) == _stem(plain)]
    return list(dict.fromkeys([*found, *exact, *same]))[:MOST] or ([plain] if plain != tail else [])


def _plain(name: str) -> str:
    """Without the endings that say how it is stored: `Qwen2.5-7B-Instruct-GPTQ-Int4` is `Qwen2.5-7B-Instruct`."""
    while (cut := _ENDS.sub("", name)) != name and cut:
        name = cut
    return name


def without_endings(name: str) -> tuple[str, str]:
    """A name as its 16-bit model has it, and the endings that say how the copy is stored."""
    plain = _plain(name)
    return plain, name[len(plain) :]


def _stem(name: str) -> str:
    return name.rpartition("/")[2].lower().removeprefix("meta-")


def _likeness(plain: str, id: str) -> float:
    return difflib.SequenceMatcher(None, _stem(plain), _stem(id)).ratio()


def _same_sizes(config: dict[str, Any]) -> dict[str, bool]:
    """Presets of these sizes, and whether their context is another; those of the same context first."""
    try:
        spec = ModelSpec.from_config(config)
    except Problem:
        return {}
    found = {
        id: context != spec.max_position_embeddings for id, context in _presets_by_sizes().get(_sizes(spec), {}).items()
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


@functools.cache
def _presets_by_sizes() -> dict[tuple[str | int | None, ...], dict[str, int | None]]:
    """Presets in 16 bits, and their contexts, by what their configs state. Reads all of them, once, when a repository
    was refused."""
    found: dict[tuple[str | int | None, ...], dict[str, int | None]] = {}
    for id, preset in catalog.models().items():
        config = catalog.preset_config(id)
        if preset.is_causal and "quantization_config" not in config:
            spec = ModelSpec.from_config(config)
            found.setdefault(_sizes(spec), {})[id] = spec.max_position_embeddings
    return found


def _sizes(spec: ModelSpec) -> tuple[str | int | None, ...]:
    return (
        spec.model_type, spec.hidden_size, spec.num_hidden_layers, spec.num_attention_heads, spec.num_key_value_heads,
        spec.intermediate_size, spec.vocab_size, spec.num_experts,
    )  # fmt: skip
