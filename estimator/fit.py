"""From recorded steps to a law: sizes are read off one trace, depth off two.

Batch, length, rank and tile are traced at large primes, so that a storage's bytes factor into them in one way; what does
not factor is refused. Layers repeat, so the live bytes at the first and the last layers of a model are linear in
the number of layers: two shallow models give the law of any depth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from estimator.kernels import Platform
from estimator.law import COMPONENTS, PHI, Law, Loop, Row
from estimator.recipe import Recipe
from estimator.recorded import Events, Place
from estimator.step import HEAD, Sizes, Step, trace_step

SIZES = Sizes(batch=101, sequence=10007, rank=211, tile=7919)
"""Primes, of which none divides a width of the presets; 10006 = 2 x 5003 stands for S - 1."""
RELATIVE_ERROR = 0.02
"""Half width of the error bar on the dynamic bytes of a traced law (`make accuracy` prints what published rows show)."""
GRID = tuple((b, s, r) for b in (1, 2, 3, 8, 64, 1024) for s in (8, 64, 512, 2048, 8192, 131072, 1 << 20) for r in (1, 8, 64, 512, 4096))
"""Points at which a row must be the highest once to stay in the law."""


class NotLinear(Exception):
    """A storage whose bytes are no sum of the law's terms, or steps that do not align."""


def derive_law(recipe: Recipe, config: dict[str, Any], loop: Loop, *, workspace_bytes: int, tile_tokens: int, platform: Platform = Platform()) -> Law:
    """The law of `recipe`'s structure on the model of `config`. About 0.5 s for an 8B decoder on one core.

    Raises `NotLinear`, or what the libraries raise where the model cannot run on the meta device.
    """
    sizes = SIZES if recipe.per_device_train_batch_size > 1 else Sizes(1, SIZES.sequence, SIZES.rank, SIZES.tile)
    total = layer_count(config)
    depths = (3, 4) if total > 5 and not names_layers(recipe) else (None,)
    steps = [trace_step(recipe, config, loop, sizes, depth, platform) for depth in depths]
    tables = [_live(step.events, sizes) for step in steps]
    rows = _rows(steps[0].events.place, tables[0]) if len(steps) == 1 else _at_depth(steps, tables, total)
    rows = [row for row in rows]
    versions = {"torch": torch.__version__.partition("+")[0], "transformers": transformers.__version__}
    return Law(tuple(_pruned(rows, workspace_bytes, tile_tokens)), tile_tokens, "traced", RELATIVE_ERROR, versions)


def layer_count(config: dict[str, Any]) -> int:
    made = transformers.AutoConfig.for_model(**config).get_text_config()
    return made.num_hidden_layers


def names_layers(recipe: Recipe) -> bool:
    """Whether layers differ by the recipe's own choice."""
    return any((recipe.layers_to_transform, recipe.rank_pattern, recipe.exclude_modules)) or not isinstance(recipe.target_modules, (str, tuple))


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
    for name, prime in (("B", sizes.batch), ("S", sizes.sequence), ("S", sizes.sequence), ("r", sizes.rank), ("t", sizes.tile)):
        if prime > 1 and rest % prime == 0:
            rest, names = rest // prime, names + name
    shifted = "S" not in names and rest % (sizes.sequence - 1) == 0
    if shifted:
        rest //= sizes.sequence - 1
    if sizes.batch == 1:
        names = {"S": "BS", "SS": "BSS", "Sr": "BSr"}.get(names, names)
    made = np.zeros(len(PHI))
    if shifted:
        if names not in ("B", "") or (names == "" and sizes.batch > 1):
            raise NotLinear(f"{size_bytes} bytes: (S - 1) times {names}")
        made[PHI.index("BS")], made[PHI.index("B")] = rest, -rest
        return made
    place = {"": "1", "t": "tile"}.get(names, names)
    if place not in PHI:
        raise NotLinear(f"{size_bytes} bytes are {rest} times {names}")
    made[PHI.index(place)] = rest
    return made


def _at_depth(steps: list[Step], tables: list[np.ndarray], total: int) -> list[tuple[str, np.ndarray]]:
    """Rows of the model with `total` layers. Raises `NotLinear` where the two steps do not align."""
    parts = [_anchored(step.events, step.layers) for step in steps]
    if parts[0].keys() != parts[1].keys():
        raise NotLinear("the two depths visit different places")
    share = (total - steps[0].layers) / (steps[1].layers - steps[0].layers)
    rows = []
    for anchor, first in parts[0].items():
        second = parts[1][anchor]
        if len(first) != len(second):
            raise NotLinear(f"{anchor}: {len(first)} events at one depth, {len(second)} at the other")
        low, high = tables[0][first], tables[1][second]
        rows += [(moment(anchor), row) for row in low + share * (high - low)]
    return rows


def _anchored(events: Events, layers: int) -> dict[tuple[str, str, int], list[int]]:
    """Numbers of the allocations (after no other event can a peak stand) by place, a layer counted from start and end."""
    parts: dict[tuple[str, str, int], list[int]] = {}
    for n, (phase, layer) in enumerate(events.place):
        if events.delta_bytes[n] < 0:
            continue
        if 0 <= layer < layers:
            anchors = [("start", layer)] if layer < 2 else []
            anchors += [("end", layers - 1 - layer)] if layers - layer <= 2 else []
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


def _rows(places: list[Place], table: np.ndarray) -> list[tuple[str, np.ndarray]]:
    last = max((layer for _, layer in places if layer != HEAD), default=0)
    names = [moment((phase, "end" if 0 <= layer == last else "start", layer)) for phase, layer in places]
    return list(zip(names, table, strict=True))


def _pruned(rows: list[tuple[str, np.ndarray]], workspace_bytes: int, tile_tokens: int) -> list[Row]:
    """Rows that are the highest somewhere on the grid, as the law's records, and the optimizer's step."""
    table = np.array([row.sum(axis=0) for _, row in rows])
    phi = np.array([Law((), tile_tokens, "", 0.0).phi(*point) for point in GRID])
    kept = sorted(set((phi @ table.T).argmax(axis=1)))
    made = [Row(rows[n][0], _by_component(rows[n][1], workspace_bytes)) for n in kept]
    step = Row("optimizer_step", {"workspace": _constant(workspace_bytes)}, {}, holds_step_temporary=True)
    return [*made, step]


def _by_component(row: np.ndarray, workspace_bytes: int) -> dict[str, tuple[float, ...]]:
    made = {name: tuple(float(c) for c in row[k]) for k, name in enumerate(COMPONENTS) if np.any(row[k])}
    return {"gradients": _constant(0), **made, "workspace": _constant(workspace_bytes)}


def _constant(value: float) -> tuple[float, ...]:
    return tuple(float(value) if name == "1" else 0.0 for name in PHI)
