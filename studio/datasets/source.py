"""A file from outside: checked by its name, size and first bytes, then open for the reader of its format.

What makes the whole file unreadable is a `Problem` that names file, row and remedy; a row that can be left out is a
`RowError`.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.text import safe_name

FILE_LIMIT_BYTES = 200 * 1024**2
# Room for one row while the file streams by; it bounds the memory a damaged file can take.
ROW_LIMIT_CHARACTERS = 16 * 1024**2
FORMATS = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
}  # fmt: skip
_MAGIC = {b"PAR1": "Parquet", b"PK\x03\x04": "Excel / ZIP", b"\x1f\x8b": "gzip", b"%PDF": "PDF", b"\x89PNG": "PNG"}
_FORMAT_OF_MAGIC = {"Parquet": "parquet"}
GZIP = "gzip"
# Read at a time; between two reads a cancelled reading ends.
READ_BYTES = 128 * 1024


class RowError(Exception):
    """One row that cannot be used: a reason of `dataset.reason_*` and the values in its sentence."""

    def __init__(self, reason: str, **params: object) -> None:
        super().__init__(reason)
        self.reason, self.params = reason, params


@dataclass
class Source:
    """A file being read: where it lies, what its user called it, and how far the reader has come."""

    path: Path
    name: str
    size_bytes: int
    encoding: str = "utf-8"
    compressed: bool = False
    stop: Callable[[], None] = lambda: None
    """Called at every read of the disk; raises where the reading was cancelled."""
    read_share: float = 0.0
    """Set by readers that do not go through `open`."""
    _file: io.FileIO | None = None

    @property
    def format(self) -> str:
        return FORMATS[_suffix(self.name)]

    @property
    def progress(self) -> float:
        """Share of the file read, 0 to 1."""
        if self._file is None or self._file.closed:
            return self.read_share
        return min(1.0, self._file.tell() / max(1, self.size_bytes))

    @contextlib.contextmanager
    def open(self) -> Iterator[gzip.GzipFile | io.BufferedReader[Any]]:
        """Its bytes, unpacked where it is a gzip file."""
        with self.path.open("rb", buffering=0) as file:
            self._file = file
            watched = io.BufferedReader(_Watched(file, self.stop), READ_BYTES)
            try:
                yield gzip.GzipFile(fileobj=watched) if self.compressed else watched
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise Problem("dataset.broken_gzip", file=self.name, detail=str(error)[:160]) from error
            finally:
                self.read_share = self.progress


class _Watched(io.RawIOBase):
    """A file that asks before each read whether anyone still waits for it."""

    def __init__(self, file: io.FileIO, stop: Callable[[], None]) -> None:
        self._file, self._stop = file, stop

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._stop()
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _suffix(name: str) -> str:
    """`.jsonl` of `rows.jsonl` and of `rows.jsonl.gz`."""
    path = Path(name)
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def open_source(path: Path, name: str | None = None) -> Source:
    """Check a file from outside by its name, size and first bytes, before anything reads it."""
    shown = safe_name(name or path.name)
    suffix = _suffix(shown)
    if suffix not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise Problem("dataset.extension", file=shown, extension=suffix or Path(shown).suffix or "-", allowed=allowed)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise Problem("dataset.unreadable", file=shown, reason=error.strerror or str(error)) from error
    if not size:
        raise Problem("dataset.empty", file=shown)
    if size > FILE_LIMIT_BYTES:
        raise too_big(shown, size)
    source = Source(path, shown, size, compressed=_kind(head) == GZIP)
    if source.compressed:
        with source.open() as unpacked:
            head = unpacked.read(8)
    found = _kind(head)
    if found and _FORMAT_OF_MAGIC.get(found) != FORMATS[suffix] or source.compressed and FORMATS[suffix] == "parquet":
        raise Problem("dataset.not_text", file=shown, found=GZIP if source.compressed else found, extension=suffix)
    return source


def _kind(head: bytes) -> str | None:
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def too_big(name: str, size_bytes: int) -> Problem:
    """The refusal of a file over the limit, which the browser may make before anything is sent."""
    size, limit = f"{size_bytes / 1024**2:,.1f} MiB", f"{FILE_LIMIT_BYTES // 1024**2} MiB"
    return Problem("dataset.too_big", file=safe_name(name), size=size, limit=limit)
