"""PDF through pypdf: a file is one row `{"text"}`, page after page; pages without text are named.

A PDF knows letters and their places, neither headings nor tables. A line in larger letters than most is a heading.
Lines of several cells that stand in columns are a table, where the cells also follow one another in the file's own
order: text in two columns does not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.files.document_file import table_text
from studio.datasets.files.office import broken
from studio.datasets.source import RowError, Source
from studio.datasets.text import clean

LARGER = 1.15
_CELLS = re.compile(r" {2,}")
_BLANKS = re.compile(r"\s+")


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """`(1, {"text"})`, and for each page without text `(page, RowError)`."""
    import logging

    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        with source.on_disk() as path:
            file = pypdf.PdfReader(path)
            if file.is_encrypted and not file.decrypt(""):
                raise Problem("dataset.password", file=source.name)
            pages = _pages(source, file)
    except Problem:
        raise
    except pypdf.errors.FileNotDecryptedError as error:
        raise Problem("dataset.password", file=source.name) from error
    except MemoryError:
        raise
    except Exception as error:  # what it raises for damage is not of one kind
        raise broken(source, error) from error
    if not any(isinstance(page, str) for page in pages):
        faults = {str(page) for page in pages if isinstance(page, Exception)}
        if faults:
            raise broken(source, ValueError(faults.pop()))
        raise Problem("dataset.scanned", file=source.name, pages=len(pages))
    yield 1, {"text": "\n\n".join(page for page in pages if isinstance(page, str))}
    for number, page in enumerate(pages, start=1):
        if page is None:
            yield number, RowError("page_without_text", page=number)
        elif isinstance(page, Exception):
            yield number, RowError("page_unread", page=number, detail=str(page)[:120])


def _pages(source: Source, file: Any) -> list[str | None | Exception]:
    """The text of each page, None without any, and what went wrong with one that cannot be read."""
    pages: list[str | None | Exception] = []
    sizes: Counter[float] = Counter()
    for number in range(len(file.pages)):
        source.stop()
        try:
            lines = _lines(file.pages[number], sizes)
            pages.append(_text(file.pages[number], lines, sizes) if any(text.strip() for text, _ in lines) else None)
        except MemoryError:
            raise
        except Exception as error:
            pages.append(RuntimeError(f"{type(error).__name__}: {error}"))
        source.read_share = (number + 1) / len(file.pages)
    return pages


def _lines(page: Any, sizes: Counter[float]) -> list[tuple[str, float]]:
    """Lines in the file's order, each with the size of its letters; counts letters by size."""
    pieces: list[tuple[str, float]] = []

    def see(text: str, matrix: Any, text_matrix: Any, _font: Any, size: float) -> None:
        scale = abs(text_matrix[3] or text_matrix[0]) * abs(matrix[3] or matrix[0])
        shown = round(size * scale, 1)
        pieces.append((text, shown))
        sizes[shown] += len(text.strip())

    page.extract_text(visitor_text=see)
    lines: list[tuple[str, float]] = [("", 0.0)]
    for text, size in pieces:
        for place, part in enumerate(text.split("\n")):
            if place:
                lines.append(("", 0.0))
            if part:
                lines[-1] = (lines[-1][0] + part, size if part.strip() else lines[-1][1] or size)
    return lines


def _text(page: Any, lines: list[tuple[str, float]], sizes: Counter[float]) -> str:
    usual = max(sizes, key=lambda size: sizes[size])
    said = []
    for text, size in lines:
        is_heading = size > usual * LARGER and 1 < len(text.strip()) < 200
        said.append(f"\n## {text.strip()}\n" if is_heading else text.rstrip())
    text = clean("\n".join(said))
    for rows in _tables(page):
        text = _with_table(text, rows)
    return text.strip()


def _tables(page: Any) -> Iterator[list[list[str]]]:
    """Runs of lines with as many cells each, as they stand on the page."""
    if sum(1 for line in page.extract_text().splitlines() if len(line) < 60) < 4:
        return
    rows: list[list[str]] = []
    for line in [*page.extract_text(extraction_mode="layout").splitlines(), ""]:
        cells = _CELLS.split(line.strip())
        if len(cells) > 1 and (not rows or len(cells) == len(rows[0])):
            rows.append(cells)
            continue
        if len(rows) > 1:
            yield rows
        rows = [cells] if len(cells) > 1 else []


def _with_table(text: str, rows: list[list[str]]) -> str:
    """`text` with the cells written as a table, where they follow one another in it row by row."""
    pattern = r"\s+".join(r"\s*".join(map(re.escape, _BLANKS.split(cell.strip()))) for row in rows for cell in row)
    return re.sub(pattern, lambda _: f"\n\n{table_text(rows)}\n\n", text, count=1)
