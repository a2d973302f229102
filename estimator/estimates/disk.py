"""What a run writes: checkpoints and the result, in bytes of files. No torch.

Weights are safetensors: 8 bytes, a JSON header padded to 8 bytes, the tensors (the format's own description; sizes are
equal to the byte in tests/estimator/test_peaks.py). Optimizer states are what `torch.save` packs; its zip and pickle
around them, the tokenizer, `trainer_state.json` and the states of random generators and schedule (a few hundred KB
together) are not counted.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass

from estimator.adapters.adapters import Trainables
from estimator.core.units import width_bytes
from estimator.estimates.parts import Parts
from estimator.memory.load_events import base_statics
from estimator.memory.states import stored_dtype
from estimator.model.inventory import Inventory
from estimator.recipe.recipe import Recipe

SAFETENSORS_TYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "int8": "I8", "uint8": "U8"}
PREFIX = "base_model.model."
"""What PEFT's wrapper puts before the names of its tensors."""
MAX_SHARD_BYTES = 50 * 10**9
"""transformers modeling_utils.py `save_pretrained(max_shard_size="50GB")`."""
STEP_BYTES = 4
"""torch's and bitsandbytes' count of steps, one for each trained tensor; saved, though it lies on the host."""

Tensor = tuple[str, tuple[int, ...], str]
"""(name, shape, dtype) of one tensor of a file."""


@dataclass(frozen=True)
class Disk:
    """Bytes of files. `total_bytes`: `save_total_limit` checkpoints, the one being written before the oldest goes, the
    result."""

    weights_bytes: int
    """The adapter, or the whole model under method full."""
    checkpoint_bytes: int
    """Weights and optimizer states."""
    total_bytes: int


def disk_of(recipe: Recipe, parts: Parts) -> Disk:
    if recipe.has_adapters:
        whole = tuple(_saved_whole(parts, recipe.dtype))
        weights = _adapter_bytes(parts.trained, parts.adapter_dtype, recipe.dtype, recipe.is_quantized, whole)
    else:
        weights = model_bytes(parts.model.inventory, recipe.dtype)
    states = parts.training.optimizer_states_bytes + parts.training.paged_bytes
    checkpoint = weights + states + (STEP_BYTES * _count(parts.trained) if states else 0)
    return Disk(weights, checkpoint, checkpoint * (recipe.save_total_limit + 1 if recipe.save_steps else 0) + weights)


def _count(trained: Trainables) -> int:
    parts = (trained.lora, trained.magnitudes, trained.copies, trained.token_rows, trained.unfrozen)
    return sum(count for part in parts for _, count in part)


@functools.lru_cache(maxsize=64)
def _adapter_bytes(
    trained: Trainables, adapter_dtype: str, dtype: str, quantized: bool, whole: tuple[Tensor, ...]
) -> int:
    return safetensors_bytes([*_adapter_tensors(trained, adapter_dtype, adapter_dtype if quantized else dtype), *whole])


def _saved_whole(parts: Parts, dtype: str) -> Iterable[Tensor]:
    """Embeddings and a head that PEFT writes beside their adapters, in the type that they were loaded in."""
    for name, shape in parts.trained.saved_whole:
        group = parts.model.inventory.by_name[name.rpartition(".base_layer.")[0]]
        yield PREFIX + name, shape, stored_dtype(group, dtype)


def _adapter_tensors(trained: Trainables, adapter_dtype: str, own_dtype: str) -> Iterable[Tensor]:
    """Names as PEFT's `get_peft_model_state_dict` writes them: without the adapter's name and the wrappers of whole
    modules."""
    for group in trained.adapters:
        for part, shape in group.parts.items():
            end = part if part.startswith("lora_embedding") or part.endswith(".bias") else f"{part}.weight"
            yield from ((f"{PREFIX}{name}.{end}", shape, adapter_dtype) for name in group.names)
        if group.dora:
            yield from ((f"{PREFIX}{name}.lora_magnitude_vector", group.dora, "float32") for name in group.names)
    yield from ((PREFIX + name.replace(".modules_to_save", ""), shape, own_dtype) for name, shape in trained.copied)
    for name, shape in trained.own:  # biases of the model; those of adapted layers lie under PEFT's wrapper
        module, _, bias = name.rpartition(".")
        yield (f"{PREFIX}{module}.base_layer.{bias}" if module in trained.targets else PREFIX + name), shape, own_dtype
    yield from ((PREFIX + name, shape, adapter_dtype) for name, shape in trained.rows)


@functools.lru_cache(maxsize=256)
def model_bytes(inventory: Inventory, dtype: str) -> int:
    """The safetensors of the whole model in `dtype`, tied tensors once, in as many shards as Transformers makes."""
    tensors = [
        (f"{name}.{p.name}" if name else p.name, p.shape, "float32" if group.fp32 == "always" else dtype)
        for group in inventory.groups
        for name in group.names
        for p in group.parameters
        if p.tied is None
    ]
    return safetensors_bytes(tensors)


def stored_bytes(inventory: Inventory, dtype: str) -> int:
    """Bytes of the tensors alone, all in `dtype`: what of a checkpoint's files is mapped while it is loaded."""
    return inventory.total_parameters * width_bytes(dtype)


@functools.lru_cache(maxsize=256)
def largest_tensor_bytes(inventory: Inventory, dtype: str) -> int:
    return max(static.parts_bytes[0] for static in base_statics(inventory, dtype, None, False, "none"))


def safetensors_bytes(tensors: Iterable[Tensor]) -> int:
    """Size of one safetensors file that `save_pretrained` writes: wider types first, then by name."""
    end, header = 0, {"__metadata__": {"format": "pt"}}
    for name, shape, dtype in sorted(tensors, key=lambda tensor: (-width_bytes(tensor[2]), tensor[0])):
        size = width_bytes(dtype)
        for length in shape:
            size *= length
        header[name] = {"dtype": SAFETENSORS_TYPES[dtype], "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-text // 8) * 8 + end
