"""A training step as a stream of allocations and frees at any depth and sizes, written down from a shallow trace. No
torch.

A law keeps the moments that can be the peak; reserved memory depends on the whole course. Here each allocation is terms
of the law's PHI, and the middle layers are repeated as often as the model has them: what is freed in a layer is found
by where it was made (the layer before, the same one forward), so the repeated step is the traced one
(`estimator.trace.stream_trace` compares them).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from estimator.law.law import PHI
from estimator.memory.load_events import Static
from estimator.memory.recorded import HEAD, Events, Place


@dataclass(frozen=True)
class StaticTerms:
    """A `Static` whose bytes may grow with the rank; `layer` -1 is in none, and stands as {} in the name."""

    name: str
    layer: int
    parts_bytes: tuple[int, ...]
    loaded_bytes: int
    trained: bool
    is_new: bool
    shape: tuple[int, ...]
    dtype: str
    ranked: tuple[int, ...] = ()
    """Sides of the shape that are so many times the rank: their numbers; the bytes are those at rank 1 then."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StaticTerms:
        own: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in data.items()}
        return cls(**own)

    def at(self, layer: int, rank: int) -> Static:
        by = rank ** len(self.ranked)
        shape = tuple(side * rank if number in self.ranked else side for number, side in enumerate(self.shape))
        return Static(
            self.name.format(layer),
            tuple(part * by for part in self.parts_bytes),
            self.loaded_bytes * by,
            self.trained,
            self.is_new,
            shape,
            self.dtype,
        )


@dataclass(frozen=True)
class Stream:
    """`events` in order: a number from 0 is an allocation of `sizes[number]` (terms of PHI), one below frees what was
    made so many events before; `runs` says where: (phase, layer, how many events). Layers from `start` to `start +
    period` repeat until there are `total` instead of `layers`. `gradients` are the numbers of allocations that hold
    gradients at the end.
    """

    sizes: tuple[tuple[float, ...], ...]
    events: tuple[int, ...]
    runs: tuple[tuple[str, int, int], ...]
    gradients: tuple[int, ...]
    kept: tuple[StaticTerms, ...]
    start: int
    period: int
    layers: int
    total: int

    def at(self, phi: Sequence[float], rank: int) -> tuple[list[Static], Events]:
        """What outlives the step and the step, of the whole model: what `step.trace_step` records. `phi`: `Law.phi`."""
        sizes = [round(sum(c * x for c, x in zip(terms, phi))) for terms in self.sizes]
        return self.statics(rank), self._repeated(sizes)

    def statics(self, rank: int) -> list[Static]:
        order = self._spread([(static.layer, static) for static in self.kept], ascending=True)
        return [static.at(layer, rank) for layer, static in order]

    @property
    def copies(self) -> int:
        return (self.total - self.layers) // self.period

    def _spread(self, parts: list[tuple[int, Any]], ascending: bool) -> Iterator[tuple[int, Any]]:
        """(layer in the whole model, part) with each contiguous group of repeated layers laid out for all of them."""
        end = self.start + self.period
        group: list[tuple[int, Any]] = []
        for layer, part in [*parts, (HEAD, None)]:
            if self.start <= layer < end:
                group.append((layer, part))
                continue
            times = range(self.copies + 1)
            for copy in times if ascending else reversed(times):
                yield from ((inner + copy * self.period, made) for inner, made in group)
            group = []
            if part is not None:
                yield (layer + self.copies * self.period if end <= layer < HEAD else layer), part

    def _visits(self) -> Iterator[tuple[Place, int, range]]:
        """(place in the whole model, the same in the template, its events), in the order of the step."""
        runs, first = [], 0
        for phase, layer, count in self.runs:
            runs.append((phase, layer, range(first, first + count)))
            first += count
        turn = next((n for n, (phase, _, _) in enumerate(runs) if phase == "backward"), len(runs))
        for half, ascending in ((runs[:turn], True), (runs[turn:], False)):
            for layer, run in self._spread([(run[1], run) for run in half], ascending):
                yield (run[0], layer), run[1], run[2]

    def _repeated(self, sizes: list[int]) -> Events:
        made_at = self._allocations()
        events, number = Events(), 0
        storages: dict[tuple[Place, int], int] = {}
        counts: dict[Place, int] = {}
        gradients = set(self.gradients)
        for place, layer, numbers in self._visits():
            for n in numbers:
                code = self.events[n]
                if code >= 0:
                    number += 1
                    ordinal = counts[place] = counts.get(place, -1) + 1
                    storages[place, ordinal] = number
                    events.component[number] = "gradients" if n in gradients else ""
                    events.add(number, sizes[code], place)
                else:
                    (phase, there), ordinal = made_at[n + code]
                    where = (phase, self._seen_from(layer, place[1], there)), ordinal
                    storage = storages[where]
                    events.add(storage, -sizes[self.events[n + code]], place)
        return events

    def _allocations(self) -> dict[int, tuple[Place, int]]:
        """Of each allocation of the template: its place, and which of that place's it is."""
        made: dict[int, tuple[Place, int]] = {}
        counts: dict[Place, int] = {}
        places = ((phase, layer) for phase, layer, count in self.runs for _ in range(count))
        for n, place in enumerate(places):
            if self.events[n] >= 0:
                ordinal = counts[place] = counts.get(place, -1) + 1
                made[n] = place, ordinal
        return made

    def _seen_from(self, layer: int, actual: int, there: int) -> int:
        """The whole model's number of the template's layer `there`, for what happens in `layer`, which is
        `actual`'s."""
        if not 0 <= there < HEAD:
            return there
        if 0 <= layer < HEAD:
            return actual + there - layer
        return there + self.copies * self.period if there >= self.start + self.period else there

    def to_dict(self) -> dict[str, Any]:
        whole = [[int(c) if c == int(c) else c for c in terms] for terms in self.sizes]
        return {"phi": PHI, **asdict(self), "sizes": whole}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Stream:
        """Raises ValueError for terms of another PHI."""
        if tuple(data["phi"]) != PHI:
            raise ValueError(f"stream over {data['phi']!r}; this program reads {PHI}")
        own: dict[str, Any] = {name: tuple(map(tuple, data[name])) for name in ("sizes", "runs")}
        own |= {name: tuple(data[name]) for name in ("events", "gradients")}
        own |= {name: data[name] for name in ("start", "period", "layers", "total")}
        return cls(kept=tuple(map(StaticTerms.from_dict, data["kept"])), **own)
