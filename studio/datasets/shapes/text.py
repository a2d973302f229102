"""Plain text, for continued pretraining: kept to the letter."""

from __future__ import annotations

from studio.datasets.shapes.record import Reading, Row, Shape


def _read(one: Reading) -> Row:
    return {"text": one.text("text", lines=False)}


SHAPE = Shape(
    name="text",
    form="text",
    needs=(("text",),),
    takes=(),
    recognise=lambda one: "text" in one.columns,
    read=_read,
)
