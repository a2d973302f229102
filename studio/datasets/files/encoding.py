"""Text files as UTF-8, or as UTF-16/32 where a byte order mark says so. Anything else is named and refused, not
guessed.

A wrong guess would train the model on garbage that looks like text; saving a file as UTF-8 takes its owner a minute.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from estimator.core.problems import Problem
from studio.datasets.source import Source

# Longest first: the mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GUESS_BYTES = 64 * 1024
_BETWEEN_WORDS = re.compile(rb'[\s,;"]+')  # none of these is the second byte of a character
_WESTERN = "Windows-1252 / Latin-1"
_SEVERAL_BYTES = ("GB18030 (GBK)", "Big5", "Shift-JIS", "EUC-JP", "EUC-KR (CP949)")


@contextmanager
def open_text(source: Source, newline: str | None = None) -> Iterator[io.TextIOWrapper]:
    """The file as text; a byte that is not its encoding's becomes `Problem` `dataset.encoding` with line and byte."""
    with source.open() as stream:
        head = stream.read(_GUESS_BYTES)
        source.encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
        if source.encoding == "utf-8" and head.count(0) > len(head) // 5:
            raise _problem(source, 1, head.index(0), "UTF-16")
        stream.seek(0)
        text = io.TextIOWrapper(stream, encoding=source.encoding, errors="strict", newline=newline)
        try:
            yield text
        except UnicodeError as error:
            raise _located(source) from error
        finally:
            text.detach()


def _located(source: Source) -> Problem:
    """Find the first bad byte again, line by line: the decoder only knows its place in a buffer."""
    if source.encoding not in ("utf-8", "utf-8-sig"):
        return _problem(source, 1, 0, "?")
    with source.open() as file:
        before, number = 0, 1
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return _problem(source, number, before + error.start, guess(line + file.read(_GUESS_BYTES)))
            before += len(line)
    return _problem(source, number, before, "?")  # a character cut off at the very end of the file


def _problem(source: Source, line: int, byte: int, looks_like: str) -> Problem:
    return Problem("dataset.encoding", file=source.name, line=line, byte=byte, guess=looks_like)


def guess(data: bytes) -> str:
    """What bytes that are not UTF-8 look like, for the message only: chardet's answer, with its second thought.

    Words in English drown what there is to see, so only those that are not ASCII are looked at. Single letters with
    accents fit several alphabets about as well: the Western one, which most of them are, is named first.
    """
    import chardet

    words = b" ".join(word for word in _BETWEEN_WORDS.split(data) if not word.isascii())
    found = chardet.detect_all(words, encoding_era=chardet.EncodingEra.MODERN_WEB)
    names = {_shown(one["encoding"]): one["confidence"] for one in reversed(found)}
    best = _shown(found[0]["encoding"])
    is_alphabet = best not in _SEVERAL_BYTES and best != _WESTERN
    return f"{_WESTERN} / {best}" if is_alphabet and names.get(_WESTERN, 0) > names[best] / 2 else best


def _shown(encoding: str | None) -> str:
    """chardet's word as the menus of editors have it."""
    word = encoding or "?"
    return {
        "gb18030": "GB18030 (GBK)",
        "shift_jis": "Shift-JIS",
        "cp932": "Shift-JIS",
        "cp949": "EUC-KR (CP949)",
        "windows-1252": _WESTERN,
    }.get(word.lower(), word)
