"""JSON arrays, JSON values one after another, and JSON Lines, each with a buffer of one row and not of one file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from estimator.core.problems import Problem
from studio.datasets.files.encoding import open_text
from studio.datasets.files.tables import rows_of
from studio.datasets.source import ROW_LIMIT_CHARACTERS, RowError, Source
from studio.datasets.values import DECODER, Number

CHUNK_CHARACTERS = 256 * 1024
_BLANK = " \t\r\n"
BROKEN_LINES = 20
"""So many may be broken before it is asked whether most are."""
LINES_LOOKED_AT = 5


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """A `.json` file: an array of rows, several, or rows one after another as many tools write under that name.

    A single object that is no row may hold the rows: see `studio.datasets.files.tables`.
    """
    with open_text(source) as text:
        buffer = _Buffer(source, text)
        row = 0
        while first := buffer.peek():
            if first == "[":
                for value in _array(buffer, row):
                    row += 1
                    yield row, value
                continue
            if row and first != "{":
                raise buffer.broken(
                    row,
                    "rows with commas between them need [ and ] around them"
                    if first == ","
                    else "text after the closing ']'",
                )
            value = buffer.value(row + 1)
            rows = rows_of(value, source.name) if not row and isinstance(value, dict) and not buffer.peek() else [value]
            for number, one in enumerate(rows, start=row + 1):
                row = number
                yield number, one


def read_lines(source: Source) -> Iterator[tuple[int, Any]]:
    """A `.jsonl` file: one value a line, blank lines skipped. One that holds an array, values over several lines, or
    one object is read as `.json`.

    A line that is not JSON, or does not end, is left out by its number; a file most of whose lines are so is refused.
    """
    if not _is_by_line(source):
        yield from read(source)
        return
    with open_text(source) as text:
        number = good = bad = 0
        first: Problem | None = None
        while line := text.readline(ROW_LIMIT_CHARACTERS):
            number += 1
            if not line.strip():
                continue
            try:
                if len(line) == ROW_LIMIT_CHARACTERS:
                    _skip_line(text)
                    raise Problem("dataset.row_size", file=source.name, row=number, limit=_limit_words())
                value = _line(source, number, line)
            except Problem as problem:
                bad, first = bad + 1, first or problem
                if bad > BROKEN_LINES and bad > good:
                    raise first from None
                yield number, _as_row_error(problem)
            else:
                good += 1
                yield number, value
        if first and bad > good:
            raise first


def _as_row_error(problem: Problem) -> RowError:
    if problem.code == "dataset.row_size":
        return RowError("row_size", limit=problem.params["limit"])
    cause = {"cause": problem.params["cause"]} if "cause" in problem.params else {}
    return RowError("json", column=problem.params["column"], detail=problem.params["detail"], **cause)


def _skip_line(text: TextIO) -> None:
    """To the end of a line that is too long to be held."""
    while (line := text.readline(ROW_LIMIT_CHARACTERS)) and not line.endswith("\n"):
        pass


def _is_by_line(source: Source) -> bool:
    """Whether the lines are rows: the first by itself, or, where that one is broken, one of those below it."""
    with open_text(source) as text:
        first = _next_line(text)
        if not _is_json_file(first, lambda: not _next_line(text)):
            return True
        if not first.lstrip().startswith("{") or _is_whole(first):
            return False
        return any(_is_whole(_next_line(text)) for _ in range(LINES_LOOKED_AT))


def _is_whole(line: str) -> bool:
    """Whether a line is an object, and not one that ends in a comma as inside a list."""
    try:
        return isinstance(DECODER.decode(line.strip()), dict)
    except (ValueError, RecursionError):
        return False


def _next_line(text: TextIO) -> str:
    """The next line that is not blank, or "" at the end."""
    while line := text.readline(ROW_LIMIT_CHARACTERS):
        if line.strip():
            break
    return line


def _is_json_file(line: str, is_last: Callable[[], bool]) -> bool:
    """Whether the first line is not a row by itself: the beginning of one, an array of rows, or an object and no
    more."""
    if not line.lstrip().startswith(("[", "{")):
        return False
    try:
        value = DECODER.decode(line.strip())
    except (ValueError, RecursionError):
        return True
    if isinstance(value, dict):
        return is_last()
    return bool(value) and isinstance(value[0], dict)


def _line(source: Source, number: int, line: str) -> Any:
    try:
        return DECODER.decode(line.strip())
    except json.JSONDecodeError as error:
        cause = "line_break" if "Unterminated string" in error.msg else _cause(line.strip(), error.pos)
        raise _broken(source, number, number, error.colno, error.msg, cause) from error
    except RecursionError as error:
        raise _broken(source, number, number, 1, "nested too deeply") from error


def _cause(text: str, at: int) -> str | None:
    """What usually stands behind an error at this place: a key of `dataset.cause_*`, or None."""
    if text[at : at + 1] == "'":
        return "single_quotes"
    if text[at : at + 1] in ("]", "}") and (text[:at].rstrip() or ",").endswith(
        ","
    ):  # nothing before it: the buffer begins behind the comma
        return "comma"
    word = re.match(r"[A-Za-z_]+", text[at : at + 12])
    return "python_words" if word and word.group() in ("None", "True", "False", "nan", "inf", "undefined") else None


def _broken(source: Source, row: int, line: int, column: int, detail: str, cause: str | None = None) -> Problem:
    why = {"cause": cause} if cause else {}
    return Problem("dataset.broken_json", file=source.name, row=row, line=line, column=column, detail=detail, **why)


def _limit_words() -> str:
    return f"{ROW_LIMIT_CHARACTERS // 1024**2} MiB"


def _array(buffer: _Buffer, row: int) -> Iterator[Any]:
    """The values of an array; `row` have been read before it."""
    buffer.skip(1)
    if buffer.peek() == "]":
        buffer.skip(1)
        return
    while True:
        row += 1
        yield buffer.value(row)
        separator = buffer.peek()
        if separator not in (",", "]"):
            raise buffer.broken(row + 1 if separator == "{" else row, "expected ',' or ']' after the row")
        buffer.skip(1)
        if separator == "]":
            break


class _Buffer:
    """The part of the file at hand: it grows until a value is whole and forgets what has been read."""

    def __init__(self, source: Source, text: TextIO) -> None:
        self._source, self._file = source, text
        self._text, self._at = "", 0
        self._lines_before = self._column_before = 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is not blank, or "" at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._grow(CHUNK_CHARACTERS)

    def skip(self, characters: int) -> None:
        self._at += characters

    def value(self, row: int) -> Any:
        """The next JSON value. Reads on while it is incomplete; what is still broken then is broken."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                failure, value, end = error, None, len(self._text)
            except RecursionError:
                raise self.broken(row, "nested too deeply") from None
            else:
                failure = None
            if failure is None and (self._ended or not self._may_go_on(value, end)):
                self._at = end
                return value
            if self._ended:
                self._at = min(failure.pos, len(self._text))
                raise self.broken(row, failure.msg) from failure
            if len(self._text) - self._at >= ROW_LIMIT_CHARACTERS:
                raise Problem("dataset.row_size", file=self._source.name, row=row, limit=_limit_words())
            if failure and self._is_certain(failure):
                self._at = failure.pos
                raise self.broken(row, failure.msg) from failure
            self._grow(max(CHUNK_CHARACTERS, len(self._text) - self._at))

    def _may_go_on(self, value: object, end: int) -> bool:
        """A number at the end of the buffer may be the first part of a longer one: `1.5` of `1.5e+16`."""
        return isinstance(value, Number) and len(self._text) - end <= len("e+")

    def _is_certain(self, failure: json.JSONDecodeError) -> bool:
        """Whether reading on cannot mend it: the parser stopped well before the end, and not in an open string."""
        return failure.pos < len(self._text) - 64 and "Unterminated" not in failure.msg

    def broken(self, row: int, detail: str) -> Problem:
        """The problem at the present place."""
        line = self._lines_before + self._text.count("\n", 0, self._at) + 1
        start = self._text.rfind("\n", 0, self._at) + 1
        column = self._at - start + 1 + (0 if start else self._column_before)
        return _broken(self._source, row, line, column, detail, _cause(self._text, self._at))

    def _grow(self, characters: int) -> None:
        lines = self._text.count("\n", 0, self._at)
        self._lines_before += lines
        self._column_before = (
            self._at - self._text.rfind("\n", 0, self._at) - 1 if lines else self._column_before + self._at
        )
        more = self._file.read(characters)
        self._ended = not more
        self._text, self._at = self._text[self._at :] + more, 0
