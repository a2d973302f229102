"""From recorded steps to a law: sizes are read off one trace, depth off two.

Layers repeat, so the live bytes at the first and the last layers of a model are linear in the number of layers: two
shallow models (`estimator.trace.plans`) give the law of any depth. Sizes are factored by `estimator.trace.terms`,
chunks told by `estimator.trace.chunks`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import transformers

from estimator.hardware.platforms import Platform
from estimator.law.law import COMPONENTS, PHI, TRL_TILE_TOKENS, WORK, Law, Row
from estimator.law.untraced import NotLinear
from estimator.memory.recorded import Events, Place
from estimator.program import program
from estimator.recipe.batches import Batches, shape
from estimator.recipe.loop import LOOPS, Loop
from estimator.recipe.recipe import Recipe
from estimator.trace import chunks
from estimator.trace.plans import LENGTHS_TOKENS, TracePlan, check_lengths, names_layers, planned
from estimator.trace.prepared import built
from estimator.trace.step import HEAD, RecordedStep, Sizes, trace_step
from estimator.trace.terms import SIZES, live_bytes, summed

RELATIVE_ERROR = 0.02
"""Half width of the error bar on the dynamic bytes of a traced law (`make accuracy` prints what published rows
show)."""
GRID = tuple(
    (b, s, r)
    for b in (1, 2, 3, 8, 64, 1024)
    for s in (8, 64, 512, 2048, 8192, 131072, 1 << 20)
    for r in (1, 8, 64, 512, 4096)
)
"""Points at which a row must be the highest once to stay in the law."""
USUAL = ((1, 512, 16), (1, 4096, 16), (4, 512, 16), (4, 4096, 16))
"""Points at which the highest row of each moment stays too."""
SHARES = (1.0, 0.3, 0.01)
"""Shares of trained tokens at these points, for a law that knows them."""


def derive_law(
    recipe: Recipe,
    config: dict[str, Any],
    loop: Loop,
    *,
    tile_tokens: int,
    platform: Platform = Platform(),
    class_name: str | None = None,
    batches: Batches = Batches(),
    evaluates: bool = False,
) -> Law:
    """The law of `recipe`'s structure on the model of `config`, or of its evaluation. About 0.5 s for an 8B decoder on
    one core.

    Raises `NotLinear`, or what the libraries raise where the model cannot run on the meta device.
    """
    tokens_a_row = shape(recipe)[1]
    plan = plan_of(recipe, config, platform, class_name)
    one_row = shape(recipe)[0] == 1
    traced = [
        _traced(
            plan,
            sizes_of(length, one_row),
            lambda sizes, depth: trace_step(
                recipe, config, loop, sizes, depth, platform, class_name, batches, evaluates
            ),
        )
        for length in plan.lengths_tokens
    ]
    first = traced[0].steps[0]
    versions = {"torch": torch.__version__.partition("+")[0], "transformers": transformers.__version__}
    work: dict[str, Any] = {name: _work(traced, name, plan) for name in WORK} if not evaluates else {}
    passed = [
        window
        for window in first.windows
        if window <= tokens_a_row and recipe.attn_implementation != "flash_attention_2"
    ]
    ahead = first.windows.difference(passed)
    held: dict[str, Any] = {
        "fused": first.fused,
        "from_tokens": max(passed, default=0),
        "below_tokens": min(ahead, default=0),
        "chunk_tokens": plan.chunk_tokens,
    }
    made = _pruned(_rows(traced, plan), Law((), tile_tokens, "", 0.0, chunk_tokens=plan.chunk_tokens))
    made = made[:-1] if evaluates else made  # no optimizer's step
    return Law(tuple(made), tile_tokens, "traced", RELATIVE_ERROR, versions, **work, **held)


def plan_of(recipe: Recipe, config: dict[str, Any], platform: Platform, class_name: str | None) -> TracePlan:
    """Which depths and lengths of the model `recipe`'s law is read off. Raises `NotLinear`."""
    examined = Recipe(
        model="any",
        max_length=shape(recipe)[1],
        **{name: getattr(recipe, name) for name in ("attn_implementation", "dtype", "mixed_precision")},
    )
    plan = _examined(examined, json.dumps(config), platform, class_name)
    return replace(plan, depths=(None,)) if names_layers(recipe) else plan


@dataclass(frozen=True)
class Traced:
    """The steps of each depth at one length, and their live bytes after each event."""

    sizes: Sizes
    steps: list[RecordedStep]
    tables: list[np.ndarray]


def _traced(plan: TracePlan, sizes: Sizes, trace: Callable[[Sizes, int | None], RecordedStep]) -> Traced:
    steps = [trace(sizes, depth) for depth in plan.depths]
    return Traced(sizes, steps, [live_bytes(step.events, sizes) for step in steps])


def sizes_of(sequence: int, one_row: bool) -> Sizes:
    return replace(SIZES, batch=1 if one_row else SIZES.batch, sequence=sequence)


def _rows(traced: list[Traced], plan: TracePlan) -> list[tuple[str, np.ndarray]]:
    """What is live after each event of the whole model, under the name of its moment. Raises `NotLinear`."""
    parts = [
        _at_depth(one.steps, one.tables, plan) if len(one.steps) == 2 else _whole(one.steps[0], one.tables[0])
        for one in traced
    ]
    if len(parts) == 1:
        return [(name, row) for name, live, _ in parts[0].values() for row in live]
    if parts[0].keys() != parts[1].keys():
        raise NotLinear("the two lengths visit different places")
    counts = plan.chunks
    rows = []
    for place, (name, live, made) in parts[0].items():
        _, longer, made_longer = parts[1][place]
        try:
            rows += [(name, row) for row in chunks.joined((live, longer), (made, made_longer), counts)]
        except chunks.Unlike as error:
            raise NotLinear(f"{place}: {error}") from None
    return rows


@functools.lru_cache(maxsize=64)
def _examined(recipe: Recipe, config_json: str, platform: Platform, class_name: str | None) -> TracePlan:
    """What all structures of a model share: the depths and the lengths to trace at. Raises `NotLinear`."""
    config = json.loads(config_json)
    plan = planned(recipe, config, platform, class_name)
    if chunk_tokens := chunks.tokens_of(built(config_json, class_name, program.dtype(recipe))):
        plan = replace(plan, lengths_tokens=chunks.LENGTHS_TOKENS, chunk_tokens=chunk_tokens)
        _check_chunks(recipe, config, platform, class_name, plan)
        return plan
    limit = config.get("max_seq_len") or max(LENGTHS_TOKENS)  # MPT's, whose biases are made for that length and no more
    short, long = sorted(length for length in LENGTHS_TOKENS if length <= limit)[-2:]
    check_lengths(recipe, config, platform, class_name, plan.depths[0], short, long)
    return replace(plan, lengths_tokens=(long,))


def _check_chunks(
    recipe: Recipe, config: dict[str, Any], platform: Platform, class_name: str | None, plan: TracePlan
) -> None:
    """A law of two lengths. Raises `NotLinear` where it is not what a third one takes, on as many layers."""
    half = {"dtype": "bfloat16"} if recipe.dtype == "float16" else {}
    plain = recipe.replace(method="full", gradient_checkpointing=False, **half)
    shallow = replace(plan, depths=plan.depths[:1], total=plan.depths[0] or plan.total)
    trace = lambda sizes, depth: trace_step(plain, config, LOOPS["trainer"], sizes, depth, platform, class_name)  # noqa: E731
    rows = _rows([_traced(shallow, sizes_of(length, False), trace) for length in plan.lengths_tokens], shallow)
    sizes = sizes_of(chunks.CHECKED_TOKENS, False)
    there = sum(trace(sizes, shallow.depths[0]).events.peak()[0].values())
    phi = Law((), 0, "", 0.0, chunk_tokens=plan.chunk_tokens).phi(sizes.batch, sizes.sequence, sizes.rank)
    expected = max(float(row.sum(axis=0) @ phi) for _, row in rows)
    if abs(expected - there) > 1e-6 * there:
        raise NotLinear(
            f"chunks of {plan.chunk_tokens} tokens: {expected:,.0f} bytes expected of {sizes.sequence} tokens, "
            f"{there:,} taken"
        )


def _work(traced: list[Traced], name: str, plan: TracePlan) -> dict[str, tuple[float, ...]] | None:
    """What the whole model computes or moves, each amount factored on its own; None where one is no term of the law, so
    that the memory of a model stays known where its time does not."""
    try:
        tables = [_work_at_depth(one, name, plan.total) for one in traced]
        if len(tables) == 2:
            none = np.zeros(len(PHI))
            low, high = tables
            tables = [{key: chunks.between(low.get(key, none), high.get(key, none), plan.chunks) for key in high}]
    except (NotLinear, chunks.Unlike):
        return None
    return {key: tuple(_number(c) for c in row) for key, row in tables[0].items()}


def _work_at_depth(traced: Traced, name: str, total: int) -> dict[str, np.ndarray]:
    steps = traced.steps
    tables = [
        {key: summed(amounts, traced.sizes) for key, amounts in getattr(step.work, name).items()} for step in steps
    ]
    if len(steps) == 1:
        return tables[0]
    share = (total - steps[0].layers) / (steps[1].layers - steps[0].layers)
    low, high = tables
    none = np.zeros(len(PHI))
    return {key: low.get(key, none) + share * (high.get(key, none) - low.get(key, none)) for key in high}


Part = tuple[str, np.ndarray, np.ndarray]
"""The events at one place: the name of the moment, what is live after each, and what each made."""


def _at_depth(steps: list[RecordedStep], tables: list[np.ndarray], plan: TracePlan) -> dict[Any, Part]:
    """Of the whole model. Raises `NotLinear` where the two steps do not align."""
    parts = [_anchored(step.events, step.layers, plan) for step in steps]
    if parts[0].keys() != parts[1].keys():
        raise NotLinear("the two depths visit different places")
    share = (plan.total - steps[0].layers) / (steps[1].layers - steps[0].layers)
    made = np.diff(tables[0], axis=0, prepend=0)
    found = {}
    for anchor, first in parts[0].items():
        second = parts[1][anchor]
        if len(first) != len(second):
            raise NotLinear(f"{anchor}: {len(first)} events at one depth, {len(second)} at the other")
        low, high = tables[0][first], tables[1][second]
        found[anchor] = moment(anchor), low + share * (high - low), made[first]
    return found


def _whole(step: RecordedStep, table: np.ndarray) -> dict[Any, Part]:
    """Of a model that was traced with all of its layers."""
    places, made = step.events.place, np.diff(table, axis=0, prepend=0)
    last = max((layer for _, layer in places if layer != HEAD), default=0)
    where: dict[Place, list[int]] = {}
    for n, place in enumerate(places):
        where.setdefault(place, []).append(n)
    return {place: (moment_of(place, last + 1), table[numbers], made[numbers]) for place, numbers in where.items()}


def _anchored(events: Events, layers: int, plan: TracePlan) -> dict[tuple[str, str, int], list[int]]:
    """Numbers of the allocations (after no other event can a peak stand) by place, a layer counted from start and
    end."""
    parts: dict[tuple[str, str, int], list[int]] = {}
    for n, (phase, layer) in enumerate(events.place):
        if events.delta_bytes[n] < 0:
            continue
        if 0 <= layer < layers:
            anchors = [("start", layer)] if layer < plan.start else []
            anchors += [("end", layers - 1 - layer)] if layers - layer <= plan.end else []
        else:
            anchors = [("outside", layer)]
        for anchor in anchors:
            parts.setdefault((phase, *anchor), []).append(n)
    return parts


def moment(anchor: tuple[str, str, int]) -> str:
    phase, side, number = anchor
    if phase == "loss" or (phase == "backward" and number == HEAD):
        return "loss"
    if phase == "forward":
        return "forward"
    return "last_layer_backward" if side == "end" else "first_layer_backward"


def moment_of(place: Place, layers: int) -> str:
    """The name of a place in a model with `layers` layers."""
    phase, layer = place
    return moment((phase, "end" if layer == layers - 1 else "start", layer))


def tile_of(recipe: Recipe, loop: str, batches: Batches = Batches()) -> int:
    """Rows of the tile that the fused loss of TRL holds."""
    return min(batches.trained_tokens(recipe), TRL_TILE_TOKENS)


def _pruned(rows: list[tuple[str, np.ndarray]], blank: Law) -> list[Row]:
    """Rows that are the highest somewhere on the grid, as the law's records, and the optimizer's step.

    Of each moment the highest at usual sizes is kept too: it is never the peak, and shows the step's course.
    """
    table = np.array([row.sum(axis=0) for _, row in rows])
    shares = SHARES if table[:, PHI.index("trained")].any() else SHARES[:1]
    heights = np.array([blank.phi(*point, share) for point in GRID for share in shares]) @ table.T
    usual = np.array([blank.phi(*point) for point in USUAL]) @ table.T
    kept = set(heights.argmax(axis=1))
    for name in {name for name, _ in rows}:
        places = np.array([n for n, (of, _) in enumerate(rows) if of == name])
        kept |= set(places[usual[:, places].argmax(axis=1)])
    made = [Row(rows[n][0], _by_component(rows[n][1])) for n in sorted(kept)]
    return [*made, Row("optimizer_step", {}, {}, holds_step_temporary=True)]


def _by_component(row: np.ndarray) -> dict[str, tuple[float, ...]]:
    """Gradients are named also where there are none yet: what is not named counts whole."""
    made = {name: tuple(_number(c) for c in row[k]) for k, name in enumerate(COMPONENTS) if np.any(row[k])}
    return {"gradients": (0,) * len(PHI), **made}


def _number(value: float) -> float:
    """Bytes are whole numbers, up to the rounding of the extrapolation."""
    return int(round(value)) if abs(value - round(value)) < 1e-3 else float(value)
