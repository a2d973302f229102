"""Uploaded files become a stored dataset, in one pass and bounded memory. Either all of it is stored or nothing."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.draft import OTHER_SHAPE, Draft
from studio.datasets.files.apart import Apart
from studio.datasets.files.opening import Opened, opened
from studio.datasets.shapes.columns import COLUMNS, columns_of
from studio.datasets.shapes.formats import columns_read, label_is_class, normalise, recognise
from studio.datasets.shapes.other_shapes import OtherShapes
from studio.datasets.shapes.threads import JOINED_BY, Threads
from studio.datasets.source import RowError, Source, check_room, check_unfolded
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.datasets.text import cleaned, safe_name
from studio.datasets.values import is_blank, type_word
from studio.disk.storage import storage_problems

EVAL_SHARE_LIMITS = (0.0, 0.5)
# Rows looked at to recognise the shape: a few odd ones at the top must not decide.
PEEK_ROWS = 100
JOINED_CHARACTERS = 256 * 1024**2
"""Of a file with one message a row, which is joined in memory."""
SPLIT_NAMES = {"train": "train", "validation": "eval", "test": "test"}
FOR_ALL = ("storage.", "dataset.cancelled", "dataset.no_room")
"""Problems that are not one file's."""
PROGRESS_SECONDS = 0.25


def ingest(
    store: DatasetStore,
    path: Path | Sequence[tuple[Path, str]],
    name: str | None = None,
    *,
    eval_share: float = 0.1,
    seed: int = 42,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[dict[str, Any], None, DatasetInfo]:
    """Yield progress (`{"phase", "share", "read", "kept", "dropped"}`: what is done, how far that is, the share of the
    files that has been read, rows); the generator returns `DatasetInfo`.

    `path` is a file, an archive or a folder that its user calls `name`, or several of them, each with its name. Of
    several a file that cannot be read is named in `DatasetInfo.file_counts` or `left_files`, and the others go on;
    where none can, the first one's problem is raised.

    Phases are `unpacking`, `reading`, `joining` (of messages, a row each), `storing`, and `syncing`, which has no
    share: the disk says nothing. How long rows are is no matter of the file: a base's tokenizer says that, once they
    are stored. Raises `Problem` (`dataset.*`, `storage.*`), after which nothing has changed.
    """
    low, high = EVAL_SHARE_LIMITS
    if isinstance(eval_share, bool) or not isinstance(eval_share, (int, float)) or not low <= eval_share <= high:
        raise Problem("dataset.eval_share", field="eval_share", value=str(eval_share)[:40])
    paths = [(path, name or path.name)] if isinstance(path, Path) else list(path)
    title = safe_name(name) if name else title_of([Path(one) for _, one in paths])

    def stop() -> None:
        if cancelled():
            raise Problem("dataset.cancelled", file=title)

    store.sweep()
    with store.draft() as draft, storage_problems(store.root), _clean_problems(), Apart() as apart:
        draft.stop = stop
        with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=store.root) as scratch:
            found = yield from _opened(paths, Path(scratch), apart, stop)
            reading = _Files(draft, found, apart)
            yield from reading.fill()
        if not draft.kept:
            reading.raise_problem()
            first = next(iter(draft.dropped_so_far(1)))
            raise Problem("dataset.none_left", file=title, dropped=draft.dropped, **first)
        counts = {"kept": draft.kept, "dropped": draft.dropped}
        folder = yield from _now_and_then(counts, draft.finishing(
            name=title, shape=reading.shape, file_name=title, encoding=found.sources[0].encoding,
            eval_share=float(eval_share), seed=seed, columns=reading.columns, left_files=found.left,
            files=[one["name"] for one in reading.files] if len(reading.files) > 1 else [], file_counts=reading.files,
        ))  # fmt: skip
    return store.get(folder.name)


def title_of(paths: list[Path]) -> str:
    """What several files are called together: `a.jsonl + 2`."""
    first = safe_name(paths[0].name) if paths else ""
    return first if len(paths) < 2 else f"{first} + {len(paths) - 1}"


def _opened(
    paths: list[tuple[Path, str]], scratch: Path, apart: Apart, stop: Callable[[], None]
) -> Generator[dict[str, Any], None, Opened]:
    shares = opened(paths, scratch, apart, stop)
    counts, reported = {"read": 0.0, "kept": 0, "dropped": 0}, 0.0
    while True:
        try:
            share = next(shares)
        except StopIteration as end:
            return end.value
        if time.monotonic() - reported > PROGRESS_SECONDS:
            reported = time.monotonic()
            yield {"phase": "unpacking", "share": share, **counts}


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
        cleaned_problem(problem)
        raise


def cleaned_problem(problem: Problem) -> Problem:
    problem.params = cleaned(problem.params)
    return problem


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
        raise Problem("dataset.unreadable", file=source.shown, reason=error.strerror or str(error)) from error
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"[:200]
        raise Problem("dataset.unread_row", file=source.shown, row=number + 1, detail=detail) from error


class _Files:
    """Several files on their way into one draft, one after another."""

    def __init__(self, draft: Draft, found: Opened, apart: Apart) -> None:
        self.draft, self.sources, self.apart = draft, found.sources, apart
        self.shapes: Counter[str] = Counter()
        splits = {source.split for source in self.sources}
        self.splits = SPLIT_NAMES if len(splits) > 1 else {}
        """Where all files are of one split, the user's share says which rows validate."""
        self.columns: dict[str, str] = {}
        self.files: list[dict[str, Any]] = []
        """What became of each: `{"name", "size_bytes", "read", "kept", "dropped"}`, `split` where its place says one,
        `problem` where it could not be read to its end."""

    @property
    def shape(self) -> str:
        """That of most rows."""
        return self.shapes.most_common(1)[0][0]

    def fill(self) -> Iterator[dict[str, Any]]:
        total, before = max(1, sum(source.size_bytes for source in self.sources)), 0
        for index, source in enumerate(self.sources):
            counted = self.draft.read, self.draft.kept, self.draft.dropped
            one: dict[str, Any] = {"name": source.shown, "size_bytes": source.size_bytes}
            try:
                filling = _Filling(self.draft, source, index if len(self.sources) > 1 else None, self.apart)
                filling.split = self.splits.get(source.split)
                for event in filling.fill():
                    read = (before + event["read"] * source.size_bytes) / total
                    share = read if event["phase"] == "reading" else event["share"]
                    yield {**event, "read": read, "share": share, "file": source.shown}
                self.columns = self.columns or filling.columns_read()
            except Problem as problem:
                if len(self.sources) == 1 or problem.code.startswith(FOR_ALL):
                    raise
                one["problem"] = cleaned_problem(problem).to_dict()
            before += source.size_bytes
            now = self.draft.read, self.draft.kept, self.draft.dropped
            read, kept, dropped = (after - earlier for after, earlier in zip(now, counted, strict=True))
            if kept:
                self.shapes[filling.shape] += kept
            one |= {"read": read, "kept": kept, "dropped": dropped}
            self.files.append(one | ({"split": source.split} if source.split else {}))

    def raise_problem(self) -> None:
        """The first file's problem, where no row of any can be used for such a reason."""
        for one in self.files:
            if "problem" in one and not self.draft.dropped:
                raise Problem(one["problem"]["code"], **one["problem"]["params"])


class _Filling:
    """A file's rows on their way into a draft, each by the shape of the file."""

    def __init__(self, draft: Draft, source: Source, index: int | None, apart: Apart) -> None:
        self.draft, self.source = draft, source
        self.place = {} if index is None else {"file": index}
        self.split: str | None = None
        """Of all its rows, where the file's own place says it."""
        self.text_before = draft.text_bytes
        rows = _guarded(apart.read(source), source)
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
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                self._check_size(self.draft.text_bytes - self.text_before)
                yield self._event()

    def _check_size(self, text_bytes: int) -> None:
        """What is read is bounded by the disk, and by what a file of this size can sensibly hold."""
        check_unfolded(self.source.shown, self.source.size_bytes, text_bytes)
        check_room(self.draft.folder, self.source.shown, 0)

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
            self.draft.drop(number, error.reason, **self.place, **error.params)
        except RecursionError:
            self.draft.drop(number, "deep", **self.place, column=", ".join(map(str, value))[:80])
        except Exception as error:  # a value nobody thought of costs its row, not the file
            self.draft.drop(number, "unread", **self.place, detail=f"{type(error).__name__}: {error}"[:160])
        else:
            self.draft.keep({**content, "row": number, **self.place}, changed, self.split)
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
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                _check_memory(threads.characters, self.source, number)
                yield self._event()
        for unused in threads.unused.values():
            self.draft.leave(unused)
        self.phase = "joining"
        yield self._event()
        return threads.conversations()


def _check_memory(characters: int, source: Source, row: int) -> None:
    """Messages of a row each have to be held until the last one is read."""
    if characters > JOINED_CHARACTERS:
        limit = f"{JOINED_CHARACTERS // 1024**2:,} MiB"
        raise Problem("dataset.too_much_text", file=source.shown, row=row, limit=limit)


def _shape(source: Source, peeked: list[tuple[int, Any]]) -> tuple[str, dict[str, Any]]:
    """The shape of the first row that has one, and that row; without any, a `Problem` that says what was found
    and what is needed."""
    if not peeked:
        raise Problem("dataset.empty", file=source.shown)
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
        raise Problem("dataset.fields", file=source.shown, row=number, **error.params)
    if not objects:
        raise Problem("dataset.not_objects", file=source.shown, row=number, found=type_word(value))
    names = _names(value)
    if source.format == "csv" and looks_like_a_row(list(value)):
        raise Problem("dataset.no_header", file=source.shown, found=names)
    for have, lack in (("instruction", "output"), ("output", "instruction"), ("input", "output")):
        if have in columns_of(value):
            needed = " / ".join(COLUMNS[lack][:4])
            raise Problem("dataset.missing_column", file=source.shown, row=number, found=names, needed=needed)
    raise Problem("dataset.unknown_columns", file=source.shown, row=number, found=names)


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
            file=source.shown,
            row=number,
            asked=str(asked)[:40],
            text=str(columns["text"])[:40],
        )


def _thread_shape(source: Source, number: int, row: dict[str, Any], columns: dict[str, str]) -> str:
    """`threads`, where the rows say which conversation they belong to."""
    if "parent" in columns and "id" in columns or "thread" in columns:
        return "threads"
    needed = " / ".join(COLUMNS[part][0] for part in JOINED_BY)
    raise Problem("dataset.message_rows", file=source.shown, row=number, found=_names(row), needed=needed)


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
