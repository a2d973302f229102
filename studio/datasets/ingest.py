"""An uploaded file becomes a stored dataset, in one pass and bounded memory. Either all of it is stored or nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from estimator.problems import Problem
from studio.datasets.draft import Draft
from studio.datasets.formats import COLUMNS, columns_of, normalise, recognise, type_word
from studio.datasets.reading import RowError, Source, open_source, read
from studio.datasets.store import DatasetInfo, DatasetStore

EVAL_SHARE_LIMITS = (0.0, 0.5)
# Rows looked at to recognise the shape: a few odd ones at the top must not decide.
PEEK_ROWS = 100
# Parquet and UTF-16 may unfold to more text than the file has bytes; this bounds what one upload takes of the disk.
TEXT_LIMIT_BYTES = 1024**3
PROGRESS_SECONDS = 0.25


def ingest(
    store: DatasetStore,
    path: Path,
    name: str | None = None,
    *,
    eval_share: float = 0.1,
    seed: int = 42,
    check: Callable[[Draft, str], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[dict[str, Any]]:
    """Yield progress (`{"read", "kept", "dropped"}`, share of the file and rows); the generator returns `DatasetInfo`.

    `check(draft, file)` may refuse the whole (all rows too long, say) before anything is stored. Raises `Problem`
    (`dataset.*`, `storage.*`), after which nothing has changed.
    """
    low, high = EVAL_SHARE_LIMITS
    if isinstance(eval_share, bool) or not isinstance(eval_share, (int, float)) or not low <= eval_share <= high:
        raise Problem("dataset.eval_share", field="eval_share", value=str(eval_share)[:40])
    source = open_source(path, name)
    store.sweep()
    with store.draft() as draft:
        rows = read(source)
        peeked = list(itertools.islice(rows, PEEK_ROWS))
        shape = _shape(source, peeked)
        yield from _fill(draft, itertools.chain(peeked, rows), shape, source, cancelled)
        if not draft.kept:
            first = next(iter(draft.dropped_so_far(1)))
            raise Problem("dataset.none_left", file=source.name, dropped=draft.dropped, **first)
        if check:
            check(draft, source.name)
        folder = draft.finish(
            name=source.name, shape=shape, file_name=source.name, encoding=source.encoding,
            eval_share=float(eval_share), seed=seed,
        )  # fmt: skip
    return store.get(folder.name)


def _fill(
    draft: Draft, rows: Iterator[tuple[int, Any]], shape: str, source: Source, cancelled: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """Normalise row after row into the draft."""
    reported = 0.0
    for number, value in rows:
        try:
            if isinstance(value, RowError):
                raise value
            content, changed = normalise(shape, value)
        except RowError as error:
            draft.drop(number, error.reason, **error.params)
        else:
            draft.keep({**content, "row": number}, changed)
        if draft.text_bytes > TEXT_LIMIT_BYTES:
            raise Problem("dataset.too_much_text", file=source.name, row=number, limit=f"{TEXT_LIMIT_BYTES // 1024**2:,} MiB")
        if time.monotonic() - reported > PROGRESS_SECONDS:
            if cancelled():
                raise Problem("dataset.cancelled", file=source.name)
            reported = time.monotonic()
            yield {"read": source.progress, "kept": draft.kept, "dropped": draft.dropped}


def _shape(source: Source, peeked: list[tuple[int, Any]]) -> str:
    """The shape of the first row that has one; without any, a `Problem` that says what was found and what is needed."""
    if not peeked:
        raise Problem("dataset.empty", file=source.name)
    objects = [(number, value) for number, value in peeked if isinstance(value, dict)]
    for _, value in objects:
        if shape := recognise(value):
            return shape
    number, value = objects[0] if objects else peeked[0]
    if isinstance(value, RowError):
        raise Problem("dataset.fields", file=source.name, row=number, **value.params)
    if not objects:
        raise Problem("dataset.not_objects", file=source.name, row=number, found=type_word(value))
    found = ", ".join(str(name)[:40] for name in list(value)[:12]) or "-"
    for have, lack in (("instruction", "output"), ("output", "instruction"), ("input", "output")):
        if have in columns_of(value):
            needed = " / ".join(COLUMNS[lack][:4])
            raise Problem("dataset.missing_column", file=source.name, row=number, found=found, needed=needed)
    raise Problem("dataset.unknown_columns", file=source.name, row=number, found=found)


def run(events: Iterator[dict[str, Any]]) -> DatasetInfo:
    """Ingest to the end for callers that show no progress."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value
