"""Shard arithmetic: the tensors of a run in the units they are gathered in, and what a rank holds of each. No torch.

Restates torch's `fully_shard` and DTensor (torch 2.13, torch/distributed/fsdp/_fully_shard/_fsdp_param.py) and
DeepSpeed's flat groups (deepspeed/runtime/zero/stage_1_and_2.py, stage3.py); compared with real shards in
tests/estimator/test_parallel.py.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from estimator.adapters.adapters import Named, Shape, Trainables
from estimator.core.units import width_bytes
from estimator.law.layer_bytes import adapter_dtype
from estimator.memory.states import is_packed, parameter_dtype, quantized_parts
from estimator.model.inventory import Inventory, Module, Parameter
from estimator.recipe.loop import Loop
from estimator.recipe.recipe import Recipe

EMBEDDING, TAIL = "embedding", "tail"
"""Units that are no layer: the input embedding, and the final norm with the head (all else that is in no layer goes
with it)."""
NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Trainer.get_decay_parameter_names: what goes into the optimizer's second group, beside every nn.LayerNorm."""


@dataclass(frozen=True)
class Tensor:
    """Equal tensors of a run: how many stand in each unit (a layer's name, EMBEDDING or TAIL).

    `state_bytes` is what bitsandbytes keeps beside a packed weight, which is no parameter and is never sharded;
    `is_new` marks what PEFT adds. `name` is the first one's.
    """

    name: str
    shape: Shape
    dtype: str
    trains: bool
    is_new: bool
    units: tuple[tuple[str, int], ...]
    state_bytes: int = 0
    is_buffer: bool = False
    is_packed: bool = False

    @functools.cached_property
    def count(self) -> int:
        return sum(count for _, count in self.units)

    @functools.cached_property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * width_bytes(self.dtype)

    @property
    def decays(self) -> bool:
        return not NO_DECAY.search(self.name.lower())


def padded(shape: Shape, ranks: int, dim: int = 0) -> Shape:
    """A rank's share of a tensor cut along `dim`, padded to the first rank's: what `fully_shard` stores on every
    rank."""
    return (*shape[:dim], -(-shape[dim] // ranks), *shape[dim + 1 :])


def local(shape: Shape, ranks: int, rank: int, dim: int = 0) -> Shape:
    """A rank's own rows without padding (torch.chunk): what DTensor's local tensor shows, and optimizers make states
    for."""
    rows = -(-shape[dim] // ranks)
    return (*shape[:dim], max(0, min(rows, shape[dim] - rank * rows)), *shape[dim + 1 :])


def tensors(recipe: Recipe, inventory: Inventory, trained: Trainables, loop: Loop) -> tuple[Tensor, ...]:
    """Every parameter and buffer of the run. Their bytes sum to `states.base_weights` and `states.training_bytes`."""
    return (*_base(recipe, inventory, trained, loop), *_new(recipe, inventory, trained, loop))


def _base(recipe: Recipe, inventory: Inventory, trained: Trainables, loop: Loop) -> Iterator[Tensor]:
    own = {name for name, _ in trained.own} if recipe.has_adapters else None
    for group in inventory.groups:
        packed = tuple(n for n in group.names if recipe.is_quantized and is_packed(group, n, inventory))
        dtype = parameter_dtype(group, recipe.dtype, recipe.is_quantized, loop.upcasts)
        for parameter in group.parameters:
            if parameter.tied is not None:
                continue
            names = group.names
            if packed and parameter.name == "weight":
                yield _packed(recipe, inventory, group, parameter, packed)
                names = tuple(name for name in names if name not in packed)
            trains = set(names if own is None else (n for n in names if own and f"{n}.{parameter.name}" in own))
            for part, on in (
                (tuple(n for n in names if n in trains), True),
                (tuple(n for n in names if n not in trains), False),
            ):
                if part:
                    yield Tensor(
                        f"{part[0]}.{parameter.name}", parameter.shape, dtype, on, False, _units(inventory, part)
                    )
    if inventory.buffer_bytes:
        yield Tensor("buffers", (inventory.buffer_bytes,), "uint8", False, False, ((TAIL, 1),), is_buffer=True)


def _packed(
    recipe: Recipe, inventory: Inventory, group: Module, parameter: Parameter, names: tuple[str, ...]
) -> Tensor:
    """A quantized weight: one column of `bnb_4bit_quant_storage`; int8 keeps its shape."""
    first, *state = quantized_parts(parameter.shape, recipe.quantization, recipe.bnb_4bit_use_double_quant, group.kind)
    storage = "int8" if recipe.quantization == "int8" else recipe.bnb_4bit_quant_storage
    shape = parameter.shape if storage == "int8" else (first // width_bytes(storage), 1)
    return Tensor(
        f"{names[0]}.weight", shape, storage, False, False, _units(inventory, names), sum(state), is_packed=True
    )


def _new(recipe: Recipe, inventory: Inventory, trained: Trainables, loop: Loop) -> Iterator[Tensor]:
    """What PEFT adds, in the types of `states.training_bytes`."""
    small, kept = adapter_dtype(recipe, loop), "float32" if recipe.autocast_adapter_dtype else recipe.dtype
    for group in trained.adapters:
        units = _units(inventory, group.names)
        for part, shape in group.parts.items():
            trains = part in group.trained
            yield Tensor(f"{group.names[0]}.{part}", shape, small if trains else kept, trains, True, units)
        if group.dora:
            yield Tensor(f"{group.names[0]}.lora_magnitude_vector", group.dora, kept, True, True, units)
    own_dtype = small if recipe.is_quantized else recipe.dtype
    yield from _named(inventory, trained.copied, own_dtype)
    yield from _named(inventory, trained.rows, small)
    for tensor in _named(inventory, trained.rows, kept):  # `trainable_tokens_original`, a buffer
        yield Tensor(tensor.name, tensor.shape, kept, False, True, tensor.units, is_buffer=True)


def _named(inventory: Inventory, named: Named, dtype: str) -> Iterator[Tensor]:
    return (Tensor(name, shape, dtype, True, True, _units(inventory, (name,))) for name, shape in named)


@functools.lru_cache(maxsize=4096)
def _units(inventory: Inventory, names: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """How many of `names` stand in each unit, in the model's order."""
    return tuple(Counter(_unit(inventory, name) for name in names).items())


def _unit(inventory: Inventory, name: str) -> str:
    """The layer a module stands in, by the first number of its name; Accelerate gives the embedding and the tail units
    of their own (utils/fsdp_utils.py fsdp2_prepare_model), with a tied embedding in the tail."""
    if found := re.match(r"(.*?\.\d+)(?:\.|$)", name):
        return found[1]
    embedding = inventory.input_embedding or ""
    return EMBEDDING if embedding and name.startswith(embedding) and not inventory.is_tied else TAIL


def flat_numel(numbers: list[int], ranks: int, alignment: int) -> int:
    """Elements of one flattened group: `flatten_dense_tensors_aligned` pads the whole to ranks x alignment."""
    multiple = ranks * alignment
    return -(-sum(numbers) // multiple) * multiple
