"""Uploaded files become a stored dataset, in one pass and bounded memory. Either all of it is stored or nothing."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from estimator.core.problems import Problem
from studio.datasets.asked import asked_of
from studio.datasets.draft import OTHER_SHAPE, Draft
from studio.datasets.entries.entry import Entry
from studio.datasets.entries.telling import tell
from studio.datasets.files.apart import Apart
from studio.datasets.files.opening import Given, Opened, opened
from studio.datasets.hub.bring import Brought
from studio.datasets.hub.reference import Reference
from studio.datasets.recognising import PEEK_ROWS, Asked, recognised
from studio.datasets.shapes.mixed import Mixed
from studio.datasets.shapes.threads import Threads
from studio.datasets.source import RowError, Source, check_room, check_unfolded
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.datasets.text import cleaned, safe_name
from studio.disk.storage import storage_problems

Result = TypeVar("Result")
Fetch = Callable[[Reference, Callable[[], None]], Generator[dict[str, Any], None, Brought]]
EVAL_SHARE_LIMITS = (0.0, 0.5)
JOINED_CHARACTERS = 256 * 1024**2
"""Of a file with one message a row, which is joined in memory."""
SPLIT_NAMES = {"train": "train", "validation": "eval", "test": "test"}
FOR_ALL = ("storage.", "dataset.cancelled", "dataset.no_room")
"""Problems that are not one file's."""
PROGRESS_SECONDS = 0.25


def ingest(
    store: DatasetStore,
    path: Path | Sequence[tuple[Path, str] | Given],
    name: str | None = None,
    *,
    eval_share: float = 0.1,
    test_share: float = 0.0,
    stratify: bool = False,
    seed: int = 42,
    shape: str | None = None,
    mapping: Mapping[str, str | None] | None = None,
    origin: Mapping[str, str] | None = None,
    left: Sequence[Problem] = (),
    entry: str | None = None,
    beside: bool = False,
    fetch: Fetch | None = None,
    parent: DatasetInfo | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[dict[str, Any], None, DatasetInfo]:
    """Yield progress (`{"phase", "share", "read", "kept", "dropped"}`: what is done, how far that is, the share of the
    files that has been read, rows); the generator returns `DatasetInfo`.

    `path` is a file, an archive or a folder that its user calls `name`, or several of them, each with its name. Of
    several a file that cannot be read is named in `DatasetInfo.file_counts` or `left_files`, and the others go on;
    where none can, the first one's problem is raised.

    `eval_share` and `test_share` (0 to 0.5 each) of the rows are held out, by label with `stratify`, unless the files
    say themselves which. `shape` and `mapping` say what the rows are where that is not what is recognised: one of
    `formats.SHAPES`, and `{part: column}` (`studio.datasets.asked`); with a `parent` it is a new version of that.
    `origin` says where the files are from, `left` what of it was not taken: both are kept with the dataset.

    Where a description came with the files (`studio.datasets.entries`), `entry` chooses of it; `beside`: its files may
    lie beside it; `fetch` brings those that it names of a hub.

    Phases are `unpacking`, `reading`, `joining` (of messages, a row each), `storing`, and `syncing`, which has no
    share: the disk says nothing. How long rows are is no matter of the file: a base's tokenizer says that, once they
    are stored. Raises `Problem` (`dataset.*`, `storage.*`), after which nothing has changed.
    """
    for field, share in (("eval_share", eval_share), ("test_share", test_share)):
        check_share(field, share)
    asked_of(shape, mapping)
    brought = [Given(path, name or path.name)] if isinstance(path, Path) else [Given(*one) for one in path]
    paths = [one._replace(path=one.path.absolute()) for one in brought]  # some readers are processes of their own
    title = safe_name(name) if name else title_of([Path(one.name) for one in paths])

    def stop() -> None:
        if cancelled():
            raise Problem("dataset.cancelled", file=title)

    store.sweep()
    with store.draft() as draft, storage_problems(store.root), _clean_problems(), Apart() as apart:
        draft.stop = stop
        with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=store.root) as scratch:
            found = yield from _opened(paths, Path(scratch), apart, stop)
            told = tell(found, {one.path for one in paths}, entry, beside)
            for one in told.to_fetch:
                yield from _fetched(found, one, fetch, Path(scratch), apart, stop)
            reading = _Files(draft, found, apart, shape, mapping)
            yield from reading.fill()
        if not draft.kept:
            reading.raise_problem()
            first = next(iter(draft.dropped_so_far(1)))
            raise Problem("dataset.none_left", file=title, dropped=draft.dropped, **first)
        counts = {"kept": draft.kept, "dropped": draft.dropped}
        folder = yield from _now_and_then(counts, draft.finishing(
            name=name or told.name or title, shape=reading.shape, shapes=dict(reading.shapes), file_name=title,
            encoding=found.sources[0].encoding, eval_share=float(eval_share), test_share=float(test_share),
            stratify=stratify, seed=seed, columns=reading.columns,
            left_files=[*({"file": title, "problem": one.to_dict()} for one in (*left, *told.left)), *found.left],
            file_counts=reading.files, origin=dict(origin or {}),
            files=[one["name"] for one in reading.files] if len(reading.files) > 1 else [],
            **_lineage(parent, shape, mapping),
        ))  # fmt: skip
    return store.get(folder.name)


def _lineage(parent: DatasetInfo | None, shape: str | None, mapping: Mapping[str, str | None] | None) -> dict[str, Any]:
    """How it came about, where its user said how to read it, or it is a file read anew."""
    options = {"shape": shape or "", "mapping": dict(mapping or {})}
    told = {"changes": [{"step": "read", "options": options, "counts": {}}]} if shape or mapping or parent else {}
    return told | ({"parent": parent.id, "series": parent.first} if parent else {})


def check_share(field: str, share: Any) -> None:
    low, high = EVAL_SHARE_LIMITS
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not low <= share <= high:
        raise Problem("dataset.eval_share", field=field, value=str(share)[:40])


def title_of(paths: list[Path]) -> str:
    """What several files are called together: `a.jsonl + 2`."""
    first = safe_name(paths[0].name) if paths else ""
    return first if len(paths) < 2 else f"{first} + {len(paths) - 1}"


def _opened(
    paths: Sequence[Given], scratch: Path, apart: Apart, stop: Callable[[], None]
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


def _fetched(
    found: Opened, entry: Entry, fetch: Fetch | None, scratch: Path, apart: Apart, stop: Callable[[], None]
) -> Generator[dict[str, Any], None, None]:
    """The files of an entry that a hub has."""
    if fetch is None or entry.reference is None:
        raise Problem("dataset.entry_of_a_hub", file=entry.name, value=entry.reference.shown)
    brought = yield from fetch(entry.reference, stop)
    more = yield from _opened(brought.given, scratch / f"hub{len(found.sources)}", apart, stop)
    for source in more.sources:
        source.said, source.split = (entry.shape, entry.mapping), entry.role or source.split
    found.sources += more.sources
    found.left += [*({"file": entry.name, "problem": one.to_dict()} for one in brought.left), *more.left]


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


def guarded(rows: Iterator[tuple[int, Any]], source: Source) -> Iterator[tuple[int, Any]]:
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

    def __init__(
        self, draft: Draft, found: Opened, apart: Apart, shape: str | None, mapping: Mapping[str, str | None] | None
    ) -> None:
        self.draft, self.sources, self.apart = draft, found.sources, apart
        self._shape, self._mapping = shape, mapping
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

    def _asked(self, source: Source) -> Asked:
        """What the user says goes before what a description of the file says."""
        shape, mapping = source.said or (None, {})
        if self._shape:
            shape, mapping = self._shape, {}
        return asked_of(shape, {**mapping, **(self._mapping or {})} or None)

    def fill(self) -> Iterator[dict[str, Any]]:
        total, before = max(1, sum(source.size_bytes for source in self.sources)), 0
        for index, source in enumerate(self.sources):
            counted = self.draft.read, self.draft.kept, self.draft.dropped
            one: dict[str, Any] = {"name": source.shown, "size_bytes": source.size_bytes}
            try:
                place = index if len(self.sources) > 1 else None
                filling = _Filling(self.draft, source, place, self.apart, self._asked(source))
                filling.split = self.splits.get(source.split)
                for event in filling.fill():
                    read = (before + event["read"] * source.size_bytes) / total
                    share = read if event["phase"] == "reading" else event["share"]
                    yield {**event, "read": read, "share": share, "file": source.shown}
                self.columns = self.columns or filling.recognised.columns_read()
            except Problem as problem:
                if len(self.sources) == 1 or problem.code.startswith(FOR_ALL):
                    raise
                one["problem"] = cleaned_problem(problem).to_dict()
            before += source.size_bytes
            now = self.draft.read, self.draft.kept, self.draft.dropped
            read, kept, dropped = (after - earlier for after, earlier in zip(now, counted, strict=True))
            if kept:
                self.shapes.update(filling.shapes)
            one |= {"read": read, "kept": kept, "dropped": dropped}
            self.files.append(one | ({"split": source.split} if source.split else {}))

    def raise_problem(self) -> None:
        """The first file's problem, where no row of any can be used for such a reason."""
        for one in self.files:
            if "problem" in one and not self.draft.dropped:
                raise Problem(one["problem"]["code"], **one["problem"]["params"])


class _Filling:
    """A file's rows on their way into a draft, each by the shape of the file."""

    def __init__(self, draft: Draft, source: Source, index: int | None, apart: Apart, asked: Asked) -> None:
        self.draft, self.source = draft, source
        self.place = {} if index is None else {"file": index}
        self.split: str | None = None
        """Of all its rows, where the file's own place says it."""
        self.text_before = draft.text_bytes
        rows = guarded(apart.read(source), source)
        peeked = list(itertools.islice(rows, PEEK_ROWS))
        self.recognised = found = recognised(source, peeked, asked)
        self.shape, self.shapes = found.shape, Counter[str]()
        self.mixed = Mixed("openai" if self.joins else found.shape, found.columns, found.mapping, found.is_class,
                           is_told=bool(asked.shape) or self.joins)  # fmt: skip
        self.rows = itertools.chain(peeked, rows)
        self.phase = "reading"

    @property
    def joins(self) -> bool:
        return self.shape == "threads"

    def fill(self) -> Iterator[dict[str, Any]]:
        """Normalise row after row; yields progress."""
        reported = time.monotonic()
        for number, value in (yield from self._joined()) if self.joins else self.rows:
            self.draft.stop()
            self.draft.read += not self.joins
            self._take(number, value)
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                self._check_size(self.draft.text_bytes - self.text_before)
                yield self._event()

    def _check_size(self, text_bytes: int) -> None:
        """What is read is bounded by the disk, and by what a file of this size can sensibly hold."""
        check_unfolded(self.source.shown, self.source.size_bytes, text_bytes)
        check_room(self.draft.folder, self.source.shown, 0)

    def _take(self, number: int, value: Any) -> None:
        unused: set[str] = set()
        try:
            if isinstance(value, RowError):
                raise value
            shape, content, changed = self.mixed.read(value, unused)
        except RowError as error:
            if error.reason == OTHER_SHAPE:
                unused.clear()  # the row is what is not used
            self.draft.drop(number, error.reason, **self.place, **error.params)
        except RecursionError:
            self.draft.drop(number, "deep", **self.place, column=", ".join(map(str, value))[:80])
        except Exception as error:  # a value nobody thought of costs its row, not the file
            self.draft.drop(number, "unread", **self.place, detail=f"{type(error).__name__}: {error}"[:160])
        else:
            self.draft.keep_content(content, number, self.place.get("file", -1), changed, self.split)
            self.shapes[self.shape if self.joins else shape] += 1
        self.draft.leave(unused)

    def _event(self) -> dict[str, Any]:
        done = {"kept": self.draft.kept, "dropped": self.draft.dropped}
        read = self.source.progress
        return {"phase": self.phase, "share": read if self.phase == "reading" else None, "read": read, **done}

    def _joined(self) -> Generator[dict[str, Any], None, Any]:
        """Yields progress; returns the conversations of a file with one message a row, which has to be read to its end
        first."""
        threads = Threads(self.recognised.columns, self.recognised.mapping)
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


def run(events: Generator[Any, None, Result]) -> Result:
    """To the end, for callers that show no progress."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value
