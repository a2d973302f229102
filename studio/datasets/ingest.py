"""An uploaded file becomes a stored dataset, in one pass and bounded memory. Either all of it is stored or nothing."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.draft import OTHER_SHAPE, Draft
from studio.datasets.files.reading import read
from studio.datasets.shapes.columns import COLUMNS, columns_of
from studio.datasets.shapes.formats import columns_read, label_is_class, normalise, recognise
from studio.datasets.shapes.other_shapes import OtherShapes
from studio.datasets.shapes.threads import JOINED_BY, Threads
from studio.datasets.source import RowError, Source, open_source
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.datasets.text import cleaned
from studio.datasets.values import is_blank, type_word
from studio.disk.storage import storage_problems

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
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[dict[str, Any], None, DatasetInfo]:
    """Yield progress (`{"phase", "share", "read", "kept", "dropped"}`: what is done, how far that is, the share of the
    file that has been read, rows); the generator returns `DatasetInfo`.

    Phases are `reading`, `joining` (of messages, a row each), `storing`, and `syncing`, which has no share: the disk
    says nothing. How long rows are is no matter of the file: a base's tokenizer says that, once they are stored. Raises
    `Problem` (`dataset.*`, `storage.*`), after which nothing has changed.
    """
    low, high = EVAL_SHARE_LIMITS
    if isinstance(eval_share, bool) or not isinstance(eval_share, (int, float)) or not low <= eval_share <= high:
        raise Problem("dataset.eval_share", field="eval_share", value=str(eval_share)[:40])
    source = open_source(path, name)

    def stop() -> None:
        if cancelled():
            raise Problem("dataset.cancelled", file=source.name)

    source.stop = stop
    store.sweep()
    with store.draft() as draft, storage_problems(store.root), _clean_problems():
        draft.stop = stop
        filling = _Filling(draft, source)
        yield from filling.fill()
        if not draft.kept:
            first = next(iter(draft.dropped_so_far(1)))
            raise Problem("dataset.none_left", file=source.name, dropped=draft.dropped, **first)
        counts = {"kept": draft.kept, "dropped": draft.dropped}
        folder = yield from _now_and_then(counts, draft.finishing(
            name=source.name, shape=filling.shape, file_name=source.name, encoding=source.encoding,
            eval_share=float(eval_share), seed=seed, columns=filling.columns_read(),
        ))  # fmt: skip
    return store.get(folder.name)


def _now_and_then(counts: dict[str, int], events: Iterator[dict[str, Any]]) -> Generator[dict[str, Any], None, Any]:
    """Events that come thick, four a second, and each change of phase; returns what `events` returns."""
    reported, phase = 0.0, None
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            return stop.value
        if time.monotonic() - reported > PROGRESS_SECONDS or event["phase"] != phase:
            reported, phase = time.monotonic(), event["phase"]
            yield {**event, "read": 1.0, **counts}


@contextlib.contextmanager
def _clean_problems() -> Iterator[None]:
    """Names of columns stand in sentences, and half a character in one could not be sent anywhere."""
    try:
        yield
    except Problem as problem:
        problem.params = cleaned(problem.params)
        raise


def _guarded(rows: Iterator[tuple[int, Any]], source: Source) -> Iterator[tuple[int, Any]]:
    """What a library raises in the middle of a file is that file's fault, and names the row; it never ends the
    worker."""
    number = 0
    try:
        for number, value in rows:
            yield number, value
    except (Problem, MemoryError):
        raise
    except OSError as error:
        raise Problem("dataset.unreadable", file=source.name, reason=error.strerror or str(error)) from error
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"[:200]
        raise Problem("dataset.unread_row", file=source.name, row=number + 1, detail=detail) from error


class _Filling:
    """A file's rows on their way into a draft, each by the shape of the file."""

    def __init__(self, draft: Draft, source: Source) -> None:
        self.draft, self.source = draft, source
        rows = _guarded(read(source), source)
        peeked = list(itertools.islice(rows, PEEK_ROWS))
        self.shape, self.typical = _shape(source, peeked)
        self.columns = columns_of(self.typical)
        self.others = OtherShapes(self.shape, self.columns, is_class=_label_is_class(self.shape, self.columns, peeked))
        self.rows = itertools.chain(peeked, rows)
        self.phase = "reading"

    def columns_read(self) -> dict[str, str]:
        """Which column was read as what."""
        return columns_read(self.shape, self.typical)

    def fill(self) -> Iterator[dict[str, Any]]:
        """Normalise row after row; yields progress."""
        joins = self.shape == "threads"
        reader = "openai" if joins else self.shape
        reported = time.monotonic()
        for number, value in (yield from self._joined()) if joins else self.rows:
            self.draft.stop()
            self.draft.read += not joins
            self._take(reader, number, value)
            _check_size(self.draft.text_bytes, self.source, number)
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                yield self._event()

    def _take(self, reader: str, number: int, value: Any) -> None:
        unused: set[str] = set()
        try:
            if isinstance(value, RowError):
                raise value
            self.others.check(value)
            content, changed = normalise(reader, value, self.columns, unused)
        except RowError as error:
            error = self.others.instead(value, error)
            if error.reason == OTHER_SHAPE:
                unused.clear()  # the row is what is not used
            self.draft.drop(number, error.reason, **error.params)
        except RecursionError:
            self.draft.drop(number, "deep", column=", ".join(map(str, value))[:80])
        except Exception as error:  # a value nobody thought of costs its row, not the file
            self.draft.drop(number, "unread", detail=f"{type(error).__name__}: {error}"[:160])
        else:
            self.draft.keep({**content, "row": number}, changed)
        self.draft.leave(unused)

    def _event(self) -> dict[str, Any]:
        done = {"kept": self.draft.kept, "dropped": self.draft.dropped}
        read = self.source.progress
        return {"phase": self.phase, "share": read if self.phase == "reading" else None, "read": read, **done}

    def _joined(self) -> Generator[dict[str, Any], None, Any]:
        """Yields progress; returns the conversations of a file with one message a row, which has to be read to its end
        first."""
        threads = Threads(self.columns)
        reported = time.monotonic()
        for number, value in self.rows:
            self.draft.stop()
            self.draft.read += 1
            threads.add(number, value)
            _check_size(threads.characters, self.source, number)
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                yield self._event()
        for unused in threads.unused.values():
            self.draft.leave(unused)
        self.phase = "joining"
        yield self._event()
        return threads.conversations()


def _check_size(text_bytes: int, source: Source, row: int) -> None:
    if text_bytes > TEXT_LIMIT_BYTES:
        raise Problem("dataset.too_much_text", file=source.name, row=row, limit=f"{TEXT_LIMIT_BYTES // 1024**2:,} MiB")


def _shape(source: Source, peeked: list[tuple[int, Any]]) -> tuple[str, dict[str, Any]]:
    """The shape of the first row that has one, and that row; without any, a `Problem` that says what was found
    and what is needed."""
    if not peeked:
        raise Problem("dataset.empty", file=source.name)
    objects = [(number, value) for number, value in peeked if isinstance(value, dict)]
    found = [(shape, number, value) for number, value in objects if (shape := _recognised(value))]
    # A mark of good or bad that stands in some rows only is none the less a mark.
    found.sort(key=lambda one: one[0] not in ("preference", "unpaired"))
    for shape, number, value in found[:1]:
        columns = columns_of(value)
        if shape == "unpaired" and _label_is_class(shape, columns, objects):
            shape = recognise({name: inner for name, inner in value.items() if name != columns["label"]})
        if shape == "text":
            _check_text(source, number, value, columns)
        if shape == "message":
            shape = _thread_shape(source, number, value, columns)
        return shape, value
    number, value = objects[0] if objects else peeked[0]
    if not objects and isinstance(error := peeked[0][1], RowError):
        raise Problem("dataset.fields", file=source.name, row=number, **error.params)
    if not objects:
        raise Problem("dataset.not_objects", file=source.name, row=number, found=type_word(value))
    names = _names(value)
    if source.format == "csv" and looks_like_a_row(list(value)):
        raise Problem("dataset.no_header", file=source.name, found=names)
    for have, lack in (("instruction", "output"), ("output", "instruction"), ("input", "output")):
        if have in columns_of(value):
            needed = " / ".join(COLUMNS[lack][:4])
            raise Problem("dataset.missing_column", file=source.name, row=number, found=names, needed=needed)
    raise Problem("dataset.unknown_columns", file=source.name, row=number, found=names)


def _label_is_class(shape: str, columns: dict[str, str], rows: list[tuple[int, Any]]) -> bool:
    """Whether a `label` beside the answers is a class, by the first rows."""
    if shape == "preference" or "label" not in columns or "verdict" in columns:
        return False
    return label_is_class([one.get(columns["label"]) for _, one in rows if isinstance(one, dict)])


def _recognised(row: dict[str, Any]) -> str | None:
    try:
        return recognise(row)
    except RecursionError:
        return None


def _names(row: dict[str, Any]) -> str:
    return ", ".join(str(name)[:40] for name in list(row)[:12]) or "-"


def _check_text(source: Source, number: int, row: dict[str, Any], columns: dict[str, str]) -> None:
    """A question beside a text, and no answer: whether the text is the answer is not for us to guess."""
    asked = next(
        (columns[part] for part in ("instruction", "input") if part in columns and not is_blank(row[columns[part]])),
        None,
    )
    if asked is not None:
        raise Problem(
            "dataset.text_or_answer",
            file=source.name,
            row=number,
            asked=str(asked)[:40],
            text=str(columns["text"])[:40],
        )


def _thread_shape(source: Source, number: int, row: dict[str, Any], columns: dict[str, str]) -> str:
    """`threads`, where the rows say which conversation they belong to."""
    if "parent" in columns and "id" in columns or "thread" in columns:
        return "threads"
    needed = " / ".join(COLUMNS[part][0] for part in JOINED_BY)
    raise Problem("dataset.message_rows", file=source.name, row=number, found=_names(row), needed=needed)


def looks_like_a_row(names: list[str]) -> bool:
    """Whether what stands in a header's place reads like sentences or numbers."""
    return any(
        len(name) > 40
        or len(name.split()) > 3
        or name.rstrip().endswith(tuple(".?!。？！…"))
        or name.replace(".", "", 1).isdigit()
        for name in map(str, names)
    )


def run(events: Iterator[dict[str, Any]]) -> DatasetInfo:
    """Ingest to the end for callers that show no progress."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value
