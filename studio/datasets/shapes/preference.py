"""A chosen answer beside a rejected one: TRL's with an explicit or implicit prompt, LLaMA-Factory's, OpenAI's,
ms-swift's, where the conversation ends in the chosen answer."""

from __future__ import annotations

from typing import Any

from studio.datasets.shapes import chat
from studio.datasets.shapes.messages import Message, conversation, is_conversation
from studio.datasets.shapes.record import Reading, Row, Shape
from studio.datasets.values import Number, is_blank


def _recognise(one: Reading) -> bool:
    marked = {
        part
        for part in ("chosen", "rejected")
        if part in one.columns and not isinstance(one.value(part), (bool, int, float, Number))
    }
    turns = bool(chat.turns_part(one))
    if "rejected" in marked:
        return chat.is_whole(one) or "chosen" in marked
    return "chosen" in marked and turns


def _used(one: Reading) -> frozenset[str]:
    answered = ("chosen",) if "chosen" in one.columns else ("output", "reasoning")
    return chat.parts(chat.turns_part(one), chat.asked_part(one), "rejected", *answered)


def _read(one: Reading) -> Row:
    """Without a rejected answer it is the conversation with the chosen one."""
    chat.check_media(one)
    if "chosen" in one.columns and not _is_asked(one) and not is_conversation(one.value("chosen"), one.keys):
        return _whole_texts(one)
    prompt, chosen = _chosen(one)
    if not one.has("rejected"):
        return chat.with_tools(one, {"messages": prompt + chosen}, _openai_input(one).get("tools"))
    prompt, chosen, rejected = _apart(prompt, chosen, _answer(one, "rejected"))
    made: Row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    return chat.with_tools(one, made, _openai_input(one).get("tools"))


def _is_asked(one: Reading) -> bool:
    return bool(chat.turns_part(one)) or chat.asked_part(one) in one.columns


def _whole_texts(one: Reading) -> Row:
    """Two texts in which the prompt stands, without roles."""
    chosen = one.text("chosen", lines=False)
    if not one.has("rejected"):
        return {"text": chosen}
    return {"prompt": [], "chosen": chosen, "rejected": one.text("rejected", lines=False)}


def _chosen(one: Reading) -> tuple[list[Message], list[Message]]:
    """What came before, and the chosen answer: up to the last thing that the assistant does not say, where the prompt
    stands in it."""
    if "chosen" not in one.columns:
        if turns := chat.turns_part(one):
            whole = chat.ended(one, chat.turns_of(one, turns))
            return whole[:-1], whole[-1:]
        asked = chat.question(one)
        whole = chat.ended(one, asked + chat.answer(one))
        return (asked, whole[len(asked) :]) if len(whole) > len(asked) else (whole[:-1], whole[-1:])
    chosen = _answer(one, "chosen")
    if chosen[0]["role"] == "assistant":
        return _prior(one), chosen
    return _cut(chat.with_system(one, chosen))


def _answer(one: Reading, part: str) -> list[Message]:
    given = one.cell(part)
    if is_conversation(given, one.keys):
        return chat.ended(one, conversation(given, one.name(part), one.cleaner, one.keys))
    return [{"role": "assistant", "content": one.text(part)}]


def _prior(one: Reading) -> list[Message]:
    """What came before the chosen answer, in columns of its own."""
    if turns := chat.turns_part(one):
        return chat.turns_of(one, turns)
    if inside := _openai_input(one):
        name = one.name(chat.asked_part(one))
        one.cleaner.unused |= {
            f"{name}.{key}" for key, value in inside.items() if key not in ("messages", "tools") and not is_blank(value)
        }
        return chat.with_system(one, conversation(inside["messages"], f"{name}.messages", one.cleaner, one.keys))
    return chat.question(one)


def _openai_input(one: Reading) -> dict[str, Any]:
    """OpenAI's preference rows: `input` is an object with the messages and the tools."""
    asked = one.value(chat.asked_part(one))
    return asked if isinstance(asked, dict) and is_conversation(asked.get("messages"), one.keys) else {}


def _apart(
    prompt: list[Message], chosen: list[Message], rejected: list[Message]
) -> tuple[list[Message], list[Message], list[Message]]:
    """The prompt that both answers follow on, and the answers: as much as is the same, where both are whole
    conversations (TRL's implicit prompt)."""
    if rejected[0]["role"] == "assistant":
        return prompt, chosen, rejected
    whole, most = prompt + chosen, min(len(prompt) + len(chosen), len(rejected)) - 1
    same = next((at for at in range(most) if _said(whole[at]) != _said(rejected[at])), most)
    if same < len(prompt) and whole[0]["role"] == "system" and rejected[0]["role"] != "system":
        return _apart_after_system(whole, rejected)
    return whole[:same], whole[same:], rejected[same:]


def _apart_after_system(
    whole: list[Message], rejected: list[Message]
) -> tuple[list[Message], list[Message], list[Message]]:
    """The system text of a column stands before the one alone."""
    prompt, chosen, rejected = _apart([], whole[1:], rejected)
    return [whole[0], *prompt], chosen, rejected


def _said(message: Message) -> Message:
    return {key: value for key, value in message.items() if key != "trained"}


def _cut(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """Behind the last message that the assistant does not say."""
    at = max((index for index, one in enumerate(messages) if one["role"] != "assistant"), default=-1) + 1
    return messages[:at], messages[at:]


SHAPE = Shape(
    name="preference",
    form="preference",
    needs=(("rejected",),),
    takes=("chosen", *chat.ASKED, "messages", "conversations", "output", "history", "reasoning", *chat.BESIDE),
    recognise=_recognise,
    read=_read,
    used=_used,
)
