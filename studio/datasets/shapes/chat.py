"""Conversations, and questions with their answers, as messages: what Alpaca, ShareGPT, OpenAI and the shapes of good
and bad answers share."""

from __future__ import annotations

from functools import cache
from typing import Any

from studio.datasets.shapes.messages import Message, conversation, is_conversation
from studio.datasets.shapes.record import Reading, Row
from studio.datasets.shapes.tools import tools_of
from studio.datasets.source import RowError
from studio.datasets.values import is_blank, listed, type_word

ASKED = ("instruction", "input", "source")
"""Parts that may be the question, the first that is there."""
BESIDE = ("system", "tools", "media")


def turns_part(one: Reading) -> str | None:
    """The part that holds the turns. A dialogue that is a text with a summary beside it is no list of turns."""
    if "messages" in one.columns:
        return "messages"
    if "conversations" in one.columns and (
        "output" not in one.columns or is_conversation(one.value("conversations"), one.keys)
    ):
        return "conversations"
    return None


def asked_part(one: Reading) -> str:
    for part in ASKED:
        if part in one.columns:
            return part
    return "instruction"


def is_answered(one: Reading) -> bool:
    """Whether a column asks and another answers."""
    return "output" in one.columns and any(part in one.columns for part in ASKED)


def is_whole(one: Reading) -> bool:
    return bool(turns_part(one)) or is_answered(one)


@cache
def parts(turns: str | None, asked: str, *more: str) -> frozenset[str]:
    """The parts that are read of rows of one kind; asked for once a row."""
    if turns:
        return frozenset((*BESIDE, *more, turns))
    return frozenset((*BESIDE, *more, asked, "history", *(("input",) if asked == "instruction" else ())))


def turns_of(one: Reading, part: str) -> list[Message]:
    """The messages of a part that holds turns, with the system text of another column before them."""
    return with_system(one, conversation(one.cell(part), one.name(part), one.cleaner, one.keys))


def question(one: Reading) -> list[Message]:
    """What is asked: `input` is joined to the instruction by an empty line; `history` holds earlier pairs.

    A list of messages as prompt (TRL) is read and not trained.
    """
    part = asked_part(one)
    asked = one.cell(part)
    if part != "source" and is_conversation(asked, one.keys):
        turns = conversation(asked, one.name(part), one.cleaner, one.keys)
        return with_system(one, [{**turn, "trained": False} if turn["role"] == "assistant" else turn for turn in turns])
    said = one.text(part)
    if part == "instruction" and one.has("input"):
        said += "\n\n" + one.text("input")
    return with_system(one, [*_history(one), {"role": "user", "content": said}])


def answer(one: Reading) -> list[Message]:
    """What is answered: a text, or messages. JSON that is text is an answer."""
    given = one.cell("output")
    if not isinstance(given, str) and is_conversation(given, one.keys):
        return conversation(given, one.name("output"), one.cleaner, one.keys)
    made: Message = {"role": "assistant", "content": one.text("output")}
    if one.has("reasoning"):
        made["reasoning_content"] = one.text("reasoning")
    return [made]


def _history(one: Reading) -> list[Message]:
    messages: list[Message] = []
    if not one.has("history"):
        return messages
    name = one.name("history")
    found = listed(one.value("history"), name)
    for pair in [] if is_blank(found) else found if isinstance(found, (list, tuple)) else [found]:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise RowError("type", column=name, found=type_word(pair))
        for role, said in zip(("user", "assistant"), pair, strict=True):
            messages.append({"role": role, "content": one.cleaner.text(said, name)})
    return messages


def with_system(one: Reading, messages: list[Message]) -> list[Message]:
    if "system" not in one.columns or not one.has("system"):
        return messages
    if any(message["role"] == "system" for message in messages):
        one.discarded.add("system")  # the conversation has its own
        return messages
    return [{"role": "system", "content": one.text("system")}, *messages]


def ended(one: Reading, messages: list[Message]) -> list[Message]:
    """Up to the last answer. Raises `RowError` without one."""
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
        one.cleaner.changed = True
    if not messages:
        raise RowError("no_answer")
    return messages


def check_media(one: Reading) -> None:
    if one.has("media"):
        raise RowError("images", column=one.name("media"))


def with_tools(one: Reading, made: Row, offered: Any = None) -> Row:
    """A row with the tools on offer: of their own column, or those that stand beside the messages."""
    offered = one.value("tools") or offered
    if not is_blank(offered) and (tools := tools_of(offered, one.name("tools"))):
        made["tools"] = tools
    return made
