"""Texts that are alike or not, for embeddings: one with what is near it and far from it, or two with a score."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from studio.datasets.shapes.record import Reading, Row, Shape
from studio.datasets.source import RowError
from studio.datasets.values import Number, is_blank, listed, plain, type_word

_NUMBERED = re.compile(r"(neg|negative)_?\d+")
"""sentence-transformers writes hard negatives as columns of their own."""


def _recognise(one: Reading) -> bool:
    if "anchor" not in one.columns or not isinstance(one.value("anchor"), str):
        return False
    if one.has("positive"):
        return True
    if "other" in one.columns:
        return one.has("score") and "class" not in one.columns
    return str(one.columns["anchor"]).strip().lower() == "anchor" and one.has("negative")


def _numbered(one: Reading) -> list[str]:
    return [name for name in one.row if _NUMBERED.fullmatch(str(name).strip().lower())]


def _read(one: Reading) -> Row:
    made: Row = {"anchor": one.text("anchor")}
    near = next((part for part in ("positive", "other") if part in one.columns), None)
    if near:
        found = list(_texts(one, one.cell(near), one.name(near)))
        made["positive"] = found[0] if len(found) == 1 else found
        if not found:
            raise RowError("empty", column=one.name(near))
    far = [("negative", one.value("negative"))] if one.has("negative") else []
    columns = [(one.name(part), value) for part, value in far] + [(name, one.row[name]) for name in _numbered(one)]
    negatives = [text for name, value in columns if not is_blank(value) for text in _texts(one, value, name)]
    if negatives:
        made["negatives"] = negatives
    if one.has("score"):
        made["score"] = _score(one)
    if len(made) == 1:
        raise RowError("missing", column=one.name("positive"))
    one.columns |= {f"negative {name}": name for name in _numbered(one)}
    return made


def _used(one: Reading) -> tuple[str, ...]:
    near = "positive" if "positive" in one.columns else "other"
    return ("anchor", near, "negative", "score", *(part for part in one.columns if part.startswith("negative ")))


def _texts(one: Reading, value: Any, name: str) -> Iterator[str]:
    found = listed(value, name)
    for text in found if isinstance(found, (list, tuple)) else [value]:
        if not isinstance(text, str):
            raise RowError("type", column=name, found=type_word(text))
        yield one.cleaner.text(text, name)


def _score(one: Reading) -> float | int:
    name, value = one.name("score"), one.value("score")
    if isinstance(value, str):
        value = Number(value.strip())
    try:
        number = plain(value, name)
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise RowError("type", column=name, found=str(value)[:40])
    return number


SHAPE = Shape(
    name="pairs",
    form="pairs",
    needs=(("anchor",), ("positive", "negative", "other")),
    takes=("score",),
    recognise=_recognise,
    read=_read,
    used=_used,
)
