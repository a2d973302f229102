"""Whether what a row says is in the text that is trained. Templates leave things out without a word: here it is
said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from studio.rendering.messages import PLAIN_KEYS, Messages, arguments_of, clean
from studio.rendering.templates import Rendered

SHOWN_CHARACTERS = 60
REASONING, SYSTEM, UNKNOWN, READ = "reasoning_left_out", "system_left_out", "unknown_tokens", "earlier_turns_read"


@dataclass(frozen=True)
class Lost:
    """What the text does not have. `reason`: `answer_left_out`, `turn_left_out` (role) or `tools_left_out`, with
    `text`, its beginning."""

    reason: str
    params: dict[str, Any]


def lost(messages: Messages, tools: list[dict[str, Any]] | None, rendered: Rendered) -> Lost | None:
    """The first part of a conversation without which it would teach something else; None when all of them are there."""
    for index, message in enumerate(messages):
        if _is_there(index, message, rendered):
            continue
        answers = message["role"] == "assistant"
        text = _written_by(index, rendered) if answers else rendered.text
        _, content = reasoning_and_answer(message)
        notations = _notations(content) if message["role"] == "tool" else {content}  # Llama 3.1 writes results as JSON
        if message["role"] != "system" and not any(one in text for one in notations):
            reason = "answer_left_out" if answers else "turn_left_out"
            return Lost(reason, {"role": message["role"], "text": _short(content)})
        for part in _called(message):
            if not any(notation in text for notation in _notations(part)):
                return Lost("tools_left_out", {"text": _short(str(part))})
    for name in _offered(tools):
        if name not in rendered.text:
            return Lost("tools_left_out", {"text": _short(name)})
    return None


def _is_there(index: int, message: dict[str, Any], rendered: Rendered) -> bool:
    """Whether a message that is a text and nothing else is in the text as it stands; if not it takes a closer look."""
    if message.keys() != PLAIN_KEYS or message["role"] not in ("user", "assistant"):
        return False
    content = message["content"].strip()
    if message["role"] == "user":
        return content in rendered.text
    return "</think>" not in content and any(
        turn.index == index and rendered.text.find(content, turn.start, turn.end) >= 0 for turn in rendered.turns
    )


def notes(messages: Messages, rendered: Rendered) -> tuple[str, ...]:
    """What is left out of a row that is trained all the same: `reasoning_left_out`, `system_left_out`."""
    found = []
    for index, message in enumerate(messages):
        if message["role"] == "system" and clean(message.get("content") or "").strip() not in rendered.text:
            found.append(SYSTEM)
        is_plain = message.keys() == PLAIN_KEYS and "</think>" not in message["content"]
        if message["role"] == "assistant" and not is_plain and message.get("trained", True):
            thoughts, _ = reasoning_and_answer(message)
            if any(thought not in _written_by(index, rendered) for thought in thoughts):
                found.append(REASONING)
    return tuple(dict.fromkeys(found))


def last_answer(messages: Messages) -> dict[str, str]:
    """The values of `answer_left_out` where no answer is written at all."""
    answer = next(message for message in reversed(messages) if message["role"] == "assistant")
    return {"role": "assistant", "text": _short(reasoning_and_answer(answer)[1])}


def reasoning_and_answer(message: dict[str, Any]) -> tuple[list[str], str]:
    """An assistant's thoughts, from their own key and from before `</think>` in its content, and what it answered."""
    content = clean(message.get("content") or "")
    thoughts = [clean(message["reasoning_content"])] if message.get("reasoning_content") else []
    if message["role"] == "assistant" and "</think>" in content:
        before, content = content.rsplit("</think>", 1)
        thoughts += before.replace("</think>", "<think>").split("<think>")
    return [thought.strip() for thought in thoughts if thought.strip()], content.strip()


def _written_by(index: int, rendered: Rendered) -> str:
    """What of the text is this message's; stretches are told apart, so that an answer across two is none."""
    return "\0".join(rendered.text[turn.start : turn.end] for turn in rendered.turns if turn.index == index)


def _called(message: dict[str, Any]) -> Iterator[Any]:
    """Names and arguments of a turn's calls, down to single values."""
    for call in message.get("tool_calls") or ():
        function = call.get("function", call)
        yield function.get("name", "")
        yield from _leaves(arguments_of(function))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _notations(value: Any) -> set[str]:
    """A value as templates write it: bare, in JSON, or as Python prints it."""
    value = clean(value)
    return {
        str(value),
        json.dumps(value, ensure_ascii=False).strip('"'),
        json.dumps(value).strip('"'),
        repr(value).strip("'"),
    }


def _offered(tools: list[dict[str, Any]] | None) -> Iterator[str]:
    for tool in tools or ():
        yield str(clean(tool.get("function", tool).get("name", "")))


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHOWN_CHARACTERS else words[: SHOWN_CHARACTERS - 1] + "…"
