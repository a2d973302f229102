"""The shapes of rows, in the order in which they are asked: of a row that several can read the first does. A new shape
is a module here and a line in `SHAPES`."""

from __future__ import annotations

from typing import Any

from studio.datasets.shapes import (
    alpaca,
    conversations,
    labelled,
    pairs,
    preference,
    seq2seq,
    span,
    tags,
    text,
    threads,
    unpaired,
)
from studio.datasets.shapes.columns import unused_columns
from studio.datasets.shapes.record import NO_MAPPING, Mapping, Reading, Shape
from studio.datasets.shapes.unpaired import label_is_class
from studio.datasets.source import RowError
from studio.datasets.values import Doubled, type_word

__all__ = ["SHAPES", "alternatives", "columns_read", "label_is_class", "normalise", "recognise"]

SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        preference.SHAPE,
        unpaired.SHAPE,
        conversations.OPENAI,
        conversations.SHAREGPT,
        span.SHAPE,
        tags.SHAPE,
        seq2seq.SHAPE,
        pairs.SHAPE,
        alpaca.SHAPE,
        threads.SHAPE,
        labelled.SHAPE,
        text.SHAPE,
    )
}
"""What says that an answer is good or bad is asked for first, so that none is trained unseen; turns before columns; a
place in a context before an answer; an answer before a label, and a label before a mere text."""
ONE_MESSAGE = "message"
"""What `recognise` calls a row of `threads`: whether its file can be joined is another question."""


def recognise(row: dict[str, Any], mapping: Mapping = NO_MAPPING) -> str | None:
    """The shape of a row, or None."""
    one = Reading(row, mapping=mapping)
    found = next((shape.name for shape in SHAPES.values() if shape.recognise(one)), None)
    return ONE_MESSAGE if found == threads.SHAPE.name else found


def alternatives(row: dict[str, Any], mapping: Mapping = NO_MAPPING) -> list[str]:
    """All shapes that a row can be read by, the one that reads it first."""
    one = Reading(row, mapping=mapping)
    return [shape.name for shape in SHAPES.values() if shape.recognise(one)]


def columns_read(shape: str, row: dict[str, Any], mapping: Mapping = NO_MAPPING) -> dict[str, str]:
    """The columns that this shape reads of a row, by part."""
    one, known = Reading(row, mapping=mapping), SHAPES[shape]
    if shape == threads.SHAPE.name:
        return {part: name for part, name in one.columns.items() if part in ("role", "text")}
    if known.settle:
        one.columns = {**known.settle(one), **one.columns}
    used = known.used(one) if known.used else known.parts
    return {part: name for part, name in one.columns.items() if part in used and part != "media"}


def normalise(
    shape: str,
    row: object,
    usual: dict[str, str] | None = None,
    unused: set[str] | None = None,
    mapping: Mapping = NO_MAPPING,
) -> tuple[dict[str, Any], bool]:
    """A row as its form (`studio.datasets.forms`), and whether its text was cleaned.

    `usual` names the file's columns by part, for the message that one is missing. Columns and keys that hold something
    and are not used are added to `unused`. Raises `RowError`.
    """
    if not isinstance(row, dict):
        raise RowError("not_object", found=type_word(row))
    if isinstance(row, Doubled):
        raise RowError("doubled", column=row.name)
    known = SHAPES[shape]
    if known.plain and not mapping and (made := known.plain(row)) is not None:
        return made, False
    one = Reading(row, usual, mapping)
    try:
        content = known.read(one)
    finally:
        if unused is not None:
            unused.update(one.cleaner.unused, unused_columns(row, one.used(known)))
    return content, one.cleaner.changed
