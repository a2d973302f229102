"""What steps found, counted while rows go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from studio.datasets.cleaning.record import Asked, Verdict
from studio.datasets.forms import Row, text_of

SAMPLES, GROUPS, GROUP_ROWS, PLACES = 5, 20, 6, 1_000
"""Kept of each step: rows before and after, groups of copies, copies of a group, places of rows."""
SAMPLE_CHARACTERS, GROUP_CHARACTERS = 400, 1_000
_BEFORE_CHARACTERS = 120
"""Shown before the first difference."""


@dataclass
class Sample:
    """A row that a step touched: its number, its file (-1 of one alone), why, and what it said before and says after
    (None where it is left out)."""

    row: int
    file: int
    reason: str
    params: dict[str, Any]
    before: str
    after: str | None


@dataclass
class Copy:
    """A row of a group: the first is the one that the others repeat."""

    at: int
    """Its place among the rows."""
    row: int
    file: int
    similarity: float
    text: str


@dataclass
class StepReport:
    """What one step found. All counts are rows."""

    step: str
    action: str
    options: dict[str, Any]
    touched: int = 0
    """Found, whatever was done about it."""
    dropped: int = 0
    changed: int = 0
    added: int = 0
    """Rows that came of splitting others, beside the one that each of them stays."""
    left_alone: int = 0
    """Found, and not changed though asked to: something that hangs on the text would have been lost."""
    reasons: dict[str, int] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    groups: list[list[Copy]] = field(default_factory=list)
    """Of copies the first groups, each with a few of its rows."""
    places: list[int] = field(default_factory=list)
    """The places of the first rows that it touched."""

    @property
    def counts(self) -> dict[str, int]:
        """As they stand in `DatasetInfo.changes`."""
        named = {name: getattr(self, name) for name in ("touched", "dropped", "changed", "added", "left_alone")}
        return {name: rows for name, rows in named.items() if rows or name == "touched"}


@dataclass
class Report:
    """What a look found: `rows` looked at, and what would become of them."""

    rows: int = 0
    kept: int = 0
    """Rows that stay, those added by splitting not counted: `kept + dropped` is `rows`."""
    dropped: int = 0
    changed: int = 0
    added: int = 0
    steps: list[StepReport] = field(default_factory=list)
    unlooked: list[str] = field(default_factory=list)
    """Steps that could not look, for want of a tokenizer."""

    @property
    def doubtful(self) -> dict[str, int]:
        """Rows that each step found, of those that found any."""
        return {one.step: one.touched for one in self.steps if one.touched}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Report:
        """Of a worker's answer."""
        steps = [
            StepReport(**{
                **one,
                "samples": [Sample(**sample) for sample in one["samples"]],
                "groups": [[Copy(**copy) for copy in group] for group in one["groups"]],
            })
            for one in told["steps"]
        ]  # fmt: skip
        return cls(**{**told, "steps": steps})


class Collector:
    """A report in the making."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        self.report = Report(steps=[StepReport(one.step, one.action, dict(one.options)) for one in asked])
        self._steps = {one.step: one for one in self.report.steps}
        self._reasons: dict[str, Counter[str]] = {one.step: Counter() for one in asked}
        self._groups: dict[str, dict[int, list[Copy]]] = {one.step: {} for one in asked}

    def saw(self, at: int, before: Row, after: tuple[Row, ...]) -> None:
        """A row has gone through all steps."""
        report = self.report
        report.rows += 1
        report.kept += bool(after)
        report.dropped += not after
        report.changed += bool(after) and (len(after) > 1 or after[0] is not before)
        report.added += max(0, len(after) - 1)

    def judged(self, step: str, at: int, row: Row, verdict: Verdict) -> None:
        one = self._steps[step]
        one.touched += 1
        reasons = dict(verdict.found)
        self._reasons[step].update(name for name in reasons if name != "left_alone")
        one.reasons = dict(self._reasons[step])
        one.left_alone += "left_alone" in reasons
        if verdict.rows is not None:
            one.dropped += not verdict.rows
            one.changed += bool(verdict.rows)
            one.added += max(0, len(verdict.rows) - 1)
        if len(one.places) < PLACES:
            one.places.append(at)
        if len(one.samples) < SAMPLES:
            one.samples.append(_sample(row, verdict))

    def copied(self, step: str, first: Copy, copy: Copy) -> None:
        """Keep a pair of copies side by side with those of their group."""
        groups = self._groups[step]
        if first.at not in groups and len(groups) < GROUPS:
            groups[first.at] = [first]
            self._steps[step].groups.append(groups[first.at])
        if len(group := groups.get(first.at, [])) in range(1, GROUP_ROWS):
            group.append(copy)

    def wants(self, step: str, first: int) -> bool:
        """Whether a further copy of that row would be kept."""
        groups = self._groups[step]
        return len(groups[first]) < GROUP_ROWS if first in groups else len(groups) < GROUPS


def copy_of(at: int, row: Row, similarity: float) -> Copy:
    return Copy(at, row["row"], row.get("file", -1), round(similarity, 3), _short(text_of(row), GROUP_CHARACTERS))


def _sample(row: Row, verdict: Verdict) -> Sample:
    reason, params = verdict.found[0]
    before = text_of(row)
    after = None if verdict.rows == () else before
    if verdict.rows:
        after = "\n\n―\n\n".join(map(text_of, verdict.rows[:3]))
    start = 0
    if after and after != before:
        start = next(
            (at for at, (one, two) in enumerate(zip(before, after)) if one != two), min(len(before), len(after))
        )
        start = max(0, start - _BEFORE_CHARACTERS)
    shown = [text if text is None else _short(text, SAMPLE_CHARACTERS, start) for text in (before, after)]
    return Sample(row["row"], row.get("file", -1), reason, params, shown[0] or "", shown[1])


def _short(text: str, characters: int, start: int = 0) -> str:
    end = start + characters
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
