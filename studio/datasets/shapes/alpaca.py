"""A question and its answer in columns of their own: Alpaca with history and system, prompt and completion (also as
lists of messages), question and answer, a dialogue and its summary."""

from __future__ import annotations

from studio.datasets.shapes import chat, plain
from studio.datasets.shapes.record import Reading, Row, Shape


def _used(one: Reading) -> frozenset[str]:
    return chat.parts(None, chat.asked_part(one), "output", "reasoning")


def _read(one: Reading) -> Row:
    chat.check_media(one)
    asked = chat.question(one)
    return chat.with_tools(one, {"messages": chat.ended(one, asked + chat.answer(one))})


SHAPE = Shape(
    name="alpaca",
    form="chat",
    needs=(chat.ASKED, ("output",)),
    takes=("history", "reasoning", *chat.BESIDE),
    recognise=chat.is_answered,
    read=_read,
    plain=plain.question,
    used=_used,
)
