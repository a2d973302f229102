"""A published program's memory under FSDP1, replayed: AnswerDotAI/fsdp_qlora's train.py of March 2024. For `make
accuracy`.

The estimator knows FSDP2. What differs in torch 2.2's torch/distributed/fsdp, and is derived here:

* Units are the decoder layers, each adapter's matrix, and the root: embedding, head and last norm. The root stays
  gathered from the
  forward pass to the end of the backward pass (`_post_forward_reshard` leaves it).
* Loading brings a unit's tensors to the card, broadcasts them in buckets, flattens them and clones its own part of them
  (`FlatParamHandle.shard`), one unit after another; what that leaves behind stays reserved. The program resets its
  peaks afterwards.
* Gathered weights are allocated on a stream of their own (`_unshard_stream`), and the caching allocator never hands a
  block of one stream
  to another: what the two reserve adds up. `limit_all_gathers` lets two layers be there at once.

The program drops its outputs after each step. Not replayed: the order in which its threads quantize, gradients on their
way between cards or to the host.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from estimator.hardware.platforms import Platform
from estimator.memory import replay
from estimator.memory.allocator import FREE, CachingAllocator, Event, Replay
from estimator.memory.load_events import Static
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches, shape
from estimator.recipe.loop import Loop
from estimator.recipe.recipe import Recipe
from estimator.trace import step

BUCKET_BYTES = 250 << 20
"""torch/distributed/fsdp/_init_utils.py PARAM_BROADCAST_BUCKET_SIZE."""
LAYERS_AT_ONCE = 2


def replayed(recipe: Recipe, model: Model, loop: Loop, platform: Platform, capacity_bytes: float = math.inf) -> Replay:
    """The second step of `recipe` on each of its devices, whose allocator may reserve `capacity_bytes`.
    `peak_allocated_bytes` is the sum of both streams' highest."""
    one = recipe.replace(num_processes=1, distributed_type="ddp", offload_param_device="none")
    sizes = step.Sizes(*shape(one), one.r, 0, Batches().trained_tokens(one))
    made = step.trace_step(one, model.config, loop, sizes, None, platform, model.inventory.class_name, Batches())
    run = _Fsdp1(recipe, made.kept)
    gathered = CachingAllocator()
    replay._play(gathered, run.gathering())
    allocator = CachingAllocator(capacity_bytes - gathered.peak_reserved_bytes)
    replay._play(allocator, run.loading())
    allocator.reset_peaks()
    replay._play(allocator, replay._step(made.events, 1, platform.workspace_bytes))
    stepped = [] if run.offloads else run.shards  # offloaded weights are stepped by the host
    replay._play(allocator, replay._states(one, stepped))
    temporaries = list(replay._step_temporaries(one, stepped, 0))
    replay._play(allocator, temporaries)
    replay._play(allocator, (((1, storage), FREE) for storage in replay._left(made.events)))
    replay._play(allocator, replay._step(made.events, 2, 0))
    replay._play(allocator, temporaries)
    mine, theirs = allocator.stats(), gathered.stats()
    return replace(
        mine,
        **{
            name: getattr(mine, name) + getattr(theirs, name)
            for name in ("peak_allocated_bytes", "peak_reserved_bytes")
        },
    )


class _Fsdp1:
    """What one rank loads, keeps and gathers."""

    def __init__(self, recipe: Recipe, kept: list[Static]) -> None:
        self.offloads = recipe.offload_param_device == "cpu"
        self.ranks = recipe.num_processes if recipe.distributed_type == "fsdp" else 1
        self.layers: dict[str, list[Static]] = {}
        self.root: list[Static] = []
        for static in kept:
            found = re.search(r"layers\.\d+\.", static.name)
            if not found:
                self.root.append(static)
            else:
                self.layers.setdefault(found[0], []).append(static)
        self.shards = [
            replace(static, parts_bytes=tuple(size // self.ranks for size in static.parts_bytes))
            if static.trained
            else static
            for static in kept
        ]

    def units(self) -> Iterator[tuple[str, list[Static]]]:
        """In the order they are wrapped: what is inside first."""
        for name, statics in self.layers.items():
            for static in statics:
                if static.trained:
                    yield static.name, [static]
            yield name, [static for static in statics if not static.trained]
        yield "root", self.root

    def loading(self) -> Iterator[Event]:
        for static in (static for statics in (*self.layers.values(), self.root) for static in statics):
            if static.is_packed:  # quantized on the card, and back to the host without its scales; then empty_cache
                yield from (((static.name, "state", k), size) for k, size in enumerate(static.parts_bytes[1:]))
        for name, statics in self.units():
            sizes = [static.parts_bytes[0] for static in statics]
            yield from (((name, "moved", k), size) for k, size in enumerate(sizes))
            yield (name, "bucket"), min(BUCKET_BYTES, sum(sizes))
            yield (name, "bucket"), FREE
            yield (name, "flat"), sum(sizes)
            yield from (((name, "moved", k), FREE) for k in range(len(sizes)))
            if self.ranks > 1:
                yield (name, "shard"), sum(sizes) // self.ranks
                yield (name, "flat"), FREE
            if self.offloads:
                yield (name, "shard" if self.ranks > 1 else "flat"), FREE

    def gathering(self) -> Iterator[Event]:
        if self.ranks == 1:
            return
        sizes = {name: sum(static.parts_bytes[0] for static in statics) for name, statics in self.units()}
        yield "root", sizes["root"]
        for name in list(self.layers)[:LAYERS_AT_ONCE]:
            yield from ((static.name, static.parts_bytes[0]) for static in self.layers[name] if static.trained)
            yield name, sizes[name]
