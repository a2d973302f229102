"""`presets/measurements/<gpu>.csv`: one line a measured run, appended as it ends. No torch."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator.measure.sweep_recipes import VARIED, SweepRow
from estimator.recipe.recipe import FIELDS, Recipe

MEASURED = ("peak_allocated_bytes", "peak_reserved_bytes", "device_bytes", "context_bytes")
VERSIONS = ("torch", "transformers", "peft", "trl", "bitsandbytes", "driver")
COLUMNS = ("id", *VARIED, "loop", *MEASURED, "steps_per_second", "status", *VERSIONS, "reason")
FINISHED = ("ok", "out_of_memory")
"""Results; any other status (failed, crashed, too_slow) is run again."""


@dataclass(frozen=True)
class Record:
    """One line of the table. A figure that the run did not give is None."""

    id: str
    recipe: Recipe
    loop: str
    status: str
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None
    device_bytes: int | None
    context_bytes: int | None
    steps_per_second: float | None
    versions: dict[str, str]
    reason: str


def slug(gpu: str) -> str:
    """`nvidia-h200` of `NVIDIA H200`: a file name on every system."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


def read(path: Path) -> list[Record]:
    """The records of one table, in its order."""
    return [_record(line) for line in _lines(path)]


def line_of(row: SweepRow, answer: dict[str, Any]) -> dict[str, str]:
    """What is written for a run: `answer` is `measure.Measurement` as a dict, or status and reason alone."""
    fields = row.recipe.to_dict()
    line = {"id": row.id, "loop": row.loop} | {name: _written(fields[name]) for name in VARIED}
    line |= {name: _written(answer.get(name)) for name in (*MEASURED, "status", "reason")}
    speed = answer.get("steps_per_second")
    versions = answer.get("versions", {})
    return (
        line
        | {"steps_per_second": f"{speed:.4f}" if speed else ""}
        | {name: versions.get(name, "") for name in VERSIONS}
    )


def append(path: Path, line: dict[str, str]) -> None:
    """One line, on the disk when this returns: the next run may take the machine down."""
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if is_new:
        writer.writeheader()
    writer.writerow(line)
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())


def resume(path: Path, rows: list[SweepRow], versions: dict[str, str]) -> set[str]:
    """Ids of `rows` that have a result with these versions. Their other lines are taken out, and a torn last line too,
    so that what is appended stands alone; lines of other rows and of other versions stay."""
    if not path.exists():
        return set()
    asked = {row.id for row in rows}
    lines = _lines(path)
    same = lambda line: line["id"] in asked and all(line[name] == versions[name] for name in ("torch", "transformers"))  # noqa: E731
    kept = [line for line in lines if not same(line) or line["status"] in FINISHED]
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
    part.replace(path)
    return {line["id"] for line in kept if same(line)}


def _lines(path: Path) -> list[dict[str, str]]:
    """Whole lines only: a run that was killed while it wrote leaves one without an end."""
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    return [
        line
        for line in csv.DictReader(io.StringIO(whole, newline=""))
        if None not in line.values() and None not in line
    ]


def _record(line: dict[str, str]) -> Record:
    fields = {name: _parsed(name, line[name]) for name in VARIED}
    figures: dict[str, Any] = {name: int(line[name]) if line[name] else None for name in MEASURED}
    speed = float(line["steps_per_second"]) if line["steps_per_second"] else None
    named: dict[str, Any] = {name: line[name] for name in ("id", "loop", "status", "reason")}
    return Record(
        recipe=Recipe(**fields),
        steps_per_second=speed,
        versions={name: line[name] for name in VERSIONS},
        **named,
        **figures,
    )


def _written(value: Any) -> str:
    """Text as it is; numbers, switches and lists as JSON; nothing as an empty cell."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _parsed(name: str, cell: str) -> Any:
    if FIELDS[name].kinds == (str,) or not cell.startswith("[") and str in FIELDS[name].kinds:
        return cell
    return json.loads(cell)
