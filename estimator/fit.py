"""From recorded steps to a law: sizes are read off one trace, depth off two.

Batch, length, rank and tile are traced at large primes, so that a storage's bytes factor into them in one way; what does
not factor is refused. Layers repeat, so the live bytes at the first and the last layers of a model are linear in
the number of layers: two shallow models give the law of any depth.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import transformers

from estimator import program
from estimator.batches import Batches, shape
from estimator.law import COMPONENTS, PHI, TRL_TILE_TOKENS, WORK, Law, Loop, Row
from estimator.platforms import Platform
from estimator.prepared import built, layer_config, layer_stack
from estimator.recipe import Recipe
from estimator.recorded import Events, Place
from estimator.step import HEAD, Sizes, Step, layer_programs, trace_step
from estimator.untraced import NotLinear

SIZES = Sizes(batch=101, sequence=10007, rank=211, tile=7919, trained=1000003)
"""Primes, of which none divides a width of the presets; 10006 = 2 x 5003 stands for S - 1, 10008 = 8 x 9 x 139 for S + 1."""
RELATIVE_ERROR = 0.02
"""Half width of the error bar on the dynamic bytes of a traced law (`make accuracy` prints what published rows show)."""
GRID = tuple((b, s, r) for b in (1, 2, 3, 8, 64, 1024) for s in (8, 64, 512, 2048, 8192, 131072, 1 << 20) for r in (1, 8, 64, 512, 4096))
"""Points at which a row must be the highest once to stay in the law."""
USUAL = ((1, 512, 16), (1, 4096, 16), (4, 512, 16), (4, 4096, 16))
"""Points at which the highest row of each moment stays too."""
SHARES = (1.0, 0.3, 0.01)
"""Shares of trained tokens at these points, for a law that knows them."""


def derive_law(
    recipe: Recipe, config: dict[str, Any], loop: Loop, *, tile_tokens: int, platform: Platform = Platform(), class_name: str | None = None,
    batches: Batches = Batches(), evaluates: bool = False,
) -> Law:
    """The law of `recipe`'s structure on the model of `config`, or of its evaluation. About 0.5 s for an 8B decoder on one core.

    Raises `NotLinear`, or what the libraries raise where the model cannot run on the meta device.
    """
    tokens_a_row = shape(recipe)[1]
    examined = Recipe(model="any", max_length=tokens_a_row, **{name: getattr(recipe, name) for name in ("attn_implementation", "dtype", "mixed_precision")})
    plan, tokens = _examined(examined, json.dumps(config), platform, class_name)
    plan = Plan((None,), plan.total) if names_layers(recipe) else plan
    sizes = replace(SIZES, batch=SIZES.batch if shape(recipe)[0] > 1 else 1, sequence=tokens)
    steps = [trace_step(recipe, config, loop, sizes, depth, platform, class_name, batches, evaluates) for depth in plan.depths]
    tables = [_live(step.events, sizes) for step in steps]
    rows = _rows(steps[0].events.place, tables[0]) if len(steps) == 1 else _at_depth(steps, tables, plan)
    versions = {"torch": torch.__version__.partition("+")[0], "transformers": transformers.__version__}
    work = {name: _work(steps, name, sizes, plan.total) for name in WORK} if not evaluates else {}
    windows = steps[0].windows
    passed = [window for window in windows if window <= tokens_a_row and recipe.attn_implementation != "flash_attention_2"]
    ahead = windows.difference(passed)
    held = {"fused": steps[0].fused, "from_tokens": max(passed, default=0), "below_tokens": min(ahead, default=0)}
    made = _pruned(rows, tile_tokens)
    made = made[:-1] if evaluates else made  # no optimizer's step
    return Law(tuple(made), tile_tokens, "traced", RELATIVE_ERROR, versions, **work, **held)


def layer_kinds(config: dict[str, Any], class_name: str | None = None, dtype: torch.dtype = torch.bfloat16) -> list[Any]:
    """What tells each layer of the model from others: its modules' tensors, and its place in the config's own lists."""
    model = built(json.dumps(config), class_name, dtype)
    text = layer_config(model)
    lists = [value for value in vars(text).values() if isinstance(value, (list, tuple)) and len(value) == text.num_hidden_layers]
    kinds = []
    for n, layer in enumerate(layer_stack(model)):
        tensors = tuple((name, tuple(p.shape)) for name, p in layer.named_parameters())
        kinds.append((type(layer).__name__, tensors, tuple(str(values[n]) for values in lists if n < len(values))))
    return kinds


@dataclass(frozen=True)
class Plan:
    """Depths to trace (None: all layers) of `total`, and how many layers count from the start and from the end."""

    depths: tuple[int | None, ...]
    total: int
    start: int = 2
    end: int = 2


@functools.lru_cache(maxsize=64)
def _examined(recipe: Recipe, config_json: str, platform: Platform, class_name: str | None) -> tuple[Plan, int]:
    """What all structures of a model share: the depths and the length to trace at. Raises `NotLinear`."""
    config = json.loads(config_json)
    plan = _plan(recipe, config, platform, class_name)
    limit = config.get("max_seq_len") or max(LENGTHS_TOKENS)  # MPT's, whose biases are made for that length and no more
    short, long = sorted(length for length in LENGTHS_TOKENS if length <= limit)[-2:]
    _check_lengths(recipe, config, platform, class_name, plan.depths[0], short, long)
    return plan, long


LENGTHS_TOKENS = (587, 2027, SIZES.sequence)
"""Primes that are one more than twice a prime, so that one token less is told from a width too."""


def _plan(recipe: Recipe, config: dict[str, Any], platform: Platform, class_name: str | None) -> Plan:
    """By what the configuration tells of the layers, or, where that has a long period or none, by what they run.

    Layers that run the same count as the same, but a shallow model keeps one of each, as it may make a mask for each.
    """
    kinds = layer_kinds(config, class_name, program.dtype(recipe))
    plan = plan_for(kinds)
    if plan.depths[0] and plan.depths[1] - plan.depths[0] == 1:
        return plan
    programs = layer_programs(recipe, config, platform, class_name)
    listed = [kind[2] for kind in kinds]
    named = [tuple(kind) for kind in zip(*(column for column in zip(*listed) if len(set(column)) < len(column)))] or [()] * len(kinds)
    return plan_for(list(zip((kind[:2] for kind in kinds), programs, strict=True)), at_least=max(named.index(kind) for kind in named) + 1)


def plan_for(kinds: list[Any], at_least: int = 3) -> Plan:
    """Two depths whose difference is what repeats, or the whole model.

    After `first` layers of their own kinds the rest repeats with a period; the shallow models keep the same remainder, so
    that they end as the whole one does.
    """
    total = len(kinds)
    for period in range(1, total // 3 + 1):
        for first in range(min(total - 3 * period, 8)):
            if all(kinds[n] == kinds[n + period] for n in range(first, total - period)):
                rest = (total - first) % period
                low = first + 2 * period + rest
                low += -(-max(0, max(at_least, 3) - low) // period) * period
                if low + period < total:
                    return Plan((low, low + period), total, max(2, first + period), max(2, period + rest))
                return Plan((None,), total)
    return Plan((None,), total)


def _check_lengths(
    recipe: Recipe, config: dict[str, Any], platform: Platform, class_name: str | None, layers: int | None, short: int, long: int
) -> None:
    """A law reads one length. Raises `NotLinear` where a shorter row runs other operators, or tensors that are neither of one
    size nor grow with the row: chunks, padding to their length, choices of so many tokens."""
    programs = [layer_programs(recipe, config, platform, class_name, layers, length) for length in (short, long)]
    for number, (first, second) in enumerate(zip(*programs, strict=True)):
        if [func for func, _ in first] != [func for func, _ in second]:
            raise NotLinear(f"layer {number} runs {len(first)} operators on {short} tokens and {len(second)} on {long}")
        for (func, one), (_, other) in zip(first, second, strict=True):
            if [_grown(shape, short, long) for shape, _ in one] != [shape for shape, _ in other]:
                raise NotLinear(f"layer {number}: {func} gives {one[0][0]} on {short} tokens and {other[0][0]} on {long}")


def _grown(shape: tuple[int, ...], short: int, long: int) -> tuple[int, ...]:
    """The shape of a tensor of a short row as a long one has it."""
    grown = []
    for size in shape:
        step = next((step for step in (0, -1, 1) if size % (short + step) == 0), None)
        grown.append(size if step is None or not size else size // (short + step) * (long + step))
    return tuple(grown)


def names_layers(recipe: Recipe) -> bool:
    """Whether layers may differ by the recipe's own choice: it numbers them, or names modules by path or expression."""
    if recipe.layers_to_transform:
        return True
    chosen = (recipe.target_modules, recipe.exclude_modules, recipe.modules_to_save, recipe.target_parameters, tuple(recipe.rank_pattern or ()))
    names = [name for field in chosen for name in ([field] if isinstance(field, str) else field or ())]
    return not all(name == "all-linear" or re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)


def _live(events: Events, sizes: Sizes) -> np.ndarray:
    """Live bytes after each event: (events, components, PHI) coefficients."""
    terms = {}
    table = np.zeros((len(events.storage), len(COMPONENTS), len(PHI)))
    for n, (storage, delta) in enumerate(zip(events.storage, events.delta_bytes, strict=True)):
        if abs(delta) not in terms:
            terms[abs(delta)] = coefficients(abs(delta), sizes)
        component = COMPONENTS.index(events.component[storage])
        table[n, component] = terms[abs(delta)] if delta > 0 else -terms[abs(delta)]
    return table.cumsum(axis=0)


def coefficients(size_bytes: int, sizes: Sizes) -> np.ndarray:
    """`size_bytes` as a sum over PHI. Raises `NotLinear`."""
    rest, names = size_bytes, ""
    primes = (("B", sizes.batch), ("S", sizes.sequence), ("S", sizes.sequence), ("r", sizes.rank), ("t", sizes.tile), ("N", sizes.trained))
    for name, prime in primes:
        if prime > 1 and rest % prime == 0:
            rest, names = rest // prime, names + name
    by = next((by for by in (-1, 1) if rest % (sizes.sequence + by) == 0), 0) if names.count("S") < 2 else 0
    if by:
        rest //= sizes.sequence + by
    if sizes.batch == 1:
        names = {"S": "BS", "SS": "BSS", "Sr": "BSr"}.get(names, names)
    made = np.zeros(len(PHI))
    if by:  # labels without their first token, or padded by one before they are shifted; scores with a sink beside them
        higher, lower = {"": ("BS", "B"), "B": ("BS", "B"), "BS": ("BSS", "BS")}.get(names, (None, None))
        if higher is None or (names == "" and sizes.batch > 1):
            raise NotLinear(f"{size_bytes} bytes: (S {by:+}) times {names}")
        made[PHI.index(higher)], made[PHI.index(lower)] = rest, by * rest
        return made
    place = {"": "1", "t": "tile", "N": "trained"}.get(names, names)
    if place not in PHI:
        raise NotLinear(f"{size_bytes} bytes are {rest} times {names}")
    made[PHI.index(place)] = rest
    return made


def _work(steps: list[Step], name: str, sizes: Sizes, total: int) -> dict[str, tuple[float, ...]] | None:
    """What the whole model computes or moves, each amount factored on its own; None where one is no term of the law, so that the
    memory of a model stays known where its time does not."""
    try:
        tables = [{key: _summed(amounts, sizes) for key, amounts in getattr(step.work, name).items()} for step in steps]
    except NotLinear:
        return None
    if len(steps) == 1:
        (made,) = tables
    else:
        share = (total - steps[0].layers) / (steps[1].layers - steps[0].layers)
        low, high = tables
        none = np.zeros(len(PHI))
        made = {key: low.get(key, none) + share * (high.get(key, none) - low.get(key, none)) for key in high}
    return {key: tuple(_number(c) for c in row) for key, row in made.items()}


def _summed(amounts: dict[int, float], sizes: Sizes) -> np.ndarray:
    return sum((times * coefficients(amount, sizes) for amount, times in amounts.items()), np.zeros(len(PHI)))


def _at_depth(steps: list[Step], tables: list[np.ndarray], plan: Plan) -> list[tuple[str, np.ndarray]]:
    """Rows of the whole model. Raises `NotLinear` where the two steps do not align."""
    parts = [_anchored(step.events, step.layers, plan) for step in steps]
    if parts[0].keys() != parts[1].keys():
        raise NotLinear("the two depths visit different places")
    share = (plan.total - steps[0].layers) / (steps[1].layers - steps[0].layers)
    rows = []
    for anchor, first in parts[0].items():
        second = parts[1][anchor]
        if len(first) != len(second):
            raise NotLinear(f"{anchor}: {len(first)} events at one depth, {len(second)} at the other")
        low, high = tables[0][first], tables[1][second]
        rows += [(moment(anchor), row) for row in low + share * (high - low)]
    return rows


def _anchored(events: Events, layers: int, plan: Plan) -> dict[tuple[str, str, int], list[int]]:
    """Numbers of the allocations (after no other event can a peak stand) by place, a layer counted from start and end."""
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


def _rows(places: list[Place], table: np.ndarray) -> list[tuple[str, np.ndarray]]:
    last = max((layer for _, layer in places if layer != HEAD), default=0)
    names = [moment_of(place, last + 1) for place in places]
    return list(zip(names, table, strict=True))


def _pruned(rows: list[tuple[str, np.ndarray]], tile_tokens: int) -> list[Row]:
    """Rows that are the highest somewhere on the grid, as the law's records, and the optimizer's step.

    Of each moment the highest at usual sizes is kept too: it is never the peak, and shows the step's course.
    """
    table = np.array([row.sum(axis=0) for _, row in rows])
    shares = SHARES if table[:, PHI.index("trained")].any() else SHARES[:1]
    blank = Law((), tile_tokens, "", 0.0)
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
