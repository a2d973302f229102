"""CSV and TSV with a header, streamed; commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.files.encoding import open_text
from studio.datasets.source import ROW_LIMIT_CHARACTERS, RowError, Source

DELIMITERS = ",\t;|"
# Excel's own first line, which names the separator.
_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """Rows as dicts by column name; row 1 is the first below the header. Blank lines are skipped."""
    csv.field_size_limit(ROW_LIMIT_CHARACTERS)
    with open_text(source, newline="") as text:
        start = text.readline(ROW_LIMIT_CHARACTERS)
        said = _SEPARATOR_LINE.fullmatch(start.strip())
        if not said:
            text.seek(0)
        rows = csv.reader(text, delimiter=said[1] if said else max(DELIMITERS, key=start.count), strict=True)
        header: list[str] | None = None
        row = 0
        while True:
            line = rows.line_num + (2 if said else 1)
            try:
                fields = next(rows, None)
            except csv.Error as error:
                raise _broken(source, row + 1, line, error) from error
            if fields is None:
                return
            if not any(field.strip() for field in fields):
                continue
            if header is None:
                header = _header(source, fields)
                continue
            row += 1
            if len(fields) == len(header):
                yield row, dict(zip(header, fields, strict=True))
            else:
                yield row, RowError("fields", found=len(fields), expected=len(header), line=line)


def _header(source: Source, fields: list[str]) -> list[str]:
    """The columns' names; one without a name is called by its place, a name that stands twice is refused."""
    names = [field.strip() or f"#{place}" for place, field in enumerate(fields, start=1)]
    if doubled := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise Problem("dataset.doubled_column", file=source.name, column=doubled[:80], found=", ".join(names)[:400])
    return names


def _broken(source: Source, row: int, line: int, error: csv.Error) -> Problem:
    return Problem("dataset.broken_csv", file=source.name, row=row, line=line, detail=str(error))
