"""Text files as UTF-8, or as UTF-16/32 where a byte order mark says so. Anything else is named and refused, not guessed.

A wrong guess would train the model on garbage that looks like text; saving a file as UTF-8 takes its owner a minute.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager

from estimator.problems import Problem
from studio.datasets.reading import Source

# Longest first: the mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GUESS_BYTES = 64 * 1024


@contextmanager
def open_text(source: Source, newline: str | None = None) -> Iterator[io.TextIOWrapper]:
    """The file as text; a byte that is not its encoding's becomes `Problem` `dataset.encoding` with line and byte."""
    with source.path.open("rb") as stream:
        head = stream.read(_GUESS_BYTES)
        source.encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
        if source.encoding == "utf-8" and head.count(0) > len(head) // 5:
            raise _problem(source, 1, head.index(0), "UTF-16")
        stream.seek(0)
        source.stream = stream
        text = io.TextIOWrapper(stream, encoding=source.encoding, errors="strict", newline=newline)
        try:
            yield text
        except UnicodeError as error:
            raise _located(source) from error
        finally:
            source.read_share = source.progress
            text.detach()


def _located(source: Source) -> Problem:
    """Find the first bad byte again, line by line: the decoder only knows its place in a buffer."""
    if source.encoding not in ("utf-8", "utf-8-sig"):
        return _problem(source, 1, 0, "?")
    with source.path.open("rb") as file:
        before = 0
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                file.seek(before)
                return _problem(source, number, before + error.start, guess(file.read(_GUESS_BYTES)))
            before += len(line)
    return _problem(source, number, before, "?")  # a character cut off at the very end of the file


def _problem(source: Source, line: int, byte: int, looks_like: str) -> Problem:
    return Problem("dataset.encoding", file=source.name, line=line, byte=byte, guess=looks_like)


def guess(data: bytes) -> str:
    """What bytes that are not UTF-8 look like, for the message only.

    GB18030 is named when nearly all of its two-byte characters are the common ones (lead byte B0-D7): Western text
    decodes as GB18030 too, but into rare characters.
    """
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(data)
    except UnicodeDecodeError:
        return "Windows-1252 / Latin-1"
    wide = [c.encode("gb18030") for c in text if ord(c) > 127]
    common = sum(len(code) == 2 and (0xB0 <= code[0] <= 0xD7 and code[1] >= 0xA1 or code[0] in (0xA1, 0xA3)) for code in wide)
    return "GB18030 (GBK)" if common > 0.9 * len(wide) else "Windows-1252 / Latin-1"
