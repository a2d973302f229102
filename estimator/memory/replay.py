"""A run's first two steps through the CUDA caching allocator: what it counts as allocated, and what it reserves.

The stream is the program's own: the weights and adapters as they come to the card (`estimator.memory.load_events`), a
first step that leaves the optimizer's states behind, and the second step, which holds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from estimator.memory.allocator import FREE, CachingAllocator, Event, Replay
from estimator.memory.load_events import Static, courses, in_the_middle, load, play
from estimator.memory.recorded import Events
from estimator.memory.states import optimizer_bytes, temporary_of_all
from estimator.recipe.loop import Loop
from estimator.recipe.recipe import Recipe


def replay_run(
    recipe: Recipe,
    loop: Loop,
    kept: list[Static],
    step: Events,
    workspace_bytes: int,
    *,
    step_temporary_bytes: int = 0,
    capacity_bytes: float = math.inf,
) -> Replay:
    """Two steps; the peaks are those of the second, as the reserved memory of the first stays. Raises `OutOfMemory`.

    Outputs that the loop's variable holds (`Loop.keeps_outputs`) stay until the next step's take its name.
    """
    return in_the_middle(
        [
            _run(recipe, loop, kept, step, workspace_bytes, step_temporary_bytes, capacity_bytes, seed)
            for seed in courses(loop, recipe.is_quantized)
        ]
    )


def _run(
    recipe: Recipe,
    loop: Loop,
    kept: list[Static],
    step: Events,
    workspace_bytes: int,
    step_temporary_bytes: int,
    capacity_bytes: float,
    seed: int,
) -> Replay:
    allocator = CachingAllocator(capacity_bytes)
    load(allocator, kept, loop, recipe.is_quantized, seed)
    temporaries = list(_step_temporaries(recipe, kept, step_temporary_bytes))
    play(allocator, _step(step, 1, workspace_bytes))
    play(allocator, _states(recipe, kept))
    play(allocator, temporaries)
    left = _left(step)
    holds_outputs = loop.keeps_outputs and not loop.ends_with_step
    held = [storage for storage in left if holds_outputs and step.component[storage] != "gradients"]
    play(allocator, (((1, storage), FREE) for storage in left if storage not in held))
    allocator.reset_peaks()
    play(allocator, _step(step, 2, 0, held))
    play(allocator, temporaries)
    return allocator.stats()


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
    """What the optimizer's step holds: torch's multi-tensor AdamW a tensor beside each trained one, others one at a
    time."""
    sizes = (
        [static.parts_bytes[0] for static in kept if static.trained]
        if temporary_of_all(recipe.optim)
        else [step_temporary_bytes]
    )
    yield from ((("temporary", n), size) for n, size in enumerate(sizes))
    yield from ((("temporary", n), FREE) for n in range(len(sizes)))
