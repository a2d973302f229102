"""HTML, DOCX, PPTX and EPUB: a file is one row `{"text"}`, its headings and tables as Markdown.

Word's documents go through mammoth and, like pages of the web, through markdownify; slides through python-pptx. What
holds no text at all (scanned pages, pictures) is said.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from estimator.core.problems import Problem
from studio.datasets.files.encoding import open_text
from studio.datasets.files.html_text import markdown_of
from studio.datasets.files.office import broken, check_zip
from studio.datasets.source import ROW_LIMIT_CHARACTERS, Source
from studio.datasets.text import clean

_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w\-]+)""", re.IGNORECASE)


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """`(1, {"text"})`."""
    try:
        text = clean(_TEXTS[source.format](source))
    except (Problem, MemoryError):
        raise
    except RecursionError as error:
        raise broken(source, RecursionError("nested too deeply")) from error
    except Exception as error:  # of four libraries that read what others made
        raise broken(source, error) from error
    if not text.strip():
        raise Problem("dataset.no_text", file=source.name)
    yield 1, {"text": text}


def _html(source: Source) -> str:
    with source.open() as file:
        data = file.read(ROW_LIMIT_CHARACTERS + 1)
    if len(data) > ROW_LIMIT_CHARACTERS:
        raise Problem("dataset.document_size", file=source.name, size=f"{source.size_bytes / 1024**2:,.0f} MiB",
                      limit=f"{ROW_LIMIT_CHARACTERS // 1024**2} MiB")  # fmt: skip
    if said := _CHARSET.search(data[:2048]):
        try:
            text = data.decode(said[1].decode("ascii"))
        except (LookupError, UnicodeError, ValueError):
            pass  # pages often say what they are not: UTF-8 is tried
        else:
            source.encoding = said[1].decode("ascii").lower()
            return markdown_of(text)
    with open_text(source) as opened:
        return markdown_of(opened.read())


def _docx(source: Source) -> str:
    import mammoth

    with source.on_disk() as path:
        check_zip(source, path)
        with path.open("rb") as file:
            made = mammoth.convert_to_html(file, convert_image=mammoth.images.img_element(lambda image: {"src": ""}))
    return markdown_of(made.value)


def _pptx(source: Source) -> str:
    """A heading a slide, its text frames and tables in reading order, its notes."""
    import pptx

    with source.on_disk() as path:
        check_zip(source, path)
        deck = pptx.Presentation(str(path))
        slides = []
        for number, slide in enumerate(deck.slides, start=1):
            source.stop()
            title = slide.shapes.title
            said = title.text_frame.text.strip() if title is not None and title.has_text_frame else ""
            lines = [line for shape in slide.shapes if shape != title for line in _shape(shape)]
            if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) and notes.text.strip():
                lines.append(notes.text.strip())
            if said or lines:
                slides.append("\n\n".join([f"## {said or number}", *lines]))
    return "\n\n".join(slides)


def _shape(shape: Any, depth: int = 0) -> Iterator[str]:
    if getattr(shape, "has_table", False) and shape.has_table:
        yield table_text([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif getattr(shape, "has_text_frame", False) and shape.has_text_frame:
        if text := shape.text_frame.text.strip():
            yield text.replace("\v", "\n")
    elif hasattr(shape, "shapes") and depth < 20:
        for inner in shape.shapes:
            yield from _shape(inner, depth + 1)


def table_text(rows: list[list[str]]) -> str:
    """Rows of cells as a Markdown table, the first its header."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows if row]
    width = max((len(row) for row in cells), default=0)
    lines = ["| " + " | ".join([*row, *[""] * (width - len(row))]) + " |" for row in cells]
    return "\n".join([*lines[:1], "|" + " --- |" * width, *lines[1:]])


def _epub(source: Source) -> str:
    """The chapters in the order of the book's spine."""
    with source.on_disk() as path:
        check_zip(source, path)
        with zipfile.ZipFile(path) as book:
            if any(name == "META-INF/encryption.xml" for name in book.namelist()):
                _check_rights(source, book)
            chapters = []
            for name in _spine(book):
                source.stop()
                chapters.append(markdown_of(book.read(name)))
    return "\n\n".join(chapter.strip() for chapter in chapters if chapter.strip())


def _check_rights(source: Source, book: zipfile.ZipFile) -> None:
    """Fonts may be scrambled; a chapter that is, is locked."""
    locked = book.read("META-INF/encryption.xml").lower()
    if any(end in locked for end in (b".xhtml", b".html", b".htm")):
        raise Problem("dataset.password", file=source.name)


def _spine(book: zipfile.ZipFile) -> list[str]:
    from xml.etree import ElementTree

    container = ElementTree.fromstring(book.read("META-INF/container.xml"))
    package = next(one.get("full-path", "") for one in container.iter() if one.tag.endswith("rootfile"))
    tree = ElementTree.fromstring(book.read(package))
    items = {one.get("id"): one.get("href", "") for one in tree.iter() if one.tag.endswith("}item")}
    order = [items.get(one.get("idref"), "") for one in tree.iter() if one.tag.endswith("}itemref")]
    folder, names = str(Path(package).parent), set(book.namelist())
    paths = [(Path(folder) / unquote(href.partition("#")[0])).as_posix() for href in order if href]
    return [path for path in paths if path in names]


_TEXTS: dict[str, Callable[[Source], str]] = {"html": _html, "docx": _docx, "pptx": _pptx, "epub": _epub}
