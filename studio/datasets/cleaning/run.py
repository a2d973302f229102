"""Rows through the steps: a look that changes nothing, and a new version with what was chosen.

Rows go by one after another and are never all in memory. Steps that compare rows need a first pass, in which the steps
before them already run: what these did to a row is not kept but, where they did anything, done again in the second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from estimator.core.problems import Problem
from studio.datasets.cleaning.copies import EXACT, LEAKS, NEAR, Copies, sketched
from studio.datasets.cleaning.record import Asked, Choice, Found, Judge, Tokens, Verdict
from studio.datasets.cleaning.report import Collector, Report, copy_of
from studio.datasets.cleaning.sketches import Sketches
from studio.datasets.cleaning.steps import COPIES, STEPS, chosen
from studio.datasets.forms import Row
from studio.datasets.rows import Rows
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.datasets.versions import Dropped, derive

Progress = Callable[[dict[str, Any]], None]
"""Hears `{"phase", "share", "kept", "dropped"}`: phases are `looking` and `comparing` (where rows are compared) and
`cleaning`, shares 0 to 1."""
PROGRESS_SECONDS = 0.25
UNTOUCHED, TOUCHED, DROPPED = range(3)
_REASONS = {EXACT: "exact_duplicate", NEAR: "near_duplicate", LEAKS: "leak"}


def look(
    rows: Sequence[Row],
    choices: Iterable[Choice],
    stop: Callable[[], None] = lambda: None,
    progress: Progress = lambda event: None,
    *,
    splits: np.ndarray | None = None,
    files: Sequence[str] = (),
    tokens: Tokens | None = None,
) -> Report:
    """What the steps would do; nothing changes. `splits` is int8 a row, 0 for training (of stored rows their own);
    `files` are the names of their files; `stop` is called often and raises where the look was cancelled.

    A step that needs a tokenizer is named in `unlooked` where there is none.
    """
    asked = chosen(choices, files, tokens)
    can = [one for one in asked if tokens or not STEPS[one.step].needs_tokens]
    walk = Walk(rows, can, stop, progress, splits)
    for _ in walk.rows():
        pass
    report = walk.collector.report
    report.unlooked = [one.step for one in asked if one not in can]
    return report


def apply(
    store: DatasetStore,
    id: str,
    choices: Iterable[Choice],
    stop: Callable[[], None] = lambda: None,
    progress: Progress = lambda event: None,
    *,
    tokens: Tokens | None = None,
) -> DatasetInfo:
    """A new version of the dataset `id` with what the steps leave of it; the version before stays as it is.

    Raises `Problem`: `dataset.nothing_found` where no step would change a row, `dataset.nothing_left`,
    `dataset.step_needs_tokens`, those of `steps.chosen`, and what `stop` raises; then nothing has changed.
    """
    info = store.get(id)
    asked = chosen(choices, files_of(info), tokens)
    for one in asked:
        if STEPS[one.step].needs_tokens and tokens is None:
            raise Problem("dataset.step_needs_tokens", step=one.step)
    walk = Walk(info.rows(), asked, stop, progress)
    changed: set[tuple[int, int]] = set()
    """Of the row that is stored just now."""

    def kept() -> Iterator[Row | Dropped]:
        for before, after, reason in walk.rows():
            file, number = before.get("file", -1), before["row"]
            changed.clear()
            if reason:
                yield Dropped(number, *reason, file)
            elif len(after) > 1 or after[0] is not before:
                changed.add((file, number))
            yield from after
        report = walk.collector.report
        if not report.dropped and not report.changed:
            raise Problem("dataset.nothing_found", file=info.name)

    def changes() -> Iterator[dict[str, Any]]:
        """Counted once all rows have gone by."""
        for one in walk.collector.report.steps:
            options = {"action": one.action, **one.options}
            yield {"step": one.step, "options": options, "counts": {**one.counts, "reasons": one.reasons}}

    return derive(store, id, kept(), changes(), changed=changed, stop=stop)


def files_of(info: DatasetInfo) -> Sequence[str]:
    return info.files or [info.file_name]


class Walk:
    """All rows through the steps, in order."""

    def __init__(
        self, rows: Sequence[Row], asked: Sequence[Asked], stop: Callable[[], None], progress: Progress,
        splits: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self._rows, self._stop, self._progress, self._asked = rows, stop, progress, asked
        self._splits = rows.places()[1] if splits is None and isinstance(rows, Rows) else splits
        self._copies = [one for one in asked if one.step in COPIES]
        at = [one.step in COPIES for one in asked]
        cut = at.index(True) if True in at else len(asked)
        self._early = _judges(asked[:cut]) if self._copies else []
        self._late = _judges([one for one in asked[cut if self._copies else 0 :] if one.step not in COPIES])
        self.collector = Collector(asked)
        self._told = 0.0

    def rows(self) -> Iterator[tuple[Row, tuple[Row, ...], Found | None]]:
        """Each row, what comes of it, and why nothing does."""
        states, copies = self._compared() if self._copies else (None, None)
        for at, row in enumerate(self._rows):
            self._stop()
            self._tell("cleaning", at / len(self._rows))
            yield self._one(at, row, states, copies)

    def _one(
        self, at: int, row: Row, states: np.ndarray | None, copies: Copies | None
    ) -> tuple[Row, tuple[Row, ...], Found | None]:
        after: tuple[Row, ...] = (row,)
        reason: Found | None = None
        if states is not None and states[at] != UNTOUCHED:
            after, reason = self._through(self._early, at, after)
        if copies is not None and after:
            after, reason = self._as_copy(copies, at, after)
        if after:
            after, reason = self._through(self._late, at, after)
        self.collector.saw(at, row, after)
        return row, after, reason

    def _through(
        self, judges: Sequence[tuple[Judge, Asked]], at: int, rows: tuple[Row, ...]
    ) -> tuple[tuple[Row, ...], Found | None]:
        """Each judge sees what the one before it made; the reason is that of the last row left out, where none is
        left."""
        reason = None
        for judge, asked in judges:
            made: list[Row] = []
            for row in rows:
                verdict = judge(row, asked)
                if verdict is not None:
                    self.collector.judged(asked.step, at, row, verdict)
                    reason = verdict.found[0]
                made += (row,) if verdict is None or verdict.rows is None else verdict.rows
            if not made:
                return (), reason
            rows = tuple(made)
        return rows, None

    def _compared(self) -> tuple[np.ndarray, Copies]:
        """The first pass: what the steps before did to each row, and which rows are copies."""
        count = len(self._rows)
        states: np.ndarray = np.zeros(count, np.int8)
        sketches = Sketches(count, with_near=any(one.step != EXACT for one in self._copies))
        for at, row in enumerate(self._rows):
            self._stop()
            self._tell("looking", at / count)
            for judge, asked in self._early:
                if (verdict := judge(row, asked)) is not None:
                    states[at] = TOUCHED
                    if verdict.rows is not None:
                        row = verdict.rows[0] if verdict.rows else {}
                    if not row:
                        states[at] = DROPPED
                        break
            if row:
                sketches.add(at, row, sketched(row))
        sketches.finish()
        splits = self._splits if self._splits is not None else np.zeros(count, np.int8)
        copies = Copies(lambda at: self._early_of(self._rows[at]), sketches, splits, states != DROPPED, self._stop)
        for number, asked in enumerate(self._copies):
            for share in copies.find(asked):
                self._tell("comparing", (number + share) / len(self._copies))
        return states, copies

    def _early_of(self, row: Row) -> Row:
        """A row as the steps before left it."""
        for judge, asked in self._early:
            if (verdict := judge(row, asked)) is not None and verdict.rows:
                row = verdict.rows[0]
        return row

    def _as_copy(self, copies: Copies, at: int, rows: tuple[Row, ...]) -> tuple[tuple[Row, ...], Found | None]:
        for asked in self._copies:
            if at not in (found := copies.of[asked.step]):
                continue
            first, similarity = found[at]
            first_row = self._rows[first]
            params = {"of": self._named(first_row, asked), "similarity": f"{100 * similarity:.0f} %"}
            reason = (_REASONS[asked.step], params if asked.step != EXACT else {"of": params["of"]})
            verdict = Verdict([reason], () if asked.action == "drop" else None)
            self.collector.judged(asked.step, at, rows[0], verdict)
            if self.collector.wants(asked.step, first):
                pair = copy_of(first, first_row, 1.0), copy_of(at, rows[0], similarity)
                self.collector.copied(asked.step, *pair)
            if asked.action == "drop":
                return (), reason
        return rows, None

    def _named(self, row: Row, asked: Asked) -> str:
        """The number of a row, with its file where there are several."""
        number = f"{row['row']:,}"
        return f"{asked.file_of(row)}: {number}" if "file" in row else number

    def _tell(self, phase: str, share: float) -> None:
        now = time.monotonic()
        if now - self._told > PROGRESS_SECONDS:
            self._told = now
            report = self.collector.report
            self._progress({"phase": phase, "share": share, "kept": report.kept, "dropped": report.dropped})


def _judges(asked: Sequence[Asked]) -> list[tuple[Judge, Asked]]:
    return [(judge, one) for one in asked if (judge := STEPS[one.step].judge) is not None]
