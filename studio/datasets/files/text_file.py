"""Plain text, Markdown and source code: a file is one row `{"text"}`, to the letter.

A file of more than `PART_CHARACTERS` is several rows, parted at blank lines, else at line ends, so that a book or a
corpus in one file streams by. A `.txt` of JSON objects, one a line, is read as JSONL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from studio.datasets.files import json_file
from studio.datasets.files.encoding import open_text
from studio.datasets.source import Source
from studio.datasets.values import DECODER

PART_CHARACTERS = 1024**2


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """`(1, {"text"})`, or the parts of a long file in their order."""
    if source.format == "text" and _is_json_lines(source):
        yield from json_file.read_lines(source)
        return
    with open_text(source) as text:
        rest, number = "", 0
        while more := text.read(PART_CHARACTERS):
            rest += more
            while len(rest) > PART_CHARACTERS:
                at = _end_of_part(rest)
                number += 1
                yield number, {"text": rest[:at]}
                rest = rest[at:]
        if rest.strip() or not number:
            yield number + 1, {"text": rest}


def _end_of_part(text: str) -> int:
    """Where the first part ends: behind the last blank line, line, or word that fits."""
    for mark in ("\n\n", "\n", " "):
        at = text.rfind(mark, PART_CHARACTERS // 2, PART_CHARACTERS)
        if at >= 0:
            return at + len(mark)
    return PART_CHARACTERS


def _is_json_lines(source: Source) -> bool:
    with open_text(source) as text:
        line = text.readline(PART_CHARACTERS).strip()
    if not line.startswith("{") or not line.endswith("}"):
        return False
    try:
        return isinstance(DECODER.decode(line), dict)
    except (json.JSONDecodeError, RecursionError):
        return False
