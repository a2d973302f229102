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
from estimator.law import Loop
from estimator.recorded import Events
from estimator.states import is_packed, optimizer_bytes, quantized_parts, stored_dtype
from estimator.units import width_bytes

HALF_BYTES = 2
FULL_BYTES = 4


@dataclass(frozen=True)
class Static:
    """A tensor that outlives the step: bytes as kept, in parts (`states.quantized_parts` where it is packed).

    `loaded_bytes` is what it takes as it comes to the device, before it is packed or cast. `is_new`: made by PEFT.
    """

    name: str
    parts_bytes: tuple[int, ...]
    loaded_bytes: int
    trained: bool
    is_new: bool
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_packed(self) -> bool:
        return len(self.parts_bytes) > 1


def base_statics(inventory: Inventory, dtype: str, quantization: str | None, double_quant: bool, upcast: str) -> list[Static]:
    """The base model's tensors from its inventory; needs no torch. `upcast`: `Loop.upcasts`."""
    made = []
    for group in inventory.groups:
        for name in group.names:
            packed = quantization if is_packed(group, name, inventory) else None
            raised = quantization and (upcast == "all" or (upcast == "norms" and group.kind == "Norm"))
            for parameter in group.parameters:
                if parameter.tied is None:
                    kept = stored_dtype(group, dtype)
                    how = (packed if parameter.name == "weight" else None, double_quant, "float32" if raised else kept)
                    made.append(_static(f"{name}.{parameter.name}", parameter, group.kind, kept, *how))
    return made


def _static(name: str, parameter: Parameter, kind: str, dtype: str, quantization: str | None, double_quant: bool, kept: str) -> Static:
    numel = math.prod(parameter.shape)
    if quantization is None:
        parts, loaded = (numel * width_bytes(kept),), numel * width_bytes(dtype)
    else:
        parts, loaded = quantized_parts(parameter.shape, quantization, double_quant, kind), numel * HALF_BYTES
    return Static(name, parts, loaded, False, False, parameter.shape, kept)


@functools.lru_cache(maxsize=256)
def loading(inventory: Inventory, dtype: str, quantization: str | None, double_quant: bool, loop: Loop) -> tuple[Replay, int]:
    """(what the allocator holds at most and in the end while the base is loaded, bytes of its tensors).

    Transformers asks for one block of the packed size first, then puts tensor after tensor on the device, and quantizes
    each there before the next is read (core_model_loading.py: with quantization on the fly no thread reads ahead).
    """
    kept = base_statics(inventory, dtype, quantization, double_quant, loop.upcasts)
    allocator = CachingAllocator()
    _load(allocator, kept, loop, quantization is not None)
    return allocator.stats(), sum(sum(static.parts_bytes) for static in kept)


def block_rounding_bytes(inventory: Inventory, dtype: str, quantization: str | None, double_quant: bool, loop: Loop) -> int:
    """What the allocator counts for the loaded base beyond its bytes: a block whose rest is under 1 MiB stays whole.

    The 20-25 MiB by which QLoRA runs of small models exceed the sum of their tensors (`make accuracy`).
    """
    loaded, tensors_bytes = loading(inventory, dtype, quantization, double_quant, loop)
    return loaded.allocated_bytes - tensors_bytes


def replay_run(recipe: Recipe, loop: Loop, kept: list[Static], step: Events, workspace_bytes: int, *, step_temporary_bytes: int = 0, capacity_bytes: float = math.inf) -> Replay:
    """Two steps; the peaks are those of the second, as the reserved memory of the first stays. Raises `OutOfMemory`.

    Outputs that the loop's variable holds (`Loop.keeps_outputs`) stay until the next step's take its name.
    """
    allocator = CachingAllocator(capacity_bytes)
    _load(allocator, kept, loop, recipe.is_quantized)
    temporaries = list(_step_temporaries(recipe, kept, step_temporary_bytes))
    _play(allocator, _step(step, 1, workspace_bytes))
    _play(allocator, _states(recipe, kept))
    _play(allocator, temporaries)
    left = _left(step)
    holds_outputs = loop.keeps_outputs and not loop.ends_with_step
    held = [storage for storage in left if holds_outputs and step.component[storage] != "gradients"]
    _play(allocator, (((1, storage), FREE) for storage in left if storage not in held))
    allocator.reset_peaks()
    _play(allocator, _step(step, 2, 0, held))
    _play(allocator, temporaries)
    return allocator.stats()


def _play(allocator: CachingAllocator, events: Iterable[Event]) -> None:
    for storage, size_bytes in events:
        allocator.free(storage) if size_bytes == FREE else allocator.allocate(storage, size_bytes)


def _load(allocator: CachingAllocator, kept: list[Static], loop: Loop, quantized: bool) -> None:
    """Weights straight to the card in the order of their names, or moved there module by module; casts; adapters, cast too."""
    base, new = [static for static in kept if not static.is_new], [static for static in kept if static.is_new]
    if loop.loads_on_device or quantized:
        _play(allocator, _warm_up(base))
        _play(allocator, (event for static in sorted(base, key=_name_key) for event in _loaded(static)))
    else:
        _play(allocator, (event for static in base for event in _loaded(static)))
    _play(allocator, _casts(base))
    if quantized and loop.upcasts == "all" and loop.empties_cache:
        allocator.empty_cache()
    _play(allocator, (event for static in new for event in _loaded(static)))
    _play(allocator, _casts(new))


def _warm_up(base: list[Static]) -> Iterator[Event]:
    """transformers modeling_utils.caching_allocator_warmup: one block for all weights, given back at once."""
    yield "warm-up", sum(static.parts_bytes[0] if static.is_packed else static.loaded_bytes for static in base)
    yield "warm-up", FREE


def _name_key(static: Static) -> list[tuple[int, int, str]]:
    """transformers core_model_loading.dot_natural_key: weights are loaded in the order of the checkpoint's names."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in static.name.split(".")]


def _loaded(static: Static) -> Iterator[Event]:
    """As loaded; packed on the device one by one (while that is done, Transformers loads without threads)."""
    yield ("loaded", static.name), static.loaded_bytes
    if static.is_packed:
        yield from _packed(static)
        yield ("loaded", static.name), FREE


def _packed(static: Static) -> Iterator[Event]:
    """bitsandbytes functional.quantize_4bit: the scales in fp32 are made first, and go where they are quantized themselves."""
    packed, scales, *rest = static.parts_bytes
    nested = len(rest) > 1
    if nested:
        yield ("scales", static.name), FULL_BYTES * scales
    for k, size in enumerate((packed, *rest[:2]) if nested else (scales, packed, *rest)):
        yield ("static", static.name, k), size
    if nested:
        yield ("centred", static.name), FULL_BYTES * scales
        for k, size in enumerate((*rest[2:], scales), start=3):
            yield ("static", static.name, k), size
        yield ("centred", static.name), FREE
        yield ("scales", static.name), FREE


def _casts(statics: list[Static]) -> Iterator[Event]:
    """What is kept in another type than it was loaded in: `tensor.data = tensor.data.to(dtype)`, one after the other."""
    for static in statics:
        if not static.is_packed and static.parts_bytes[0] != static.loaded_bytes:
            yield ("static", static.name, 0), static.parts_bytes[0]
            yield ("loaded", static.name), FREE


def _step(events: Events, number: int, workspace_bytes: int, before: Sequence[int] = ()) -> Iterator[Event]:
    """Forward, loss and backward, with the workspace that cuBLAS takes at each thread's first product.

    What the loop held of the step before goes when this one's outputs take its name.
    """
    if workspace_bytes:
        yield "forward workspace", workspace_bytes // 2
    forward = True
    for storage, delta, place in zip(events.storage, events.delta_bytes, events.place, strict=True):
        if forward and place[0] == "backward":
            forward = False
            yield from (((number - 1, held), FREE) for held in before)
            if workspace_bytes:
                yield "autograd workspace", workspace_bytes - workspace_bytes // 2
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


def _step_temporaries(recipe: Recipe, kept: list[Static], step_temporary_bytes: int) -> Iterator[Event]:
    """What the optimizer's step holds: torch's multi-tensor AdamW a tensor beside each trained one, others one at a time."""
    sizes = [static.parts_bytes[0] for static in kept if static.trained] if recipe.optim == "adamw_torch" else [step_temporary_bytes]
    yield from ((("temporary", n), size) for n, size in enumerate(sizes))
    yield from ((("temporary", n), FREE) for n in range(len(sizes)))
