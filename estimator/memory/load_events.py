"""How the weights of a model come to the card: what the allocator holds when training begins. No torch.

Transformers' warm-up block, then tensor by tensor, packed on the device; casts; the adapters. Versions that read ahead
with threads while the weights are packed (`Loop.reads_ahead`) make it a race, of which a seed draws one course.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from estimator.core.units import width_bytes
from estimator.memory.allocator import FREE, CachingAllocator, Event, Replay
from estimator.memory.states import is_packed, quantized_parts, stored_dtype
from estimator.model.inventory import Inventory, Parameter
from estimator.recipe.loop import Loop

HALF_BYTES = 2
FULL_BYTES = 4
RACES = 25
"""Courses that are replayed where loading is a race (`_raced`)."""


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


def base_statics(
    inventory: Inventory, dtype: str, quantization: str | None, double_quant: bool, upcast: str
) -> list[Static]:
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


def _static(
    name: str, parameter: Parameter, kind: str, dtype: str, quantization: str | None, double_quant: bool, kept: str
) -> Static:
    numel = math.prod(parameter.shape)
    if quantization is None:
        parts: tuple[int, ...] = (numel * width_bytes(kept),)
        loaded = numel * width_bytes(dtype)
    else:
        parts, loaded = quantized_parts(parameter.shape, quantization, double_quant, kind), numel * HALF_BYTES
    return Static(name, parts, loaded, False, False, parameter.shape, kept)


@functools.lru_cache(maxsize=256)
def loading(
    inventory: Inventory, dtype: str, quantization: str | None, double_quant: bool, loop: Loop
) -> tuple[Replay, int]:
    """(what the allocator holds at most and in the end while the base is loaded, bytes of its tensors).

    Transformers asks for one block of the packed size first, then puts tensor after tensor on the device, and quantizes
    each there before the next is read (core_model_loading.py: with quantization on the fly no thread reads ahead).
    """
    kept = base_statics(inventory, dtype, quantization, double_quant, loop.upcasts)
    runs = []
    for seed in courses(loop, quantization is not None):
        allocator = CachingAllocator()
        load(allocator, kept, loop, quantization is not None, seed)
        runs.append(allocator.stats())
    return in_the_middle(runs), sum(sum(static.parts_bytes) for static in kept)


def courses(loop: Loop, quantized: bool) -> range:
    """Seeds of `load`: one, or several where it is a race."""
    return range(RACES if loop.reads_ahead and quantized else 1)


def in_the_middle(runs: list[Replay]) -> Replay:
    """Each figure as it is in the middle of the courses."""
    figures = {name: sorted(getattr(run, name) for run in runs) for name in Replay.__dataclass_fields__}
    return Replay(**{name: values[len(runs) // 2] for name, values in figures.items()})


def block_rounding_bytes(
    inventory: Inventory, dtype: str, quantization: str | None, double_quant: bool, loop: Loop
) -> int:
    """What the allocator counts for the loaded base beyond its bytes: a block whose rest is under 1 MiB stays whole.

    The 20-25 MiB by which QLoRA runs of small models exceed the sum of their tensors (`make accuracy`).
    """
    loaded, tensors_bytes = loading(inventory, dtype, quantization, double_quant, loop)
    return loaded.allocated_bytes - tensors_bytes


def play(allocator: CachingAllocator, events: Iterable[Event]) -> None:
    for storage, size_bytes in events:
        allocator.free(storage) if size_bytes == FREE else allocator.allocate(storage, size_bytes)


def load(allocator: CachingAllocator, kept: list[Static], loop: Loop, quantized: bool, seed: int = 0) -> None:
    """Weights straight to the card in the order of their names, or moved there module by module; casts; adapters, cast
    too.

    `seed` draws the course of a race (`_raced`)."""
    base, new = [static for static in kept if not static.is_new], [static for static in kept if static.is_new]
    if loop.loads_on_device or quantized:
        play(allocator, _warm_up(base))
        ordered = sorted(base, key=_name_key)
        threads = (
            loop.reads_ahead if quantized else 0
        )  # weights that are not packed stay where they are put: no matter when
        play(
            allocator,
            _raced(ordered, threads, random.Random(seed))
            if threads
            else (event for static in ordered for event in _loaded(static)),
        )
    else:
        play(allocator, (event for static in base for event in _loaded(static)))
    play(allocator, _casts(base))
    if quantized and loop.upcasts == "all" and loop.empties_cache:
        allocator.empty_cache()
    play(allocator, (event for static in new for event in _loaded(static)))
    play(allocator, _casts(new))


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


def _raced(ordered: list[Static], threads: int, chance: random.Random) -> Iterator[Event]:
    """Transformers 5.0 to 5.3, core_model_loading.py: `threads` copy weights to the device, each the next in the order
    of names, while the main thread waits for the first that is not packed yet and packs it, which takes no time beside
    a copy.

    How long a copy takes nobody records: in the mean as its bytes, of which the exponential draw supposes nothing more;
    those under way at once go on at one speed. So weights pile up in 16 bits behind a large one (the embedding, which
    comes first), and packed ones come to lie between them.
    """
    under_way: dict[int, float] = {}
    there: set[int] = set()
    started = packed = 0
    while packed < len(ordered):
        while started < len(ordered) and len(under_way) < threads:
            static = ordered[started]
            yield ("loaded", static.name), static.loaded_bytes
            under_way[started] = chance.expovariate(1) * static.loaded_bytes
            started += 1
        first = min(under_way, key=under_way.__getitem__)
        passed = under_way.pop(first)
        under_way = {number: left - passed for number, left in under_way.items()}
        there.add(first)
        while packed in there:
            static = ordered[packed]
            packed += 1
            if static.is_packed:
                yield from _packed(static)
                yield ("loaded", static.name), FREE


def _packed(static: Static) -> Iterator[Event]:
    """bitsandbytes functional.quantize_4bit: the scales in fp32 are made first, and go where they are quantized
    themselves."""
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
    """What is kept in another type than it was loaded in: `tensor.data = tensor.data.to(dtype)`, one after the
    other."""
    for static in statics:
        if not static.is_packed and static.parts_bytes[0] != static.loaded_bytes:
            yield ("static", static.name, 0), static.parts_bytes[0]
            yield ("loaded", static.name), FREE
