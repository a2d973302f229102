"""A `Stream` from two recorded steps of a shallow model. Imported where torch is, by `estimator.shelf.streams` only.

The step of the shallower model is written down; repeated once it must be, event by event, the step of the deeper one,
or there is no stream.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from estimator.hardware.platforms import Platform
from estimator.law.untraced import NotLinear
from estimator.memory.load_events import Static
from estimator.memory.recorded import Events
from estimator.memory.stream import StaticTerms, Stream
from estimator.recipe.batches import Batches, shape
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from estimator.trace import fit, terms
from estimator.trace.step import RecordedStep, Sizes, trace_step


def derive_stream(
    recipe: Recipe, config: dict[str, Any], loop: str, platform: Platform, class_name: str | None, batches: Batches
) -> Stream:
    """The stream of `recipe`'s structure. Raises `NotLinear` where its layers do not repeat event by event, or are cut
    into chunks."""
    plan = fit.plan_of(recipe, config, platform, class_name)
    if len(plan.depths) != 2 or plan.chunk_tokens or recipe.gradient_accumulation_steps > 1:
        raise NotLinear("no stream of these layers")
    sizes = fit.sizes_of(plan.lengths_tokens[-1], shape(recipe)[0] == 1)
    shallow, deep = (
        trace_step(recipe, config, LOOPS[loop], sizes, depth, platform, class_name, batches) for depth in plan.depths
    )
    period = deep.layers - shallow.layers
    for start in sorted(range(shallow.layers - period + 1), key=lambda n: abs(2 * n + period - shallow.layers)):
        made = _stream(shallow, sizes, start, period, plan.total)
        if _same(made, deep, sizes):
            return made
    raise NotLinear("a layer more is not the layer before it")


def _stream(step: RecordedStep, sizes: Sizes, start: int, period: int, total: int) -> Stream:
    events = step.events
    rows: dict[int, int] = {}
    made: dict[int, int] = {}
    codes = []
    for n, (storage, delta) in enumerate(zip(events.storage, events.delta_bytes, strict=True)):
        if delta > 0:
            made[storage] = n
            codes.append(rows.setdefault(delta, len(rows)))
        else:
            codes.append(made[storage] - n)
    runs = [(phase, layer, len(list(group))) for (phase, layer), group in itertools.groupby(events.place)]
    factored = tuple(tuple(float(c) for c in terms.coefficients(size, sizes)) for size in rows)
    gradients = tuple(n for storage, n in made.items() if events.component[storage] == "gradients")
    kept = tuple(_terms(static, step, sizes.rank) for static in step.kept)
    return Stream(factored, tuple(codes), tuple(runs), gradients, kept, start, period, step.layers, total)


def _terms(static: Static, step: RecordedStep, rank: int) -> StaticTerms:
    layer = _layer_of(static.name, step.stack_name)
    name = static.name.replace("{", "{{").replace("}", "}}")
    name = name if layer < 0 else name.replace(f"{step.stack_name}.{layer}.", f"{step.stack_name}.{{}}.", 1)
    ranked = tuple(n for n, side in enumerate(static.shape) if static.is_new and side and side % rank == 0)
    by = rank ** len(ranked)
    sides = tuple(side // rank if n in ranked else side for n, side in enumerate(static.shape))
    parts = tuple(part // by for part in static.parts_bytes)
    return StaticTerms(
        name, layer, parts, static.loaded_bytes // by, static.trained, static.is_new, sides, static.dtype, ranked
    )


def _layer_of(name: str, stack: str) -> int:
    rest = name.partition(f"{stack}.")[2] if f"{stack}." in name else ""
    number = rest.partition(".")[0]
    return int(number) if number.isdigit() else -1


def _same(stream: Stream, step: RecordedStep, sizes: Sizes) -> bool:
    """Whether `stream` with as many layers as `step` is `step`."""
    once = Stream(**{**vars(stream), "total": step.layers})
    try:
        kept, events = once.at(phi_of(sizes), sizes.rank)
    except KeyError:
        return False
    return kept == step.kept and list(course(events)) == list(course(step.events))


def phi_of(sizes: Sizes) -> tuple[float, ...]:
    """PHI at the sizes of a trace, whose tile and trained tokens are numbers of their own."""
    b, s, r = sizes.batch, sizes.sequence, sizes.rank
    return (1.0, b, s, b * s, b * s * s, b * s * r, r, s * s, sizes.tile, sizes.trained, 0.0)


def course(events: Events) -> Iterator[tuple[Any, ...]]:
    """The step without the storages' numbers: where, how many bytes, and how many events ago they were made."""
    made: dict[int, int] = {}
    for n, (storage, delta, place) in enumerate(zip(events.storage, events.delta_bytes, events.place, strict=True)):
        if delta > 0:
            made[storage] = n
            yield place, delta, events.component.get(storage) == "gradients"
        else:
            yield place, delta, made[storage] - n
