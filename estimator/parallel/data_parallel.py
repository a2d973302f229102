"""DDP and FSDP2: every device runs the same step on rows of its own. Bytes a rank holds, adds and sends.

DDP: torch/csrc/distributed/c10d/reducer.cpp. FSDP2: torch/distributed/fsdp/_fully_shard (torch 2.13) as Accelerate 1.15
wraps a model (utils/fsdp_utils.py fsdp2_prepare_model).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from estimator.core.problems import Problem
from estimator.core.same import Same
from estimator.core.units import width_bytes
from estimator.memory.allocator import CachingAllocator
from estimator.memory.states import optimizer_bytes, temporary_of_all
from estimator.parallel.plan import BACKWARD, HALF, MOMENTS, ParallelPlan, RankBytes, Sharded, ring
from estimator.parallel.sharding import EMBEDDING, TAIL, Tensor, local, padded, tensors
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe


def ddp(recipe: Recipe, parts: Any, loop_name: str, device: str) -> Sharded:
    """Everything whole on every device. The reducer's buckets are one more copy of the gradients from the first step
    on, whatever their size, unless the gradients are views into them."""
    t, base = parts.training, parts.base
    view = recipe.ddp_gradient_as_bucket_view
    weights = base.weights_bytes + parts.rounding_bytes
    rank = RankBytes(
        weights,
        base.quantization_state_bytes,
        t.adapters_bytes,
        t.gradients_bytes,
        t.optimizer_states_bytes,
        paged_bytes=t.paged_bytes,
    )
    sent = {"all_reduce": ring(t.gradients_bytes, recipe.num_processes, 2)}
    return Sharded(
        parts.law,
        rank,
        t.step_temporary_bytes,
        {} if view else dict.fromkeys(MOMENTS, t.gradients_bytes),
        data_plan(recipe, rank, sent),
        gradient_share=None if view else 1.0,
    )


def data_plan(recipe: Recipe, rank: RankBytes, sent: dict[str, int], saving: tuple[int, int] = (0, 0)) -> ParallelPlan:
    return ParallelPlan(
        recipe.distributed_type, recipe.num_processes, 0, rank.host_bytes, rank.disk_bytes, sent, *saving, 0
    )


def all_tensors(recipe: Recipe, parts: Any, loop_name: str) -> tuple[Tensor, ...]:
    return tensors(recipe, parts.model.inventory, parts.trained, LOOPS[loop_name])


def by_unit(all: Iterable[Tensor], size: Callable[[Tensor], int]) -> dict[str, int]:
    """Bytes of each unit: a layer, the embedding, the tail."""
    alike: dict[tuple[tuple[str, int], ...], int] = {}  # most tensors stand in all layers
    for tensor in all:
        alike[tensor.units] = alike.get(tensor.units, 0) + size(tensor)
    units = {EMBEDDING: 0, TAIL: 0}
    for standing, each in alike.items():
        for unit, count in standing:
            units[unit] = units.get(unit, 0) + count * each
    return units


def largest_layer(units: dict[str, int]) -> int:
    return max((size for unit, size in units.items() if unit not in (EMBEDDING, TAIL)), default=0)


@dataclass(frozen=True)
class Fsdp:
    """How FSDP2 stores and gathers one recipe's tensors."""

    recipe: Recipe
    all: tuple[Tensor, ...]

    @property
    def ranks(self) -> int:
        return self.recipe.num_processes

    def stored(self, tensor: Tensor) -> str:
        """Accelerate makes what trains fp32 under mixed precision, unless a weight is packed."""
        upcasts = self.recipe.mixed_precision != "no" and not self.recipe.is_quantized
        return "float32" if upcasts and tensor.trains else tensor.dtype

    def gathered(self, tensor: Tensor) -> str:
        """MixedPrecisionPolicy.param_dtype casts what is of another floating type."""
        return HALF.get(self.recipe.mixed_precision, tensor.dtype)

    def is_cut(self, tensor: Tensor) -> bool:
        """Buffers stay whole, and so do packed weights that are no floating type (Accelerate's `ignored_params`)."""
        return not tensor.is_buffer and not (tensor.is_packed and tensor.dtype == "uint8")

    def whole_bytes(self, tensor: Tensor) -> int:
        return (
            self.ranks * math.prod(padded(tensor.shape, self.ranks)) * width_bytes(self.gathered(tensor))
            if self.is_cut(tensor)
            else 0
        )

    def rank(self, rank: int, device: str) -> RankBytes:
        """What `rank` holds. Shards are stored padded; states are made for its own rows."""
        n, optim = self.ranks, self.recipe.optim
        offloads = self.recipe.offload_param_device == "cpu"
        sizes = {
            "weights": 0,
            "quantization_state": 0,
            "adapters": 0,
            "gradients": 0,
            "optimizer_states": 0,
            "host_bytes": 0,
        }
        for tensor in self.all:
            cut, width = self.is_cut(tensor), width_bytes(self.stored(tensor))
            size = tensor.count * math.prod(padded(tensor.shape, n) if cut else tensor.shape) * width
            place = "adapters" if tensor.is_new else "weights"
            sizes["host_bytes" if offloads and cut else place] += size
            sizes["quantization_state"] += tensor.count * tensor.state_bytes
            if tensor.trains:
                states = tensor.count * sum(
                    optimizer_bytes(
                        optim, local(tensor.shape, n, rank), self.stored(tensor), "cpu" if offloads else device
                    )
                )
                sizes["host_bytes" if offloads else "gradients"] += size
                sizes["host_bytes" if offloads else "optimizer_states"] += states
        return RankBytes(**sizes)


def fsdp(recipe: Recipe, parts: Any, loop_name: str, device: str) -> Sharded:
    """FSDP2. A unit at work holds its gathered tensors, and the flat buffer they are copied out of (of the next unit,
    in the backward pass, where it is gathered ahead); gradients pass through a whole unit's buffer."""
    of = Same(recipe), Same(parts.model.inventory), Same(parts.trained)
    made, rank, units, trained, gathering = _cut(*of, loop_name, device)
    n = recipe.num_processes
    layer, tail, everything = largest_layer(units), units[TAIL], sum(units.values())
    offloads = recipe.offload_param_device == "cpu"
    onto = layer // n if offloads else 0  # the layer's own shard, copied to the device before it is gathered
    moving = 2 * largest_layer(trained)  # a layer's gradients, and the one before in the reduce-scatter's buffer
    if recipe.fsdp_reshard_after_forward:
        added = {"forward": 2 * layer, "loss": tail + max(tail, layer) + trained[TAIL]}
        added |= dict.fromkeys(BACKWARD, 2 * layer + moving)
        buffers = {"forward": layer, "loss": max(tail, layer)} | dict.fromkeys(BACKWARD, layer)
    else:
        added = {"forward": everything + layer, "loss": everything + trained[TAIL]}
        added |= {"last_layer_backward": everything + moving, "first_layer_backward": layer + moving}
        buffers = {"forward": layer}
    whole = sum(trained.values())
    # Trainer's no_sync leaves gradients whole until the last pass of an accumulation (set_requires_gradient_sync)
    accumulated = whole if recipe.gradient_accumulation_steps > 1 else None
    step = rank.gradients if temporary_of_all(recipe.optim) and not offloads else 0
    again = sum(units.values()) - tail - (0 if trained[EMBEDDING] else units[EMBEDDING])
    gathers = recipe.gradient_accumulation_steps * (everything + (again if recipe.fsdp_reshard_after_forward else 0))
    sent = {"all_gather": ring(gathers, n), "reduce_scatter": ring(whole, n)}
    kept = [t for t in made.all if not t.is_buffer]
    full = [t.numel * width_bytes(made.stored(t)) for t in kept]
    return Sharded(
        parts.law,
        rank,
        step,
        {moment: size + onto for moment, size in added.items()},
        data_plan(recipe, rank, sent, (max(full), sum(t.count * size for t, size in zip(kept, full)))),
        gradient_share=rank.gradients / max(1, parts.training.gradients_bytes),
        backward_gradients_bytes=accumulated,
        gathering_bytes=gathering,
        gathering_added=buffers,
        loading_bytes=arriving(recipe, made),
        notes=_uncut(recipe, made),
    )


@functools.lru_cache(maxsize=32)
def _cut(
    recipe: Same, inventory: Same, trained: Same, loop_name: str, device: str
) -> tuple[Fsdp, RankBytes, dict[str, int], dict[str, int], int]:
    """(the tensors, what the first rank holds, bytes of each unit and of what trains of it, what gathering reserves):
    the same whatever kernels a card has, and a ranking asks for each kind."""
    made = Fsdp(recipe.value, tensors(recipe.value, inventory.value, trained.value, LOOPS[loop_name]))
    units = by_unit(made.all, made.whole_bytes)
    trains = by_unit((t for t in made.all if t.trains), made.whole_bytes)
    return made, made.rank(0, device), units, trains, _gathering(made, units)


def _gathering(made: Fsdp, units: dict[str, int]) -> int:
    """What the stream of the gathered buffers reserves in a forward pass: each is made while the one before is still
    there (`FSDPParamGroup.wait_for_unshard`), with a copy of the rank's part where that is stored in another type. The
    backward pass has one at a time."""
    casts = by_unit((t for t in made.all if made.is_cut(t) and made.stored(t) != made.gathered(t)), made.whole_bytes)
    allocator, before = CachingAllocator(), None
    for unit in (EMBEDDING, *(name for name in units if name not in (EMBEDDING, TAIL)), TAIL):
        allocator.allocate("part", casts.get(unit, 0) // made.ranks)
        allocator.allocate(unit, units[unit])
        allocator.free("part")
        if before:
            allocator.free(before)
        before = unit
    return allocator.peak_reserved_bytes


def arriving(recipe: Recipe, made: Fsdp) -> int:
    """Accelerate sends tensor after tensor; packed weights come with their whole unit (`fully_shard`'s
    `_move_states_to_device`)."""
    sizes = by_unit(made.all, lambda t: t.numel * width_bytes(made.stored(t)) if made.is_cut(t) else 0)
    return (
        max(sizes.values())
        if recipe.is_quantized
        else max((t.numel * width_bytes(made.stored(t)) for t in made.all if made.is_cut(t)), default=0)
    )


def _uncut(recipe: Recipe, made: Fsdp) -> tuple[Problem, ...]:
    if not any(tensor.is_packed and not made.is_cut(tensor) for tensor in made.all):
        return ()
    return (
        Problem(
            "parallel.not_cut",
            field="bnb_4bit_quant_storage",
            value=recipe.bnb_4bit_quant_storage,
            allowed=recipe.dtype,
        ),
    )
