"""Safetensors headers: the names, types and shapes of a checkpoint without its weights, and what can be counted from
them.

A file begins with 8 bytes, the length n of its header (little-endian), and n bytes of JSON: name -> dtype, shape,
offsets (safetensors README, "Format"). A header is a stranger's text: sizes, names and shapes are checked before
anything is made of them.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.model.inventory import Inventory, Module, Parameter, compress
from estimator.model.spec import MAX_PARAMETERS, ModelSpec

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""Of all files of a model together; safetensors itself refuses a longer one (MAX_HEADER_SIZE in safetensors'
tensor.rs)."""
MAX_TENSORS = 400_000
"""Kimi K2, 384 experts in each of 60 layers, has about 140,000 with their scales."""
MAX_SHARDS = 1_000

FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I8"})
"""Types that hold one parameter an element; int8 stands for 8-bit linear layers."""
# Not parameters: tables made at the start, and the scales of 8-bit weights.
_BUFFERS = frozenset(
    {"inv_freq", "position_ids", "token_type_ids", "masked_bias", "num_batches_tracked", "running_mean", "running_var",
     "relative_position_index", "attn_mask", "causal_mask",
     "weight_scale_inv", "weight_scale", "input_scale", "activation_scale", "k_scale", "v_scale", "SCB",
     "weight_format"}
)  # fmt: skip
_WEIGHT_SCALES = frozenset({"weight_scale_inv", "weight_scale", "SCB", "weight_format"})
_NAME = re.compile(r"[A-Za-z0-9_.:/\-]{1,512}", re.ASCII)
_SHARD = re.compile(r"(?P<prefix>.+?)-(?P<number>\d{1,6})-of-(?P<total>\d{1,6})\.safetensors")
_EMBEDDING = re.compile(r"embed|(^|_)(emb|wte|wpe)")
_HEAD = re.compile(r"^(lm_head|output_layer|embed_out|output|head|score|classifier)$")
_DECODER_LAYER = re.compile(r"(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d+)\.")
CLASS_NAME = "SafetensorsHeaders"
"""`Inventory.class_name` of what was counted from headers: no class of Transformers, so no law takes it for a dense
decoder."""


class BadHeader(ValueError):
    """What is wrong with a header, in a few words."""


@dataclass(frozen=True, eq=False)
class Stored:
    """What a checkpoint holds: its tensors as an inventory, and the types that pack several parameters into an
    element."""

    inventory: Inventory
    packed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"inventory": self.inventory.to_json(), "packed": list(self.packed)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Stored:
        return cls(Inventory.from_json(data["inventory"]), tuple(data["packed"]))


Tensors = dict[str, tuple[str, tuple[int, ...]]]
"""Name -> (dtype as safetensors spells it, shape)."""


def weight_files(names: Iterable[str]) -> tuple[str, ...]:
    """The safetensors files of one model among a folder's names: `model.safetensors`, else a whole set of shards.

    Some repositories hold the same weights twice (`consolidated.safetensors` beside shards): one copy is taken, by
    Transformers' own name first. Empty where no copy is whole.
    """
    files = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    if "model.safetensors" in files:
        return ("model.safetensors",)
    sets: dict[tuple[str, int], dict[int, str]] = {}
    for match in filter(None, map(_SHARD.fullmatch, files)):
        sets.setdefault((match["prefix"], int(match["total"])), {})[int(match["number"])] = match.string
    whole = [(prefix, shards) for (prefix, total), shards in sets.items() if len(shards) == total]
    if whole:
        prefix, shards = min(whole, key=lambda found: (not found[0].startswith("model"), found[0]))
        return tuple(shards[number] for number in sorted(shards))
    return tuple(files) if len(files) == 1 and not _SHARD.fullmatch(files[0]) else ()


def header_length(start: bytes) -> int:
    """Length of the header in bytes, from the first 8 bytes of a file. Raises `BadHeader`."""
    length = int.from_bytes(start, "little") if len(start) == LENGTH_BYTES else 0
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise BadHeader(f"its length is {length:,} bytes; allowed: 2 to {MAX_HEADER_BYTES:,}")
    return length


def parse_header(content: bytes) -> Tensors:
    """The tensors that one header names. Raises `BadHeader`."""
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError):
        raise BadHeader("not JSON") from None
    if not isinstance(entries, dict):
        raise BadHeader("not an object")
    return {name: _entry(name, entry) for name, entry in entries.items() if name != "__metadata__"}


def _entry(name: str, entry: object) -> tuple[str, tuple[int, ...]]:
    dtype, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
    if not _NAME.fullmatch(name):
        raise BadHeader(f"a tensor is called {name[:40]!r}")
    if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > 8:
        raise BadHeader(f"{name[:80]} has no dtype and shape")
    if any(isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_PARAMETERS for size in shape):
        raise BadHeader(f"{name[:80]} has the shape {str(shape)[:60]}")
    return dtype[:16], tuple(shape)


def read_folder(folder: Path) -> Tensors | None:
    """The tensors of a local checkpoint; None where the folder has no safetensors. Raises `BadHeader`."""
    files = [folder / name for name in weight_files(sorted(path.name for path in folder.glob("*.safetensors")))]
    return _read_files(tuple((str(file), file.stat().st_mtime_ns) for file in files)) if files else None


@functools.lru_cache(maxsize=16)
def _read_files(files: tuple[tuple[str, int], ...]) -> Tensors:
    """Kept by time of change: a page asks again at every repaint."""
    tensors: Tensors = {}
    left = MAX_HEADER_BYTES
    for name, _ in files:
        with open(name, "rb") as file:
            length = header_length(file.read(LENGTH_BYTES))
            left -= length
            if left < 0:
                raise BadHeader(f"more than {MAX_HEADER_BYTES:,} bytes of headers")
            tensors |= parse_header(file.read(length))
    return tensors


def stored(tensors: Mapping[str, tuple[str, tuple[int, ...]]], config: dict[str, Any]) -> Stored:
    """The inventory of a checkpoint, its kinds guessed from names and shapes. Raises `BadHeader` for absurd sizes.

    A linear layer is a 2-D `weight` that is no embedding; an embedding is known by its name, or by the vocabulary's
    size; a 1-D `weight` under a norm's name is a norm. Anything else counts, and takes no adapter. GPT-2's Conv1D
    cannot be told from a linear layer: its sides are exchanged, which changes no sum.
    """
    if len(tensors) > MAX_TENSORS:
        raise BadHeader(f"{len(tensors):,} tensors; allowed: up to {MAX_TENSORS:,}")
    parameters = {
        name: shape for name, (dtype, shape) in tensors.items() if dtype in FLOATS and not _is_buffer(name, shape)
    }
    total = sum(map(math.prod, parameters.values()))
    if not 0 < total <= MAX_PARAMETERS:
        raise BadHeader(f"{total:,} parameters; allowed: 1 to {MAX_PARAMETERS:,}")
    packed = {dtype for name, (dtype, shape) in tensors.items() if dtype not in FLOATS and _holds_weights(name, shape)}
    modules = _modules(parameters)
    embedding, head = _vocabulary_layers(modules, ModelSpec.from_config(config))
    inventory = Inventory(
        model_type=config["model_type"],
        class_name=CLASS_NAME,
        groups=compress([replace(m, kind="Embedding") if m.name == embedding else m for m in modules]),
        output_embedding=head,
        input_embedding=embedding,
        not_quantized=(head,) if head else (),
    )
    return Stored(inventory, tuple(sorted(packed)))


def _is_buffer(name: str, shape: tuple[int, ...]) -> bool:
    """Tables and scales, and the square masks of GPT-2 and GPT-NeoX, which are called `bias`."""
    is_mask = len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]
    return is_mask or name.rpartition(".")[2] in _BUFFERS or ".rotary_emb." in name


def is_table(name: str) -> bool:
    """Whether a tensor's name is that of a table a model makes itself or of a scale that only 8-bit kernels read; a
    weight's own scale is neither: without it the weight is noise."""
    return name.rpartition(".")[2] in _BUFFERS - _WEIGHT_SCALES or ".rotary_emb." in name


def _holds_weights(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor of whole numbers is a packed weight (GPTQ, AWQ, bitsandbytes, mxfp4), not an index or a mask."""
    return math.prod(shape) >= 4096 and not _is_buffer(name, shape)


def _modules(parameters: dict[str, tuple[int, ...]]) -> list[Module]:
    owned: dict[str, list[Parameter]] = {}
    for name, shape in parameters.items():
        module, _, short = name.rpartition(".")
        owned.setdefault(module or short, []).append(Parameter(short, shape))
    return [Module(name, _kind(name, made), tuple(made)) for name, made in owned.items()]


def _kind(name: str, parameters: list[Parameter]) -> str:
    leaf = name.rpartition(".")[2]
    weight = next((p for p in parameters if p.name == "weight"), None)
    if weight is None or len(weight.shape) not in (1, 2):
        return "Other"
    if len(weight.shape) == 1:
        return "Norm" if re.search(r"norm|ln", leaf) else "Other"
    return "Embedding" if _EMBEDDING.search(leaf) and not _HEAD.match(leaf) else "Linear"


def _vocabulary_layers(modules: list[Module], spec: ModelSpec) -> tuple[str | None, str | None]:
    """(input embedding, head): the layers as tall as the vocabulary, by name where a name tells, else by order."""
    tall = [m for m in modules if m.kind in ("Embedding", "Linear") and m.shape("weight")[0] >= spec.vocab_size]
    head = next((m.name for m in tall if _HEAD.match(m.name.rpartition(".")[2])), None)
    embedding = next((m.name for m in tall if m.kind == "Embedding"), None)
    rest = [m.name for m in tall if m.name not in (head, embedding) and m.kind == "Linear"]
    if embedding is None and rest:
        embedding = rest.pop(0)
    return embedding, head or (rest[0] if rest else None)


def cross_check(name: str, held: Stored, built: Inventory, spec: ModelSpec) -> tuple[Problem, ...]:
    """Warnings where the checkpoint `held` counts otherwise than what Transformers builds; empty where they agree.

    A tied tensor counts once, stored twice or not. Layers for multi-token prediction are stored by some models and
    built by none; they are told apart. A checkpoint with packed weights says nothing of its count, so nothing is said.
    """
    if held.packed:
        return ()
    total = held.inventory.total_parameters - _stored_twice(held.inventory, built)
    counted = built.total_parameters
    if total == counted:
        return ()
    extra = _prediction_layers(held.inventory, spec.num_hidden_layers)
    words = {"field": "model", "value": name, "stored": f"{total:,}", "counted": f"{counted:,}"}
    if extra and total - extra == counted:
        return (Problem("model.prediction_layers", extra=f"{extra:,}", **words),)
    return (Problem("model.stored_differs", **words),)


def _stored_twice(held: Inventory, built: Inventory) -> int:
    """Parameters of tied tensors that the checkpoint holds beside the tensor they are tied to.

    By name; and for the head by its shape too, since Transformers renames some modules on loading.
    """
    names = {f"{name}.{p.name}" for g in held.groups for name in g.names for p in g.parameters}
    tied = {f"{name}.{p.name}": p for g in built.groups for p in g.parameters if p.tied for name in g.names}
    twice = sum(p.numel for name, p in tied.items() if name in names and p.tied in names)
    ends = (held.by_name.get(name or "") for name in (held.output_embedding, held.input_embedding))
    head, embedding = (module.parameter("weight") if module else None for module in ends)
    return head.numel if not twice and built.is_tied and head is not None and head == embedding else twice


def _prediction_layers(held: Inventory, layers: int) -> int:
    """Parameters of layers for multi-token prediction."""
    return sum(
        p.numel for g in held.groups for name in g.names if is_prediction_layer(name, layers) for p in g.parameters
    )


def is_prediction_layer(name: str, layers: int) -> bool:
    """Whether a tensor lies under `mtp.` or in a decoder layer beyond the last of `layers` that the config states
    (DeepSeek-V3, GLM-4.5)."""
    layer = _DECODER_LAYER.match(name)
    return "mtp" in name.split(".") or bool(layer and int(layer[1]) >= layers)
