"""Excel workbooks through python-calamine: each sheet is a table, its first row of several cells the header.

A row's number is the one that Excel shows beside it. Cells of a merged range all hold its value. Whole numbers, which
Excel keeps as floats, are whole; dates are ISO. A formula gives the value that Excel computed when it saved the file.
A cell that holds an error, or a formula without a value, leaves its row out by the cell's name: calamine gives both as
an empty cell, so they are looked up in the sheet's XML.
"""

from __future__ import annotations

import datetime
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.files.office import check_zip
from studio.datasets.source import RowError, Source, said_by

CELLS = 40_000_000
"""Of a sheet from its first to its last cell: calamine lays them all out, and ends the process where it cannot."""
XML_READ_BYTES = 1024**2
ROWS, COLUMNS = 1_048_576, 16_384
"""Of a sheet, by Excel itself; a reference beyond them is damage."""
_REFERENCE = re.compile(rb'<(?:\w+:)?c\s[^>]*?\br="([A-Za-z]+)([0-9]+)"')
_ROW = re.compile(rb'<(?:\w+:)?row\s[^>]*?\br="([0-9]+)"')
_ERROR = re.compile(rb'<(?:\w+:)?c\s(?=[^>]*\bt="e")[^>]*?\br="([A-Z]{1,3}[0-9]{1,7})"')
_UNCOMPUTED = re.compile(rb'<(?:\w+:)?c\s[^>]*?\br="([A-Z]{1,3}[0-9]{1,7})"[^>]*>\s*'
                         rb"<(?:\w+:)?f\b(?:[^<]*</(?:\w+:)?f>|[^>]*/>)"
                         rb"\s*(?:<(?:\w+:)?v>\s*</(?:\w+:)?v>|<(?:\w+:)?v\s*/>)?\s*</(?:\w+:)?c>")  # fmt: skip


def parts(source: Source) -> list[str]:
    """The names of the sheets that hold cells and are no charts, hidden ones too."""
    with source.on_disk() as path:
        check_zip(source, path)
        book = _book(source, path)
        return [one.name for one in book.sheets_metadata if str(one.typ).endswith("WorkSheet")]


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """Rows of the sheet `source.part` (without one, of the first) as dicts by column name."""
    with source.on_disk() as path:
        check_zip(source, path)
        marked = _marked(source, path)
        book = _book(source, path)
        sheet = _sheet(source, book)
        rows = sheet.to_python(skip_empty_area=False)
        _spread(rows, sheet.merged_cell_ranges or [])
        source.read_share = 0.5
        yield from _rows(source, rows, marked)


def _book(source: Source, path: Path) -> Any:
    import python_calamine as calamine

    try:
        return calamine.load_workbook(str(path))
    except calamine.PasswordError as error:
        raise Problem("dataset.password", file=source.name) from error
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise _broken(source, error) from error


def _sheet(source: Source, book: Any) -> Any:
    import python_calamine as calamine

    try:
        return book.get_sheet_by_name(source.part) if source.part else book.get_sheet_by_index(0)
    except (calamine.CalamineError, OSError, ValueError, IndexError) as error:
        raise _broken(source, error) from error


def _broken(source: Source, error: Exception) -> Problem:
    return Problem("dataset.broken_document", file=source.shown, kind="Excel", detail=said_by(error))


def _rows(source: Source, rows: list[list[Any]], marked: dict[int, tuple[str, str]]) -> Iterator[tuple[int, Any]]:
    header: list[str] | None = None
    wide = any(sum(cell != "" for cell in row) > 1 for row in rows)
    for number, row in enumerate(rows, start=1):
        filled = [cell for cell in row if cell != ""]
        if not filled and number not in marked:
            continue
        if header is None and wide and len(set(map(str, filled))) < 2:
            yield number, RowError("above_header", text=str(filled[0] if filled else "")[:60])
        elif header is None:
            header = _header(source, row)
        elif number in marked:
            reason, cell = marked[number]
            yield number, RowError(reason, cell=cell)
        else:
            values = [_value(cell) for cell in row]
            yield number, {name: value for name, value in zip(header, values) if name or value is not None}


def _header(source: Source, row: list[Any]) -> list[str]:
    """The columns' names; one without a name is called by its place, a name that stands twice is refused."""
    names = [str(_value(cell) if cell != "" else "").strip() or f"#{place}" for place, cell in enumerate(row, start=1)]
    if doubled := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise Problem("dataset.doubled_column", file=source.shown, column=doubled[:80], found=", ".join(names)[:400])
    return names


def _value(cell: Any) -> Any:
    """A cell as a person reads it; None for an empty one."""
    if cell == "":
        return None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, datetime.datetime):
        is_day = cell.time() == datetime.time(0)
        return cell.date().isoformat() if is_day else cell.isoformat(" ")
    if isinstance(cell, (datetime.date, datetime.time)):
        return cell.isoformat()
    return str(cell) if isinstance(cell, datetime.timedelta) else cell


def _spread(rows: list[list[Any]], ranges: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    """The value of each merged range in all of its cells, as far as the sheet goes."""
    for (top, left), (bottom, right) in ranges:
        if top >= len(rows) or left >= len(rows[top]):
            continue
        for row in rows[top : bottom + 1]:
            row[left : right + 1] = [rows[top][left]] * len(row[left : right + 1])


def _marked(source: Source, path: Path) -> dict[int, tuple[str, str]]:
    """Rows whose cells hold an error or a formula without a value: `{row: (reason, cell)}`. Also sees to it that the
    sheet is no larger than `CELLS`. Of the old binary format nothing is looked up."""
    if not zipfile.is_zipfile(path):
        return {}
    marked: dict[int, tuple[str, str]] = {}
    with zipfile.ZipFile(path) as book:
        with book.open(_sheet_file(source, book)) as xml:
            rest, last_row, last_column = b"", 0, 0
            while data := xml.read(XML_READ_BYTES):
                source.stop()
                text = rest + data
                for column, row in _REFERENCE.findall(text):
                    last_row, last_column = max(last_row, _whole(row)), max(last_column, _number(column))
                last_row = max([last_row, *map(_whole, _ROW.findall(text))])
                if last_row > ROWS or last_column > COLUMNS or last_row * last_column > CELLS:
                    raise Problem("dataset.wide_sheet", file=source.shown, rows=last_row, columns=last_column)
                for reason, pattern in (("cell_error", _ERROR), ("cell_formula", _UNCOMPUTED)):
                    for cell in pattern.findall(text):
                        name = cell.decode()
                        marked.setdefault(int(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")), (reason, name))
                rest = text[-4096:]
    return marked


def _number(column: bytes) -> int:
    """28 of `AB`."""
    number = 0
    for letter in column[:8].upper():
        number = number * 26 + letter - 64
    return number


def _whole(digits: bytes) -> int:
    return int(digits[:12])


def _sheet_file(source: Source, book: zipfile.ZipFile) -> str:
    """Where a sheet lies in the package, by the workbook's own table."""
    from xml.etree import ElementTree

    try:
        tables = [ElementTree.fromstring(book.read(name)) for name in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels")]
    except (KeyError, ElementTree.ParseError, zipfile.BadZipFile) as error:
        raise _broken(source, error) from error
    targets = {one.get("Id"): one.get("Target", "") for one in tables[1].iter() if one.tag.endswith("Relationship")}
    for sheet in tables[0].iter():
        if sheet.tag.endswith("}sheet") and source.part in (None, sheet.get("name")):
            link = next((value for key, value in sheet.attrib.items() if key.endswith("}id")), "")
            name = targets.get(link, "").lstrip("/")
            name = name if name.startswith("xl/") else f"xl/{name}"
            if name in book.namelist():
                return name
    raise _broken(source, KeyError(source.part or "sheet"))
