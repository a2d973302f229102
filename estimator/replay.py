"""A run's first two steps through the CUDA caching allocator: what it counts as allocated, and what it reserves.

The stream is the program's own: loading (Transformers' warm-up block, then tensor by tensor, quantized on the device), the
adapters, a first step that leaves the optimizer's states behind, and the second step, which holds them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from estimator.allocator import FREE, CachingAllocator, Event, Replay
from estimator.recipe import Recipe
from estimator.inventory import Inventory, Parameter
from estimator.recorded import Events
from estimator.states import is_packed, optimizer_bytes, quantized_parts
from estimator.units import width_bytes

HALF_BYTES = 2


@dataclass(frozen=True)
class Static:
    """A tensor that outlives the step: bytes as kept, in parts; bytes it passes through on the device while loading."""

    parts_bytes: tuple[int, ...]
    loading_bytes: int
    trained: bool
    is_new: bool
    shape: tuple[int, ...]
    dtype: str


def base_statics(inventory: Inventory, dtype: str, quantization: str | None, double_quant: bool) -> list[Static]:
    """The base model's tensors from its inventory, layer after layer as they are loaded; needs no torch."""
    named = [(name, group) for group in inventory.groups for name in group.names]
    made = []
    for name, group in sorted(named, key=lambda pair: _layer_number(pair[0])):
        packed = quantization if is_packed(group, name, inventory) else None
        for parameter in group.parameters:
            if parameter.tied is None:
                made.append(_static(parameter, group.kind, dtype, packed if parameter.name == "weight" else None, double_quant))
    return made


def _static(parameter: Parameter, kind: str, dtype: str, quantization: str | None, double_quant: bool) -> Static:
    numel = math.prod(parameter.shape)
    if quantization is None:
        parts, loading = (numel * width_bytes(dtype),), 0
    else:
        parts, loading = quantized_parts(parameter.shape, quantization, double_quant, kind), numel * HALF_BYTES
    return Static(parts, loading, False, False, parameter.shape, dtype)


def _layer_number(name: str) -> int:
    """Embeddings come first, then the layers by number, then the head."""
    numbers = [int(part) for part in name.split(".") if part.isdigit()]
    return numbers[0] if numbers else -1 if "emb" in name or "wte" in name or "wpe" in name else 1_000_000


@functools.lru_cache(maxsize=256)
def block_rounding_bytes(inventory: Inventory, dtype: str, quantization: str | None, double_quant: bool) -> int:
    """What the allocator counts for the loaded base beyond its bytes: a block whose rest is under 1 MiB stays whole.

    The 20-25 MiB by which QLoRA runs of small models exceed the sum of their tensors (`make accuracy`).
    """
    kept = base_statics(inventory, dtype, quantization, double_quant)
    allocator = CachingAllocator()
    _play(allocator, _loading(kept))
    return allocator.allocated_bytes - sum(sum(static.parts_bytes) for static in kept)


def replay_run(recipe: Recipe, kept: list[Static], step: Events, workspace_bytes: int, *, step_temporary_bytes: int = 0, holds_outputs: bool = False, warm_up: bool = True, capacity_bytes: float = math.inf) -> Replay:
    """Two steps; the peaks are those of the second, as the reserved memory of the first stays. Raises `OutOfMemory`.

    `holds_outputs`: the loop's variable keeps the outputs of a step until the next one's take its name. `warm_up`: the
    weights were loaded to the device, not moved there.
    """
    allocator = CachingAllocator(capacity_bytes)
    _play(allocator, _loading(kept, warm_up))
    _play(allocator, _step(step, 1, workspace_bytes))
    _play(allocator, _states(recipe, kept))
    _play(allocator, (("optimizer", step_temporary_bytes), ("optimizer", FREE)))
    left = _left(step)
    held = [storage for storage in left if holds_outputs and step.component[storage] != "gradients"]
    _play(allocator, (((1, storage), FREE) for storage in left if storage not in held))
    allocator.reset_peaks()
    _play(allocator, _step(step, 2, 0, held))
    _play(allocator, (("optimizer", step_temporary_bytes), ("optimizer", FREE)))
    return allocator.stats()


def _play(allocator: CachingAllocator, events: Iterable[Event]) -> None:
    for storage, size_bytes in events:
        allocator.free(storage) if size_bytes == FREE else allocator.allocate(storage, size_bytes)


def _loading(kept: list[Static], warm_up: bool = True) -> Iterator[Event]:
    """transformers modeling_utils.caching_allocator_warmup, then each tensor; adapters follow."""
    if warm_up:
        yield "warm-up", sum(static.parts_bytes[0] for static in kept if not static.is_new)
        yield "warm-up", FREE
    for n, static in enumerate(kept):
        if static.loading_bytes:
            yield ("loading", n), static.loading_bytes
        for k, size in enumerate(static.parts_bytes):
            yield ("static", n, k), size
        if static.loading_bytes:
            yield ("loading", n), FREE


def _step(events: Events, number: int, workspace_bytes: int, before: Sequence[int] = ()) -> Iterator[Event]:
    """Forward, loss and backward. What the loop held of the step before goes when this one's outputs take its name."""
    if workspace_bytes:
        yield "forward workspace", workspace_bytes // 2
        yield "autograd workspace", workspace_bytes - workspace_bytes // 2
    for storage, delta, place in zip(events.storage, events.delta_bytes, events.place, strict=True):
        if place[0] == "backward":
            yield from (((number - 1, held), FREE) for held in before)
            before = ()
        yield (number, storage), (delta if delta > 0 else FREE)


def _left(events: Events) -> list[int]:
    """Storages alive at the end of the step."""
    live: dict[int, None] = {}
    for storage, delta in zip(events.storage, events.delta_bytes, strict=True):
        if delta > 0:
            live[storage] = None
        else:
            del live[storage]
    return list(live)


def _states(recipe: Recipe, kept: list[Static]) -> Iterator[Event]:
    for n, static in enumerate(kept):
        if static.trained:
            resident, _ = optimizer_bytes(recipe.optim, static.shape, static.dtype)
            for k in range(2):
                yield ("state", n, k), resident // 2
