"""A source text and its target: translations, also as one object by language."""

from __future__ import annotations

from studio.datasets.shapes.record import Reading, Row, Shape
from studio.datasets.values import is_blank


def _recognise(one: Reading) -> bool:
    if len(_languages(one)) > 1:
        return True
    return "from" in one.columns and "to" in one.columns and not {"instruction", "input"} & set(one.columns)


def _languages(one: Reading) -> list[str]:
    found = one.value("translation")
    texts = isinstance(found, dict) and all(isinstance(text, str) or is_blank(text) for text in found.values())
    return list(found) if isinstance(found, dict) and texts else []


def _settle(one: Reading) -> dict[str, str]:
    """From the first language to the second, in all rows: their order in an object says nothing."""
    languages = _languages(one)
    if len(languages) < 2 or "from" in one.columns:
        return {}
    column = one.columns["translation"]
    return {"from": f"{column}.{languages[0]}", "to": f"{column}.{languages[1]}"}


def _read(one: Reading) -> Row:
    one.columns = {**_settle(one), **one.columns}
    return {"source": one.text("from"), "target": one.text("to")}


SHAPE = Shape(
    name="seq2seq",
    form="seq2seq",
    needs=(("from",), ("to",)),
    takes=(),
    recognise=_recognise,
    read=_read,
    settle=_settle,
)
