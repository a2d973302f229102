"""A text, or two, with a label: a word, a number, or several words."""

from __future__ import annotations

import re
from typing import Any

from studio.datasets.shapes.record import Reading, Row, Shape
from studio.datasets.source import RowError
from studio.datasets.values import Number, is_blank, listed, plain, type_word

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")


def _recognise(one: Reading) -> bool:
    if "labelled" not in one.columns or not one.has("class") or not isinstance(one.value("labelled"), str):
        return False
    label = one.value("class")
    return one.columns["labelled"] != one.columns["class"] and (_is_plain(label) or _is_list(label))


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float, bool))


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_plain, value))


def _read(one: Reading) -> Row:
    made: Row = {"text": one.text("labelled", lines=False)}
    if one.has("text_pair"):
        made["text_pair"] = one.text("text_pair", lines=False)
    return {**made, "label": _label(one)}


def _label(one: Reading) -> str | int | float | list[str]:
    name = one.name("class")
    label = listed(one.cell("class"), name)
    if isinstance(label, (list, tuple)):  # none of several labels is an answer, too
        return [str(_one(one, value, name)) for value in label]
    if is_blank(label):
        raise RowError("empty", column=name)
    return _one(one, label, name)


def _one(one: Reading, label: Any, name: str) -> str | int | float:
    """A number is one in every format: a CSV has nothing but text."""
    if not _is_plain(label):
        raise RowError("type", column=name, found=type_word(label))
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, str) and not isinstance(label, Number):
        label = one.cleaner.text(label, name)
        if not _NUMBER.fullmatch(label.strip()):
            return str(label)
        label = Number(label.strip())
    number: int | float = plain(label, name)
    return number


SHAPE = Shape(
    name="labelled",
    form="labelled",
    needs=(("labelled",), ("class",)),
    takes=("text_pair",),
    recognise=_recognise,
    read=_read,
)
