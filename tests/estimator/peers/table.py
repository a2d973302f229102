"""Errors of several estimators on the same rows as a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

HEAD = ("estimator", "rows", "answered", "median abs. error", "90 % within", "worst", "ms per estimate")


@dataclass(frozen=True)
class Said:
    """What one estimator said of one row; `error` is relative to the measurement, None where it does not say."""

    row: str
    milliseconds: float
    error: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Estimator:
    """One line of the table. `absent` says why it could not be asked at all."""

    name: str
    said: tuple[Said, ...] = ()
    absent: str = ""
    note: str = ""


def within(errors: Iterable[float], share: float) -> float:
    """The smallest bound that `share` of the absolute errors keep (nearest rank)."""
    ranked = sorted(map(abs, errors))
    return ranked[math.ceil(share * len(ranked)) - 1]


def line(name: str, said: list[Said]) -> tuple[Any, ...]:
    errors = [s.error for s in said if s.error is not None]
    milliseconds = median(s.milliseconds for s in said)
    time = f"{milliseconds:.{1 if milliseconds < 10 else 0}f}"
    if not errors:
        return (name, len(said), 0, "", "", "", time)
    figures = (median(map(abs, errors)), within(errors, 0.9))
    worst = max(errors, key=abs)
    return (name, len(said), len(errors), *(f"{100 * e:.2f} %" for e in figures), f"{100 * worst:+.1f} %", time)


def markdown(estimators: Iterable[Estimator], series: tuple[str, ...]) -> str:
    """A line for each estimator over all rows, then one for each series of rows it answers; below, what they do not
    say."""
    lines, notes = [], []
    for estimator in estimators:
        if estimator.absent:
            lines.append((estimator.name, *[""] * (len(HEAD) - 1)))
            notes.append(f"{estimator.name} could not be asked: {estimator.absent}")
            continue
        lines.append(line(estimator.name, list(estimator.said)))
        if any(s.error is not None for s in estimator.said):
            for prefix in series:
                part = [s for s in estimator.said if s.row.startswith(prefix)]
                if any(s.error is not None for s in part):
                    lines.append(line(f"&nbsp;&nbsp;{prefix}*", part))
        notes.append(f"{estimator.name}: " + "; ".join(filter(None, (estimator.note, *_silences(estimator)))) + ".")
    table = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *lines]
    return (
        "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in table)
        + "\n\n"
        + "\n".join(f"- {note}" for note in notes)
    )


def _silences(estimator: Estimator) -> Iterable[str]:
    reasons: dict[str, int] = {}
    for said in estimator.said:
        if said.error is None:
            reasons[said.reason] = reasons.get(said.reason, 0) + 1
    for reason, count in reasons.items():
        yield f"does not say for {count} of {len(estimator.said)} rows ({reason})"
