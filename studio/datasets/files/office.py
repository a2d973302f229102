"""Packages of XML in a ZIP (DOCX, PPTX, EPUB, XLSX): looked over before a library opens them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from estimator.core.problems import Problem
from studio.datasets.source import Source, check_unfolded, said_by

PACKAGE_BYTES = 512 * 1024**2
"""Of XML, unfolded: the libraries hold all of it as a tree."""
_MARKS = {
    "docx": "word/document.xml",
    "pptx": "ppt/presentation.xml",
    "excel": "xl/workbook.",
    "epub": "META-INF/container.xml",
}
_TITLES = {"docx": "DOCX", "pptx": "PPTX", "excel": "XLSX", "epub": "EPUB"}
_XML = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx", ".bin")


def check_zip(source: Source, path: Path) -> None:
    """Raises `Problem` where the package is broken, is another one than its name says, is locked, or unfolds to far
    more than it weighs."""
    kind = source.format
    if kind == "excel" and _is_old(path):
        return
    try:
        with zipfile.ZipFile(path) as package:
            members = package.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise broken(source, error) from error
    if any(member.flag_bits & 1 for member in members):
        raise Problem("dataset.password", file=source.name)
    if not any(member.filename.startswith(_MARKS[kind]) for member in members):
        names = [member.filename for member in members]
        kinds = (one for one, mark in _MARKS.items() if any(name.startswith(mark) for name in names))
        found = _TITLES.get(next(kinds, ""), "ZIP")
        raise Problem("dataset.not_text", file=source.name, found=found, extension=Path(source.name).suffix)
    unfolded = sum(member.file_size for member in members)
    check_unfolded(source.name, source.size_bytes, unfolded)
    if (xml := sum(one.file_size for one in members if one.filename.lower().endswith(_XML))) > PACKAGE_BYTES:
        raise Problem("dataset.document_size", file=source.name, size=f"{xml / 1024**2:,.0f} MiB",
                      limit=f"{PACKAGE_BYTES // 1024**2} MiB")  # fmt: skip


def broken(source: Source, error: Exception) -> Problem:
    kind = source.format.upper()
    return Problem("dataset.broken_document", file=source.shown, kind=kind, detail=said_by(error))


def _is_old(path: Path) -> bool:
    """Excel's binary format of before 2007, which is no ZIP."""
    with path.open("rb") as file:
        return file.read(4) == b"\xd0\xcf\x11\xe0"
