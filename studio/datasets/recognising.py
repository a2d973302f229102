"""What a file's rows are, by the first of them and by what its user says; else a problem that says what was found and
what is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.shapes.columns import COLUMNS, columns_of
from studio.datasets.shapes.formats import ONE_MESSAGE, SHAPES, columns_read, label_is_class, recognise
from studio.datasets.shapes.record import NO_MAPPING, Mapping, Reading, in_row
from studio.datasets.shapes.threads import JOINED_BY
from studio.datasets.source import RowError, Source
from studio.datasets.values import is_blank, type_word

# Rows looked at to recognise the shape: a few odd ones at the top must not decide.
PEEK_ROWS = 100
Peeked = Sequence[tuple[int, Any]]


@dataclass(frozen=True)
class Asked:
    """What the user says of the rows: their shape (None: as it is recognised), and which column plays which part."""

    shape: str | None = None
    mapping: Mapping = NO_MAPPING


NOTHING_ASKED = Asked()


@dataclass(frozen=True)
class Recognised:
    shape: str
    typical: dict[str, Any]
    """A row of that shape."""
    mapping: Mapping = NO_MAPPING
    is_class: bool = False
    """Whether a `label` beside the answers is a class, and no mark."""

    @property
    def columns(self) -> dict[str, str]:
        """Those of the typical row, by part."""
        return self.mapping.columns_of(self.typical)

    def columns_read(self) -> dict[str, str]:
        """Which column is read as what."""
        return columns_read(self.shape, self.typical, self.mapping)


def recognised(source: Source, peeked: Peeked, asked: Asked = NOTHING_ASKED) -> Recognised:
    """Of the first rows the form that most have, and of that the shape that most have; a chosen answer beside a
    rejected one in any of them is told first. Raises `Problem` where no row has a shape."""
    if not peeked:
        raise Problem("dataset.empty", file=source.shown)
    objects = [(number, value) for number, value in peeked if isinstance(value, dict)]
    if asked.mapping:
        _check_columns(source, objects, asked.mapping)
    if asked.shape:
        return _told(source, objects or peeked, asked.shape, asked.mapping)
    found = [(shape, number, value) for number, value in objects if (shape := _recognised(value, asked.mapping))]
    if not found:
        raise _unrecognised(source, peeked, objects)
    shape = _usual(found)
    number, value = next((number, value) for one, number, value in found if one == shape)
    columns = asked.mapping.columns_of(value)
    is_class = shape != "preference" and _label_is_class(columns, objects)
    if shape == "unpaired" and is_class:
        without = {name: inner for name, inner in value.items() if name != columns["label"]}
        shape = recognise(without, asked.mapping) or shape
    if shape == "text":
        _check_text(source, number, value, columns)
    if shape == ONE_MESSAGE:
        shape = _thread_shape(source, number, value, columns)
    return Recognised(shape, value, _settled(shape, value, asked.mapping), is_class)


def _settled(shape: str, row: dict[str, Any], mapping: Mapping) -> Mapping:
    settle = SHAPES[shape].settle
    found = settle(Reading(row, mapping=mapping)) if settle else {}
    return replace(mapping, columns={**found, **mapping.columns}) if found else mapping


def _usual(found: list[tuple[str, int, Any]]) -> str:
    """The shape of most of the rows that have the form of most; a tie goes to the first."""
    shapes = Counter(shape for shape, _, _ in found)
    if shapes["preference"]:
        return "preference"
    if shapes["unpaired"]:
        # A mark that stands in some rows only is none the less a mark, where the others have its column.
        marked = sum("verdict" in columns or "label" in columns for columns in (columns_of(row) for _, _, row in found))
        if 2 * marked >= len(found):
            return "unpaired"
        del shapes["unpaired"]
    forms: Counter[str] = Counter()
    for shape, rows in shapes.items():
        forms[_form(shape)] += rows
    form = forms.most_common(1)[0][0]
    return next(shape for shape, _ in shapes.most_common() if _form(shape) == form)


def _form(shape: str) -> str:
    return shape if shape == ONE_MESSAGE else SHAPES[shape].form


def _told(source: Source, rows: Peeked, shape: str, mapping: Mapping) -> Recognised:
    """The user's shape, with the columns that it needs there."""
    known = SHAPES[shape]
    number, value = next(((at, row) for at, row in rows if isinstance(row, dict) and _has_all(shape, row, mapping)),
                         rows[0])  # fmt: skip
    if not isinstance(value, dict):
        raise _unrecognised(source, rows, [])
    there = mapping.columns_of(value)
    if known.settle:
        there = {**known.settle(Reading(value, mapping=mapping)), **there}
    for group in known.needs:
        if not any(part in there for part in group):
            needed = " / ".join(group)
            raise Problem(
                "dataset.part_needed", file=source.shown, row=number, shape=shape, needed=needed, found=_names(value)
            )
    if shape == "threads":
        _thread_shape(source, number, value, there)
    return Recognised(shape, value, _settled(shape, value, mapping))


def _has_all(shape: str, row: dict[str, Any], mapping: Mapping) -> bool:
    there = mapping.columns_of(row)
    return all(any(part in there for part in group) for group in SHAPES[shape].needs)


def _check_columns(source: Source, objects: Peeked, mapping: Mapping) -> None:
    """Each column that the user names is one of the file."""
    for part, name in mapping.columns.items():
        if objects and not any(in_row(row, name) for _, row in objects):
            raise Problem("dataset.no_such_column", file=source.shown, part=part, value=name[:80],
                          found=_names(objects[0][1]))  # fmt: skip


def _unrecognised(source: Source, peeked: Peeked, objects: Peeked) -> Problem:
    number, value = objects[0] if objects else peeked[0]
    if not objects and isinstance(error := peeked[0][1], RowError):
        if error.reason == "fields":
            return Problem("dataset.fields", file=source.shown, row=number, **error.params)
        why = {"row": number, "reason": error.reason, "params": error.params}
        return Problem("dataset.none_left", file=source.shown, dropped=len(peeked), **why)
    if not objects:
        return Problem("dataset.not_objects", file=source.shown, row=number, found=type_word(value))
    names = _names(value)
    if source.format == "csv" and looks_like_a_row(list(value)):
        return Problem("dataset.no_header", file=source.shown, found=names)
    for have, lack in (("instruction", "output"), ("output", "instruction"), ("input", "output")):
        if have in columns_of(value):
            needed = " / ".join(COLUMNS[lack][:4])
            return Problem("dataset.missing_column", file=source.shown, row=number, found=names, needed=needed)
    return Problem("dataset.unknown_columns", file=source.shown, row=number, found=names)


def _label_is_class(columns: dict[str, str], rows: Peeked) -> bool:
    """Whether a `label` beside the answers is a class, by the first rows."""
    if "label" not in columns or "verdict" in columns:
        return False
    return label_is_class([one.get(columns["label"]) for _, one in rows if isinstance(one, dict)])


def _recognised(row: dict[str, Any], mapping: Mapping) -> str | None:
    try:
        return recognise(row, mapping)
    except RecursionError:
        return None


def _names(row: dict[str, Any]) -> str:
    return ", ".join(str(name)[:40] for name in list(row)[:12]) or "-"


def _check_text(source: Source, number: int, row: dict[str, Any], columns: dict[str, str]) -> None:
    """A question beside a text, and no answer: whether the text is the answer is not for us to guess."""
    asked = next(
        (
            columns[part]
            for part in ("instruction", "input")
            if part in columns and not is_blank(row.get(columns[part]))
        ),
        None,
    )
    if asked is not None:
        raise Problem(
            "dataset.text_or_answer",
            file=source.shown,
            row=number,
            asked=str(asked)[:40],
            text=str(columns["text"])[:40],
        )


def _thread_shape(source: Source, number: int, row: dict[str, Any], columns: dict[str, str]) -> str:
    """`threads`, where the rows say which conversation they belong to."""
    if "parent" in columns and "id" in columns or "thread" in columns:
        return "threads"
    needed = " / ".join(COLUMNS[part][0] for part in JOINED_BY)
    raise Problem("dataset.message_rows", file=source.shown, row=number, found=_names(row), needed=needed)


def looks_like_a_row(names: list[str]) -> bool:
    """Whether what stands in a header's place reads like sentences or numbers."""
    return any(
        len(name) > 40
        or len(name.split()) > 3
        or name.rstrip().endswith(tuple(".?!。？！…"))
        or name.replace(".", "", 1).isdigit()
        for name in map(str, names)
    )
