"""Stored rows: one Arrow file that is mapped into memory, never read whole, and beside it which split each row is in.

    rows.arrow   an Arrow IPC stream, as `datasets.Dataset.from_file` opens it: `row` (int64, the number in its file),
                 `file` (int32, which of `DatasetInfo.files`; -1 of one alone), `data` (the row's content as JSON)
    splits.npy   int8 a row: its place in `SPLITS`

Content is JSON text and not Arrow's own lists and structs: those would give each key of any row to every row, as null,
and one type to all values of a key (of the arguments of tools, say). Versions before kept `train.jsonl` and
`eval.jsonl`: they are read where there is no `rows.arrow`.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

SPLITS = ("train", "eval", "test")
"""`eval` holds the validation rows."""
ROWS_FILE, SPLITS_FILE = "rows.arrow", "splits.npy"
CHANGED_FILE = "changed.npy"
"""int64: the places of rows whose text was cleaned or changed; only where there are some."""
OLD_FILES = {"train": "train.jsonl", "eval": "eval.jsonl"}
BATCH_ROWS, BATCH_CHARACTERS = 10_000, 4_000_000
"""A batch ends with whichever comes first: opening a file costs time with their number, a row with their size."""
AT_ONCE = 1_000
"""Rows that are Python objects at a time while all are gone through."""
Row = dict[str, Any]


def schema() -> Any:
    import pyarrow as pa

    return pa.schema([("row", pa.int64()), ("file", pa.int32()), ("data", pa.large_string())])


class Writer:
    """Rows into `path`, batch after batch. Nothing of a batch is there before it is full, or `close`."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self._file = path.open("wb")
        self._schema, self._batch = schema(), pa.record_batch
        self._stream = pa.ipc.new_stream(self._file, self._schema)
        self._rows: list[int] = []
        self._files: list[int] = []
        self._data: list[str] = []
        self._characters = 0

    def write(self, row: int, file: int, data: str) -> None:
        """One row: its number, its file and its content as JSON text. Raises `OSError`."""
        self._rows.append(row)
        self._files.append(file)
        self._data.append(data)
        self._characters += len(data)
        if len(self._rows) >= BATCH_ROWS or self._characters >= BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._stream.write_batch(self._batch([self._rows, self._files, self._data], schema=self._schema))
            self._rows, self._files, self._data, self._characters = [], [], [], 0

    def close(self) -> None:
        """Write what is left and the end. Raises `OSError`; the file is closed all the same."""
        try:
            self.flush()
            self._stream.close()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close without a word: the file goes away."""
        for part in (self._stream, self._file):
            try:
                part.close()
            except (OSError, ValueError):
                pass


class Rows(Sequence[Row]):
    """The rows of a folder, or of one of its splits, in file order: `{"messages" | "text" | ..., "row", "file"?}`.

    Any of them is at hand at once; what is iterated over is not kept. Old folders hold each split in a file of its own:
    without a `split`, the training rows come first there.
    """

    def __init__(self, folder: Path, split: str | None = None) -> None:
        self.folder, self.split = Path(folder), split
        arrow = self.folder / ROWS_FILE
        self._source: _Arrow | _Jsonl = _Arrow(arrow) if arrow.exists() else _Jsonl(self.folder, split)
        self._places: np.ndarray | None = None
        if split is not None and isinstance(self._source, _Arrow):
            self._places = np.flatnonzero(splits_of(self.folder) == SPLITS.index(split))

    def __len__(self) -> int:
        return len(self._source if self._places is None else self._places)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            places = np.arange(*index.indices(len(self)), dtype=np.int64)
            return self._source.take(places if self._places is None else self._places[places])
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        at = index % len(self)
        return self._source.at(at if self._places is None else int(self._places[at]))

    def __iter__(self) -> Iterator[Row]:
        return self._source.rows(None if self._places is None else self._places)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """(`place_key` of each row of the folder, int8 its split), without reading what they say."""
        if isinstance(self._source, _Arrow):
            return self._source.keys(), splits_of(self.folder)
        parts = [[place_key(row.get("file", -1), row["row"]) for row in Rows(self.folder, name)] for name in OLD_FILES]
        return np.concatenate(parts).astype(np.int64), np.repeat(np.arange(2, dtype=np.int8), list(map(len, parts)))

    def identity(self) -> list[Any]:
        """What tells these rows, their numbers and their splits from others, beside the fingerprint of what they
        say."""
        if not isinstance(self._source, _Arrow):
            return [[path.stat().st_size, path.stat().st_mtime_ns] for path in self._source.files]
        keys, splits = self.places()
        return [hashlib.sha256(np.ascontiguousarray(one).data).hexdigest() for one in (keys, splits)]

    def splits(self) -> np.ndarray:
        """int8, the place in `SPLITS` of each row of the folder."""
        return splits_of(self.folder) if isinstance(self._source, _Arrow) else self.places()[1]

    def holding(self, json_text: str) -> Iterator[tuple[int, np.ndarray]]:
        """`(rows looked at so far, places of those whose JSON holds a text, in any case)`, batch after batch and
        without making objects of them. Places are of the folder's rows, all splits together."""
        yield from self._source.holding(json_text)

    @property
    def size_bytes(self) -> int:
        """What they take on the disk; of a split its share by rows."""
        return int(self._source.size_bytes * len(self) / max(1, len(self._source)))


def at_places(info: Any, places: Iterable[int]) -> Iterator[tuple[int, str, Row]]:
    """`(place, split, row)` of these places in `info.rows()`."""
    rows = info.rows()
    splits = rows.splits()
    for at in places:
        yield int(at), SPLITS[splits[at]], rows[int(at)]


def page_places(info: Any, offset: int, count: int) -> list[int]:
    """Places in `info.rows()` of `count` rows from `offset` on, split after split."""
    splits, found = info.rows().splits(), []
    for index in range(len(SPLITS)):
        here = np.flatnonzero(splits == index)
        found += here[max(0, offset) : max(0, offset + count)].tolist()
        offset -= len(here)
    return found


def name_of(info: Any, row: Row) -> str:
    """Of a row of several files the name of its own, else nothing."""
    return info.files[row["file"]] if "file" in row and row["file"] < len(info.files) else ""


def place_key(file: Any, row: Any) -> Any:
    """One number for a row's file (-1 of one alone) and number."""
    return ((file if isinstance(file, int) else file.astype(np.int64)) + 1 << 40) + row


def splits_of(folder: Path) -> np.ndarray:
    """int8 (rows,): the place of each row's split in `SPLITS`."""
    found: np.ndarray = np.load(folder / SPLITS_FILE, mmap_mode="r")
    return found


def row_files(folder: Path) -> list[str]:
    """The names of the files that hold a folder's rows."""
    return [name for name in (ROWS_FILE, SPLITS_FILE, *OLD_FILES.values()) if (folder / name).exists()]


class _Arrow:
    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.size_bytes = path.stat().st_size
        self._batches = pa.ipc.open_stream(pa.memory_map(str(path))).read_all().to_batches()
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def at(self, index: int) -> Row:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        batch, inside = self._batches[part], index - int(self._starts[part])
        return _row(*(batch.column(name)[inside].as_py() for name in ("row", "file", "data")))

    def take(self, places: np.ndarray) -> list[Row]:
        """The rows at `places`, which rise or fall: a batch's in one go, which is several times faster than `at`."""
        parts = np.searchsorted(self._starts, places, side="right") - 1
        taken: list[Row] = []
        edges = [0, *(np.flatnonzero(np.diff(parts)) + 1), len(places)] if len(places) else []
        for begin, end in itertools.pairwise(edges):
            part = parts[begin]
            columns = self._batches[part].take(places[begin:end] - self._starts[part]).to_pydict()
            taken += map(_row, columns["row"], columns["file"], columns["data"])
        return taken

    def keys(self) -> np.ndarray:
        found = [place_key(part.column("file").to_numpy(), part.column("row").to_numpy()) for part in self._batches]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def holding(self, text: str) -> Iterator[tuple[int, np.ndarray]]:
        import pyarrow.compute as pc

        for batch, start in zip(self._batches, self._starts):
            found = pc.match_substring(batch.column("data"), text, ignore_case=True)
            yield int(start) + batch.num_rows, int(start) + np.flatnonzero(found.to_numpy(zero_copy_only=False))

    def rows(self, places: np.ndarray | None) -> Iterator[Row]:
        """All of them, or those at `places`, which rise."""
        for batch, start in zip(self._batches, self._starts):
            for first in range(0, batch.num_rows, AT_ONCE):
                part = batch.slice(first, AT_ONCE)
                if places is not None:
                    low, high = np.searchsorted(places, (start + first, start + first + part.num_rows))
                    part = part.take(places[low:high] - (start + first))
                columns = part.to_pydict()
                yield from map(_row, columns["row"], columns["file"], columns["data"])


class _Jsonl:
    """`train.jsonl` and `eval.jsonl` of a folder, or one of them."""

    def __init__(self, folder: Path, split: str | None) -> None:
        names = OLD_FILES if split is None else {split: OLD_FILES[split]} if split in OLD_FILES else {}
        self.files = [path for name in names.values() if (path := folder / name).exists()]
        self.size_bytes = sum(path.stat().st_size for path in self.files)
        self._places = [(path, start) for path in self.files for start in _line_starts(path)]

    def __len__(self) -> int:
        return len(self._places)

    def at(self, index: int) -> Row:
        path, start = self._places[index]
        with path.open("rb") as file:
            file.seek(start)
            found: Row = json.loads(file.readline())
        return found

    def take(self, places: np.ndarray) -> list[Row]:
        return [self.at(at) for at in places.tolist()]

    def holding(self, text: str) -> Iterator[tuple[int, np.ndarray]]:
        wanted = text.lower()
        found = [at for at, row in enumerate(self.rows(None)) if wanted in json.dumps(row, ensure_ascii=False).lower()]
        yield len(self), np.array(found, np.int64)

    def rows(self, places: np.ndarray | None) -> Iterator[Row]:
        for path in self.files:
            with path.open(encoding="utf-8") as file:
                yield from map(json.loads, file)


def _line_starts(path: Path) -> list[int]:
    with path.open("rb", buffering=io.DEFAULT_BUFFER_SIZE * 16) as file:
        starts = list(itertools.accumulate((len(line) for line in file), initial=0))
    return starts[:-1]


def _row(number: int, file: int, data: str) -> Row:
    row: Row = json.loads(data)
    row["row"] = number
    if file >= 0:
        row["file"] = file
    return row
