"""How normalised messages are handed to a template. Templates differ in what they take; keys that hold nothing never
reach one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

Messages = list[dict[str, Any]]

_SURROGATES = re.compile("[\ud800-\udfff]")
PLAIN_KEYS = {"role", "content"}
"""Of a message that is a text and nothing else."""
OBJECT_ARGUMENTS, TEXT_ARGUMENTS = "object", "text"


@dataclass(frozen=True)
class Writing:
    """One way to hand over a turn that calls tools."""

    arguments: str
    """`object`, as Transformers documents it, or JSON `text`, which some templates add to a string."""
    content: str
    """What stands for no content: `empty` text, `absent` key, or `none`."""


WRITINGS = tuple(
    Writing(arguments, content)
    for arguments in (OBJECT_ARGUMENTS, TEXT_ARGUMENTS)
    for content in ("empty", "absent", "none")
)


def written(messages: Messages, way: Writing, parts: bool = False) -> Messages:
    """Messages as a template takes them; with `parts`, content is a list of one text."""
    return [_message(message, way, parts) for message in messages]


def _message(message: dict[str, Any], way: Writing, parts: bool) -> dict[str, Any]:
    if not parts and message.keys() == PLAIN_KEYS:
        return {"role": message["role"], "content": clean(message["content"])}
    kept = {key: clean(value) for key, value in message.items() if value is not None and key != "trained"}
    if calls := kept.get("tool_calls"):
        kept["tool_calls"] = [_call(call, way) for call in calls]
        if not kept.get("content"):
            kept.pop("content", None)
            if way.content in ("empty", "none"):
                kept["content"] = "" if way.content == "empty" else None
    else:
        kept.pop("tool_calls", None)
    if parts and isinstance(kept.get("content"), str):
        kept["content"] = [{"type": "text", "text": kept["content"]}]
    return kept


def _call(call: dict[str, Any], way: Writing) -> dict[str, Any]:
    function = call.get("function", call)
    arguments = arguments_of(function)
    if way.arguments == TEXT_ARGUMENTS:
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"type": "function", **call, "function": {**function, "arguments": arguments}}


def arguments_of(function: dict[str, Any]) -> Any:
    """A call's arguments as an object. As text most templates would encode them a second time."""
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            return json.loads(arguments)
        except ValueError:
            return arguments
    return arguments


def _mended(text: str) -> str:
    try:
        text.encode()  # several times faster than to look for them
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text)
    return text


def clean(value: Any) -> Any:
    """Without lone surrogates, which no tokenizer and no page takes."""
    if isinstance(value, str):
        return value if value.isascii() else _mended(value)
    if isinstance(value, dict):
        return {clean(key): clean(one) for key, one in value.items()}
    return [clean(one) for one in value] if isinstance(value, (list, tuple)) else value
