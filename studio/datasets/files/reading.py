"""From an uploaded file to numbered raw values. A new file format is one module with a `read(source)` and a line here.

A reader yields `(row, value)` with rows counted from 1 as a person would count them (JSONL: the line), or `(row,
RowError)` for a row that can be left out. What makes the whole file unreadable is a `Problem` that names file, row and
remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from studio.datasets.files import csv_file, json_file, parquet_file
from studio.datasets.source import Source

READERS: dict[str, Callable[[Source], Iterator[tuple[int, Any]]]] = {
    "json": json_file.read,
    "jsonl": json_file.read_lines,
    "csv": csv_file.read,
    "parquet": parquet_file.read,
}
"""By the format that `studio.datasets.source.FORMATS` gives to an extension."""


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """All rows of a file, streamed."""
    return READERS[source.format](source)
