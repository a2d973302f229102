"""From an uploaded file to numbered raw values. A new file format is one module with a `read(source)` and a line here.

A reader yields `(row, value)` with rows counted from 1 as a person would count them (JSONL: the line), or
`(row, RowError)` for a row that can be left out. What makes the whole file unreadable is a `Problem` that names file, row
and remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from estimator.problems import Problem
from studio.datasets.draft import safe_name

FILE_LIMIT_BYTES = 200 * 1024**2
# Room for one row while the file streams by; it bounds the memory a damaged file can take.
ROW_LIMIT_CHARACTERS = 16 * 1024**2
FORMATS = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
}  # fmt: skip
_MAGIC = {b"PAR1": "Parquet", b"PK\x03\x04": "Excel / ZIP", b"\x1f\x8b": "gzip", b"%PDF": "PDF", b"\x89PNG": "PNG"}
_FORMAT_OF_MAGIC = {"Parquet": "parquet"}


class RowError(Exception):
    """One row that cannot be used: a reason of `dataset.reason_*` and the values in its sentence."""

    def __init__(self, reason: str, **params: Any) -> None:
        super().__init__(reason)
        self.reason, self.params = reason, params


@dataclass
class Source:
    """A file being read: where it lies, what its user called it, and how far the reader has come."""

    path: Path
    name: str
    size_bytes: int
    encoding: str = "utf-8"
    stream: BinaryIO | None = None
    read_share: float = 0.0
    """Set by readers that do not go through `stream`."""

    @property
    def format(self) -> str:
        return FORMATS[Path(self.name).suffix.lower()]

    @property
    def progress(self) -> float:
        """Share of the file read, 0 to 1."""
        if self.stream is None or self.stream.closed:
            return self.read_share
        return min(1.0, self.stream.tell() / max(1, self.size_bytes))


def open_source(path: Path, name: str | None = None) -> Source:
    """Check a file from outside by its name, size and first bytes, before anything reads it."""
    shown = safe_name(name or path.name)
    suffix = Path(shown).suffix.lower()
    if suffix not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise Problem("dataset.extension", file=shown, extension=suffix or "-", allowed=allowed)
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
    found = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if found and _FORMAT_OF_MAGIC.get(found) != FORMATS[suffix]:
        raise Problem("dataset.not_text", file=shown, found=found, extension=suffix)
    return Source(path, shown, size)


def too_big(name: str, size_bytes: int) -> Problem:
    """The refusal of a file over the limit, which the browser may make before anything is sent."""
    size, limit = f"{size_bytes / 1024**2:,.1f} MiB", f"{FILE_LIMIT_BYTES // 1024**2} MiB"
    return Problem("dataset.too_big", file=safe_name(name), size=size, limit=limit)


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """All rows of a file, streamed."""
    from studio.datasets import read_csv, read_json, read_parquet

    readers = {"json": read_json.read, "jsonl": read_json.read_lines, "csv": read_csv.read, "parquet": read_parquet.read}
    return readers[source.format](source)
