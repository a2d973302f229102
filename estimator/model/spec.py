"""`ModelSpec`: the sizes of a model that the memory law needs, read from a config.json and validated.

Counts never come from here (they are sums over the inventory); this is what the activations depend on. A missing key is
a `Problem`, never a guess: a default is taken only where Transformers itself documents one, in `_DEFAULTS`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator.core.field_text import whole
from estimator.core.fields import is_number
from estimator.core.problems import Problem

# Never read here and never run: code and kernels from a repository, and how its weights are stored
# (`estimator.memory.stored`).
IGNORED_KEYS = frozenset(
    {"auto_map", "quantization_config", "attn_implementation", "_attn_implementation", "experts_implementation",
     "kernel_config", "use_kernels", "custom_pipelines", "trust_remote_code", "_name_or_path", "architectures",
     "transformers_version", "dtype", "torch_dtype"}
)  # fmt: skip
SAID_KEYS = ("auto_map", "custom_pipelines", "kernel_config", "use_kernels", "trust_remote_code")
"""Said when they were ignored; so is an implementation that names a repository (`org/kernel`)."""
_IMPLEMENTATIONS = ("attn_implementation", "_attn_implementation", "experts_implementation")

# Families spell the same size differently (Transformers' own `attribute_map`s, and ChatGLM's own code). First found
# wins.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"),
    "num_key_value_heads": ("num_key_value_heads", "multi_query_group_num"),
    "intermediate_size": ("intermediate_size", "ffn_dim", "n_inner", "d_ff", "encoder_ffn_dim", "ffn_hidden_size",
        "hidden_dim"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
    "max_position_embeddings": ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len",
        "max_sequence_length"),
    "head_dim": ("head_dim", "d_kv", "kv_channels"),
    "num_experts": ("num_experts", "num_local_experts", "n_routed_experts"),
    "num_experts_per_tok": ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k_experts"),
    "moe_intermediate_size": ("moe_intermediate_size", "expert_intermediate_size"),
}  # fmt: skip
# Largest value taken for a real size. The biggest published models are 8 to 60 times below each.
_LIMITS = {
    "hidden_size": 262_144,
    "num_hidden_layers": 2_048,
    "num_attention_heads": 4_096,
    "num_key_value_heads": 4_096,
    "intermediate_size": 4_194_304,
    "vocab_size": 8_388_608,
    "max_position_embeddings": 268_435_456,
    "head_dim": 16_384,
    "qk_rope_head_dim": 16_384,
    "qk_nope_head_dim": 16_384,
    "num_experts": 131_072,
    "num_experts_per_tok": 8_192,
    "moe_intermediate_size": 1_048_576,
}
MAX_PARAMETERS = 20 * 10**12
MAX_CONFIG_BYTES = 2**20
MAX_CONFIG_DEPTH = 32
MAX_REPEATS = 8_192
"""Largest number of layers, blocks or experts under any key: each is an object built in Python."""
_REPEATS = re.compile(r"layers?$|depths?$|blocks?$|experts?$")
ADAPTER_CONFIG = "adapter_config.json"
"""PEFT's record of an adapter, whose folder holds no model."""
_REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


@dataclass(frozen=True)
class ModelSpec:
    """Sizes of one model, in elements. None means that the architecture has no such size or the config leaves it
    out."""

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    intermediate_size: int | None = None
    max_position_embeddings: int | None = None
    num_experts: int | None = None
    num_experts_per_tok: int | None = None
    moe_intermediate_size: int | None = None
    ignored: tuple[str, ...] = ()
    """Keys of the config that ask for code or kernels; they were not followed."""

    @classmethod
    def from_config(cls, config: Any, context_length: int | None = None) -> ModelSpec:
        """From the content of a config.json. A vision-language config is read at its `text_config`.

        `context_length` (tokens), where known, goes before the config's own.
        """
        model_type, text, sizes = _stated(config)
        for name in _REQUIRED:
            if sizes[name] is None:
                raise Problem("model.missing_key", field="config.json", key=" / ".join(_SPELLINGS[name]))
        sizes["max_position_embeddings"] = context_length or _context(text, sizes["max_position_embeddings"])
        _complete(text, sizes)
        _check_together(sizes)
        _check_repeats(config)
        return cls(model_type=model_type, ignored=_ignored(config), **sizes)

    @classmethod
    def from_file(cls, path: str | Path) -> ModelSpec:
        return cls.from_config(read_config(path))


def _stated(config: object) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(model type, the part of a config that describes the text model, its sizes as far as stated). Raises
    `Problem`."""
    if not isinstance(config, dict):
        raise Problem("model.not_object", field="config.json", value=type(config).__name__)
    model_type = config.get("model_type")
    if "peft_type" in config or "base_model_name_or_path" in config and not model_type:
        raise adapter_problem(config)
    if not isinstance(model_type, str) or not model_type:
        raise Problem("model.missing_key", field="config.json", key="model_type")
    text = _text_part(config)
    sizes = {name: _size(text, name) for name in _SPELLINGS}
    return model_type, text, sizes


def adapter_problem(config: dict[str, Any]) -> Problem:
    """What is said of an adapter_config.json in the place of a model's: the model it belongs to."""
    base = config.get("base_model_name_or_path")
    known = isinstance(base, str) and bool(base.strip())
    return Problem(
        "model.is_adapter" if known else "model.is_adapter_alone",
        field="model",
        value=_short(config.get("peft_type")),
        base=str(base)[:120],
    )


def check_sizes(config: object) -> str:
    """The model type of a config whose sizes are sane, as far as it states them: enough to count, not to estimate.

    Looser than `ModelSpec`, which the memory law reads: state space models have no heads, composed configs keep sizes
    in parts of their own. Raises `Problem` for a size that is none or that is meant to exhaust memory.
    """
    model_type, text, sizes = _stated(config)
    for name in ("hidden_size", "num_hidden_layers"):
        if sizes[name] is None and any(spelling in text for spelling in _SPELLINGS[name]):
            raise Problem("model.missing_key", field="config.json", key=" / ".join(_SPELLINGS[name]))
    _check_together(sizes)
    return model_type


def read_config(path: str | Path) -> dict[str, Any]:
    """The JSON object in `path`, a config.json or the folder that holds one."""
    file = Path(path)
    if file.is_dir():
        file = file / "config.json"
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        adapter = file.with_name(ADAPTER_CONFIG)
        if adapter != file and adapter.is_file():
            raise adapter_problem(read_config(adapter)) from None
        raise Problem("model.no_config", field="model", value=str(path)) from None
    except OSError as error:
        raise Problem(
            "model.unreadable", field="model", value=str(path), reason=error.strerror or type(error).__name__
        ) from None
    return parse_config(content, file.name)


def parse_config(content: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `content`, the bytes of a config.json that `name` tells apart. Raises `Problem`
    (`model.*`)."""
    if len(content) > MAX_CONFIG_BYTES:
        raise Problem("model.config_too_large", field="model", value=name, allowed=f"{MAX_CONFIG_BYTES:,} bytes")
    try:
        config = whole(json.loads(content, object_pairs_hook=_object))
    except (ValueError, RecursionError) as error:
        raise Problem("model.bad_json", field="model", value=name, reason=str(error)[:200]) from None
    if not isinstance(config, dict):
        raise Problem("model.not_object", field="config.json", value=type(config).__name__)
    if is_deeper(config, MAX_CONFIG_DEPTH):  # all that walks through it later is recursive, json.dumps included
        raise Problem("model.bad_json", field="model", value=name, reason=f"nested more than {MAX_CONFIG_DEPTH} deep")
    return config


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises `ValueError` for a key that stands twice and says two things; parsers take one or the other."""
    made = dict(pairs)
    if len(made) < len(pairs):
        for key, value in pairs:
            if repr(made[key]) != repr(value):
                raise ValueError(f"the key {key[:60]!r} stands twice, with {_short(value)} and {_short(made[key])}")
    return made


def without_code(config: dict[str, Any]) -> dict[str, Any]:
    """A copy for Transformers to build from: what asks for code or kernels is gone, at every depth."""
    return {key: _without_code(value) for key, value in config.items() if key not in IGNORED_KEYS}


def _without_code(value: object) -> Any:
    if isinstance(value, dict):
        return without_code(value)
    return [_without_code(item) for item in value] if isinstance(value, list) else value


def is_deeper(value: object, levels: int) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(is_deeper(child, levels - 1) for child in children)


def entries(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values of a config and of the configs inside it."""
    for key, value in config.items():
        yield key, value
        if isinstance(value, dict):
            yield from entries(value)


def _ignored(config: dict[str, Any]) -> tuple[str, ...]:
    asked = {key for key, value in entries(config) if value and key in SAID_KEYS}
    kernels = {key for key, value in entries(config) if key in _IMPLEMENTATIONS and "/" in str(value)}
    return tuple(key for key in SAID_KEYS + _IMPLEMENTATIONS if key in asked | kernels)


def _check_repeats(config: dict[str, Any]) -> None:
    """Counts of layers that the required sizes leave out: a vision tower's depth, a decoder's layers."""
    for key, value in entries(config):
        numbers = value if isinstance(value, list) else [value]
        if _REPEATS.search(key) and any(isinstance(n, (int, float)) and n > MAX_REPEATS for n in numbers):
            raise Problem(
                "model.bad_value", field="config.json", key=key, value=_short(value), allowed=f"up to {MAX_REPEATS:,}"
            )


def _short(value: object) -> str:
    return str(value)[:60]


def _text_part(config: dict[str, Any]) -> dict[str, Any]:
    """The language model's part of a composed config."""
    parts = (config.get(key) for key in ("text_config", "language_config", "llm_config", "thinker_config"))
    return next((part for part in parts if isinstance(part, dict)), config)


def _size(config: dict[str, Any], name: str) -> int | None:
    """A positive whole number under any of the known spellings; `Problem` for anything else than a size."""
    for key in _SPELLINGS.get(name, (name,)):
        value = config.get(key)
        if value is None:
            continue
        if isinstance(value, list) and value and len(set(map(repr, value))) == 1:
            value = value[0]
        if isinstance(value, list):
            value = max((v for v in value if isinstance(v, int)), default=value)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or value != int(value)
        ):
            raise Problem(
                "model.bad_value", field="config.json", key=key, value=_short(value), allowed="a whole number"
            )
        if name in ("num_experts", "num_experts_per_tok") and value == 0:
            return None
        if not 1 <= value <= _LIMITS[name]:
            allowed = f"1 to {_LIMITS[name]:,}"
            raise Problem("model.bad_value", field="config.json", key=key, value=f"{int(value):,}", allowed=allowed)
        return int(value)
    return None


def _context(text: dict[str, Any], stated: int | None) -> int | None:
    """Tokens that the positions were made for: what is stated, or the original context times its scaling where that is
    more (Qwen's YaRN leaves `max_position_embeddings` as it was; Llama 3.1 states the scaled one)."""
    scaling = text.get("rope_scaling") or text.get("rope_parameters")
    if not isinstance(scaling, dict):
        return stated
    original, factor = scaling.get("original_max_position_embeddings"), scaling.get("factor")
    if not is_number(original) or not is_number(factor):
        return stated
    scaled = original * factor
    return max(stated or 0, int(scaled)) if 1 <= scaled <= _LIMITS["max_position_embeddings"] else stated


def _complete(text: dict[str, Any], sizes: dict[str, int | None]) -> None:
    """Fill what Transformers derives itself: heads without grouping, head_dim = hidden / heads, GPT-2's 4 x hidden."""
    heads, hidden = sizes["num_attention_heads"], sizes["hidden_size"]
    assert heads is not None and hidden is not None  # _REQUIRED
    if sizes["num_key_value_heads"] is None:
        sizes["num_key_value_heads"] = 1 if text.get("multi_query") is True else heads
    rope = _size(text, "qk_rope_head_dim") if sizes["head_dim"] is None else None
    if rope:  # latent attention: queries carry both parts
        sizes["head_dim"] = rope + (_size(text, "qk_nope_head_dim") or 0)
    if sizes["head_dim"] is None:
        if hidden % heads:
            raise _contradiction(
                "hidden_size", hidden, f"num_attention_heads {heads}", "a multiple of it, or a head_dim"
            )
        sizes["head_dim"] = hidden // heads


def _contradiction(key: str, value: int, other: str, allowed: str) -> Problem:
    return Problem("model.contradiction", field="config.json", key=key, value=value, other=other, allowed=allowed)


def _check_together(sizes: dict[str, int | None]) -> None:
    heads, groups = sizes["num_attention_heads"], sizes["num_key_value_heads"]
    if groups and heads and (groups > heads or heads % groups):
        raise _contradiction("num_key_value_heads", groups, f"num_attention_heads {heads}", "a divisor of it")
    experts, chosen = sizes["num_experts"], sizes["num_experts_per_tok"]
    if experts and chosen and chosen > experts:
        raise _contradiction("num_experts_per_tok", chosen, f"num_experts {experts}", "at most as many")
    width = max(filter(None, (sizes["intermediate_size"], sizes["moe_intermediate_size"], sizes["hidden_size"], 1)))
    layers, hidden, vocabulary = (sizes[name] or 1 for name in ("num_hidden_layers", "hidden_size", "vocab_size"))
    least = layers * hidden * width + vocabulary * hidden
    if least > MAX_PARAMETERS:
        raise Problem("model.too_large", field="config.json", value=f"{least:,}", allowed=f"{MAX_PARAMETERS:,}")
