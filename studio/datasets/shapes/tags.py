"""Words, each with its tag (entities, parts of speech)."""

from __future__ import annotations

from typing import Any

from studio.datasets.shapes.record import Reading, Row, Shape
from studio.datasets.source import RowError
from studio.datasets.text import clean
from studio.datasets.values import Number, listed, plain, type_word


def _recognise(one: Reading) -> bool:
    return all(part in one.columns and _is_list(one.value(part)) for part in ("tokens", "tags"))


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) or isinstance(value, str) and value.lstrip().startswith("[")


def _read(one: Reading) -> Row:
    tokens, tags = _cells(one, "tokens"), _cells(one, "tags")
    if len(tokens) != len(tags):
        raise RowError("uneven_tags", column=one.name("tokens"), tokens=len(tokens), tags=len(tags))
    if not tokens:
        raise RowError("empty", column=one.name("tokens"))
    return {"tokens": [_token(one, token) for token in tokens], "tags": [_tag(one, tag) for tag in tags]}


def _cells(one: Reading, part: str) -> list[Any]:
    found = listed(one.cell(part), one.name(part))
    if not isinstance(found, (list, tuple)):
        raise RowError("type", column=one.name(part), found=type_word(found))
    return list(found)


def _token(one: Reading, token: Any) -> str:
    """As it is: a blank may be one."""
    if not isinstance(token, str):
        raise RowError("type", column=one.name("tokens"), found=type_word(token))
    return clean(token)


def _tag(one: Reading, tag: Any) -> str | int:
    """A word, or the number of one."""
    name = one.name("tags")
    if isinstance(tag, (int, Number)) and not isinstance(tag, bool):
        number = plain(tag, name)
        if isinstance(number, int):
            return number
    if isinstance(tag, str) and not isinstance(tag, Number):
        return one.cleaner.text(tag, name)
    raise RowError("type", column=name, found=type_word(tag))


SHAPE = Shape(
    name="tags",
    form="tags",
    needs=(("tokens",), ("tags",)),
    takes=(),
    recognise=_recognise,
    read=_read,
)
