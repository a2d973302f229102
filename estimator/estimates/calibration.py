"""What runs on this machine measured beside their estimates. The error bar narrows with them; the number never moves.

One line of JSON a figure in `calibration.jsonl` of the data folder. Like is compared with like: the same device,
figure, engine, loop, method and attention, and an estimate within a factor of two: what a run takes beside its tensors
hardly grows with the model, and would count for too much or too little. From three records on, the ratio of measured to
estimated is expected inside the 95 % prediction interval of Student's t, taken on logarithms (a ratio of 2 is as far
off as one of a half).
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from estimator.core.home import home
from estimator.recipe.recipe import Recipe

RESERVED, CONTEXT, RESIDENT_GROWTH = "reserved", "context", "resident_growth"
CPU = "cpu"
ALIKE = 2
FEWEST = 3
LARGEST_BYTES = 2**60
"""No machine has as much: a line that says so is broken."""
"""Records from which a spread can be stated."""
RUN_TO_RUN_BYTES = 20 * 2**20
"""Repeats of one run differ by up to this much in reserved memory (presets/README.md, allocator): no bar is
narrower."""
T_95 = (
    4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
    2.101, 2.093,
    2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, two-sided 95 %, for 2 to 30 degrees of freedom; beyond, the last is a little wide."""


@dataclass(frozen=True)
class Record:
    """One figure of one run. `device` is the card's name in the catalogue, else torch's name of it, or `cpu`."""

    device: str
    figure: str
    estimated_bytes: int
    measured_bytes: int
    engine: str
    loop: str
    method: str
    attention: str
    model: str
    versions: dict[str, str]
    when: float

    @property
    def ratio(self) -> float:
        return self.measured_bytes / self.estimated_bytes


def record_of(
    recipe: Recipe,
    device: str,
    figure: str,
    estimated_bytes: int,
    measured_bytes: int,
    *,
    engine: str,
    loop: str = "trl",
    versions: dict[str, str] | None = None,
) -> Record:
    method = recipe.quantization if recipe.is_quantized else recipe.method
    return Record(
        device,
        figure,
        estimated_bytes,
        measured_bytes,
        engine,
        loop,
        method,
        recipe.attn_implementation,
        recipe.model,
        versions or {},
        time.time(),
    )


def default_file() -> Path:
    return home() / "calibration.jsonl"


def note(records: Iterable[Record], path: Path | None = None) -> None:
    """Append. Several processes may: a line is one write, and begins a new one where the last was cut short."""
    path = path or default_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        for record in records:
            if record.estimated_bytes > 0 and record.measured_bytes > 0:
                os.write(file, ("\n" + json.dumps(asdict(record), ensure_ascii=False)).encode())
    finally:
        os.close(file)


class Calibration:
    """The records of one device. `unread` counts lines that are no records (a write cut short, another version's)."""

    def __init__(self, records: Sequence[Record], unread: int = 0) -> None:
        self.records, self.unread = tuple(records), unread

    @classmethod
    def of(cls, device: str, path: Path | None = None) -> Calibration:
        found, unread = [], 0
        try:
            lines = (path or default_file()).read_text("utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in filter(None, lines):
            try:
                record = Record(**json.loads(line))
                whole = record.device != device or all(
                    0 < size < LARGEST_BYTES for size in (record.estimated_bytes, record.measured_bytes)
                )
            except (ValueError, TypeError, RecursionError):
                whole = False
            unread += not whole
            found += [record] if whole and record.device == device else []
        return cls(found, unread)

    def ratios(
        self, recipe: Recipe, figure: str, estimated_bytes: int, *, engine: str, loop: str = "trl"
    ) -> list[float]:
        """Measured over estimated, of the runs that are like this one."""
        like = record_of(recipe, "", figure, estimated_bytes, 1, engine=engine, loop=loop)
        same = ("figure", "engine", "loop", "method", "attention")
        alike = (r for r in self.records if all(getattr(r, name) == getattr(like, name) for name in same))
        return [r.ratio for r in alike if estimated_bytes / ALIKE <= r.estimated_bytes <= estimated_bytes * ALIKE]

    def contexts(self) -> list[int]:
        """Measured contexts in bytes."""
        return [record.measured_bytes for record in self.records if record.figure == CONTEXT]


def interval(ratios: Sequence[float]) -> tuple[float, float] | None:
    """Where the next ratio lies with 95 %; None for too few."""
    if len(ratios) < FEWEST:
        return None
    logs = [math.log(ratio) for ratio in ratios]
    mean, n = statistics.fmean(logs), len(logs)
    half = T_95[min(n - FEWEST, len(T_95) - 1)] * statistics.stdev(logs) * math.sqrt(1 + 1 / n)
    return math.exp(mean - half), math.exp(mean + half)


def narrowed(low: float, high: float, central: float, ratios: Sequence[float]) -> tuple[float, float]:
    """The bar [low, high] around `central` with what was measured: narrower where the runs agree, wider where one lay
    outside.

    The central figure stays, and stays inside.
    """
    expected = interval(ratios)
    if expected is None:
        return low, high
    measured_low, measured_high = (central * share for share in expected)
    outside_low, outside_high = central * min(ratios), central * max(ratios)
    low = min(max(low, min(measured_low, central - RUN_TO_RUN_BYTES)), central, outside_low)
    high = max(min(high, max(measured_high, central + RUN_TO_RUN_BYTES)), central, outside_high)
    return low, high
