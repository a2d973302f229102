"""A list of turns: OpenAI's messages, and ShareGPT's conversations. Both ways of writing turns are read under both
names."""

from __future__ import annotations

from functools import partial

from studio.datasets.shapes import chat, plain
from studio.datasets.shapes.record import Reading, Row, Shape


def _read(part: str, one: Reading) -> Row:
    chat.check_media(one)
    return chat.with_tools(one, {"messages": chat.ended(one, chat.turns_of(one, part))})


def _shape(name: str, part: str) -> Shape:
    return Shape(
        name=name,
        form="chat",
        needs=((part,),),
        takes=chat.BESIDE,
        recognise=lambda one: chat.turns_part(one) == part,
        read=partial(_read, part),
        plain=partial(plain.turns, part),
    )


OPENAI, SHAREGPT = _shape("openai", "messages"), _shape("sharegpt", "conversations")
