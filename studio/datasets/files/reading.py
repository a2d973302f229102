"""From an uploaded file to numbered raw values. A new file format is one module with a `read(source)` and a line here.

A reader yields `(row, value)` with rows counted from 1 as a person would count them (JSONL: the line; Excel: the number
beside the row), or `(row, RowError)` for a row that can be left out. A document is one row `{"text"}`. What makes the
whole file unreadable is a `Problem` that names file, row and remedy.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from studio.datasets.source import Source

READERS: dict[str, tuple[str, str]] = {
    "json": ("json_file", "read"),
    "jsonl": ("json_file", "read_lines"),
    "csv": ("csv_file", "read"),
    "parquet": ("parquet_file", "read"),
    "arrow": ("arrow_file", "read"),
    "excel": ("excel_file", "read"),
    "text": ("text_file", "read"),
    "markdown": ("text_file", "read"),
    "code": ("text_file", "read"),
    "html": ("document_file", "read"),
    "docx": ("document_file", "read"),
    "pptx": ("document_file", "read"),
    "epub": ("document_file", "read"),
    "pdf": ("pdf_file", "read"),
}
"""Module and function, by the format that `studio.datasets.kinds.FORMATS` gives to a suffix; imported when used."""
APART = ("excel", "html", "docx", "pptx", "epub", "pdf")
"""Formats whose libraries may take any time and memory with a damaged file: a process of its own reads them."""


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """All rows of a file, streamed, read in this process."""
    module, function = READERS[source.format]
    reader = getattr(importlib.import_module(f"studio.datasets.files.{module}"), function)
    rows: Iterator[tuple[int, Any]] = reader(source)
    return rows


def parts(source: Source) -> list[str]:
    """The sheets of a workbook; nothing for what has no parts."""
    if source.format != "excel":
        return []
    from studio.datasets.files import excel_file

    return excel_file.parts(source)
