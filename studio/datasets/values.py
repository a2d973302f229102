"""Values as people wrote them: numbers keep their digits, what is missing is missing, an object is its JSON."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import re
from typing import Any

from studio.datasets.source import RowError
from studio.datasets.text import clean, without_blank_lines_around

# Python's own limit for turning digits into a number; a longer one is damage more often than an answer.
NUMBER_LIMIT_DIGITS = 4300
_PYTHON_REPR = re.compile(r"\s*[\[{(]\s*(?:\{\s*)?(?:'|\"[^\"]*\"\s*:\s*(?:'|None\b|True\b|False\b))")


class Number(str):
    """A number of a JSON file, as it was written: `100.10` stays so, and no digit is lost."""


class Doubled(dict):
    """An object of a JSON file in which a name stood twice."""

    name = ""


class Held:
    """In place of a value that nobody reads (an image, an embedding): it is there, and that is all that is known."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = Doubled(found)
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            doubled.name = name
            break
        seen.add(name)
    return doubled


def _constant(word: str) -> Any:
    """`NaN` is how Python's json and pandas write what is missing."""
    return None if word == "NaN" else Number(word)


# Not strict: a line break inside a string is text.
DECODER = json.JSONDecoder(
    strict=False, parse_float=Number, parse_int=Number, parse_constant=_constant, object_pairs_hook=_object
)


def listed(value: object, column: str) -> Any:
    """A list or an object, read from JSON where a spreadsheet made it text; anything else as it is."""
    if not isinstance(value, str) or isinstance(value, Number) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return DECODER.decode(value.strip())
    except (ValueError, RecursionError) as error:
        if _PYTHON_REPR.match(value):
            raise RowError("python_repr", column=column) from error
        return value


def is_missing(value: object) -> bool:
    """By its type: null, or a float's NaN, which is how tables write null. The word `nan` is text."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_blank(value: object) -> bool:
    """Missing, or text without a letter, or a list or object without anything in it (a table's object of nulls too)."""
    if isinstance(value, dict):
        return all(_is_nothing(inner) for inner in value.values())
    return _is_nothing(value)


def _is_nothing(value: object) -> bool:
    if isinstance(value, str):
        return not value or value.isspace()
    return is_missing(value) or isinstance(value, (list, tuple, dict)) and not value


def type_word(value: object) -> str:
    """JSON's name of a value's type."""
    if isinstance(value, Number):
        return "number"
    names = {
        dict: "object",
        Doubled: "object",
        list: "array",
        tuple: "array",
        str: "string",
        bool: "boolean",
        int: "number",
        float: "number",
    }
    return names.get(type(value), "null" if value is None else type(value).__name__)


def json_text(value: object) -> str:
    """A value as JSON, its numbers as they were written."""
    if isinstance(value, Number):
        _check_digits(value)
        return str(value)
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(
                f"{json.dumps(str(key), ensure_ascii=False)}: {json_text(inner)}" for key, inner in value.items()
            )
            + "}"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(json_text, value)) + "]"
    if is_missing(value):
        return "null"
    if isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    text = scalar_text(value)
    return text if isinstance(value, (int, float, decimal.Decimal)) else json.dumps(text, ensure_ascii=False)


def scalar_text(value: object) -> str:
    """A number, date or bytes of a table as text; `RowError` `type` for anything else."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RowError("bytes", byte=error.start) from error
    if isinstance(value, (int, float, datetime.date, datetime.time)):  # a datetime is a date
        return str(value)
    raise RowError("type", found=type_word(value))


def plain(value: object, column: str) -> Any:
    """The same with JSON's numbers as Python's, for what a chat template writes anew (arguments of tools)."""
    if isinstance(value, dict):
        return {clean(str(key)): plain(inner, column) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner, column) for inner in value]
    if isinstance(value, Number):
        if len(value) > NUMBER_LIMIT_DIGITS:
            raise RowError("number", column=column, digits=len(value), limit=NUMBER_LIMIT_DIGITS)
        number = float(value) if set(value) & set(".eEIN") else int(value)
        if isinstance(number, float) and not math.isfinite(number):
            raise RowError("type", column=column, found=str(value)[:40])
        return number
    if is_missing(value):
        return None
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, (bool, int, float)):
        return value
    try:
        return scalar_text(value)
    except RowError as error:
        raise RowError(error.reason, **{"column": column, **error.params}) from error


def _check_digits(value: Number) -> None:
    if len(value) > NUMBER_LIMIT_DIGITS:
        raise RowError("number", digits=len(value), limit=NUMBER_LIMIT_DIGITS)


class Cleaner:
    """Makes values text fit to train on, and remembers whether it had to."""

    def __init__(self) -> None:
        self.changed = False
        self.unused: set[str] = set()
        """Keys inside messages that are not used, as `messages.id`."""

    def text(self, value: object, column: str, lines: bool = True, empty: bool = False) -> str:
        """The value of the user's `column` as text; `lines`: blank lines around it are cut; `empty`: there may be
        none."""
        written = value
        if is_missing(value):
            value = ""
        elif type(value) is not str:
            value = self._as_text(value, column)
        text = clean(value)
        if not text or text.isspace():
            if empty:
                return ""
            raise RowError("empty", column=column)
        text = without_blank_lines_around(text) if lines else text
        self.changed |= text != written or type(written) is not str
        return text

    def _as_text(self, value: object, column: str) -> str:
        try:
            return json_text(value) if isinstance(value, (bool, Number, dict, list, tuple)) else scalar_text(value)
        except RowError as error:
            raise RowError(error.reason, **{"column": column, **error.params}) from error
        except RecursionError as error:
            raise RowError("deep", column=column) from error
