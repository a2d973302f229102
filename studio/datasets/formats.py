"""What rows people write, and what they become: Alpaca, ShareGPT, OpenAI and plain text, under their usual names."""

from __future__ import annotations

import json
import re
from typing import Any

from studio.datasets.reading import RowError

# Column names, compared in lower case, the most usual first.
COLUMNS: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "消息"),
    "conversations": ("conversations", "conversation", "dialogue", "dialog", "对话"),
    "instruction": ("instruction", "prompt", "question", "query", "problem", "指令", "问题", "提问"),
    "input": ("input", "context", "输入"),
    "output": ("output", "response", "answer", "completion", "target", "输出", "回答", "答案"),
    "system": ("system", "system_prompt", "系统"),
    "history": ("history",),
    "text": ("text", "content", "文本"),
}
KNOWN_COLUMNS = frozenset(name for names in COLUMNS.values() for name in names)
ROLES = {
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant",
    "ai": "assistant",
    "system": "system", "developer": "system",
}  # fmt: skip
# The shapes by what a row must have. The first that fits is taken.
_SHAPES = (("openai", ("messages",)), ("sharegpt", ("conversations",)), ("alpaca", ("instruction", "output")),
           ("alpaca", ("input", "output")), ("text", ("text",)))  # fmt: skip
# Line breaks and tabs are text; everything else below a space is debris of a conversion.
_DEBRIS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def columns_of(row: dict[str, Any]) -> dict[str, str]:
    """Which column of a row plays which part: `{"instruction": "Question", ...}`."""
    by_name = {str(name).strip().lower(): name for name in row}
    found = {part: next((by_name[n] for n in names if n in by_name), None) for part, names in COLUMNS.items()}
    return {part: name for part, name in found.items() if name is not None}


def recognise(row: dict[str, Any]) -> str | None:
    """The shape of a row by its columns, or None."""
    columns = columns_of(row)
    return next((shape for shape, parts in _SHAPES if all(part in columns for part in parts)), None)


def normalise(shape: str, row: Any) -> tuple[dict[str, Any], bool]:
    """A row as `{"messages": ...}` or `{"text": ...}`, and whether its text was cleaned. Raises `RowError`."""
    if not isinstance(row, dict):
        raise RowError("not_object", found=type_word(row))
    cleaner = _Cleaner()
    columns = columns_of(row)
    if shape == "text":
        return {"text": cleaner.text(_cell(row, columns, "text"), "text", strip=False)}, cleaner.changed
    if shape == "alpaca":
        messages = _alpaca(row, columns, cleaner)
    else:
        messages = _conversation(row, columns, "messages" if shape == "openai" else "conversations", cleaner)
    return {"messages": messages}, cleaner.changed


def _cell(row: dict[str, Any], columns: dict[str, str], part: str) -> Any:
    if part not in columns:
        raise RowError("missing", column=" / ".join(COLUMNS[part][:3]))
    return row[columns[part]]


def _alpaca(row: dict[str, Any], columns: dict[str, str], cleaner: _Cleaner) -> list[dict[str, str]]:
    """`input` is joined to the instruction by an empty line; `history` holds earlier pairs."""
    asked = "instruction" if "instruction" in columns or "input" not in columns else "input"
    question = cleaner.text(_cell(row, columns, asked), asked)
    if asked == "instruction" and _has_text(more := row.get(columns.get("input"))):
        question += "\n\n" + cleaner.text(more, "input")
    messages = _system(row, columns, cleaner)
    for pair in _listed(row.get(columns.get("history")) or []):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise RowError("type", column="history", found=type_word(pair))
        messages += _turns(cleaner.text(pair[0], "history"), cleaner.text(pair[1], "history"))
    return messages + _turns(question, cleaner.text(_cell(row, columns, "output"), "output"))


def _turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _system(row: dict[str, Any], columns: dict[str, str], cleaner: _Cleaner) -> list[dict[str, str]]:
    said = row.get(columns.get("system"))
    return [{"role": "system", "content": cleaner.text(said, "system")}] if _has_text(said) else []


def _has_text(value: Any) -> bool:
    return value is not None and str(value).strip() != ""


def _conversation(row: dict[str, Any], columns: dict[str, str], part: str, cleaner: _Cleaner) -> list[dict[str, str]]:
    """A list of messages, in OpenAI's keys or ShareGPT's, also as JSON in a CSV cell. Ends with an answer."""
    turns = _listed(_cell(row, columns, part))
    if not isinstance(turns, (list, tuple)):
        raise RowError("type", column=columns[part], found=type_word(turns))
    messages = [_message(turn, columns[part], cleaner) for turn in turns]
    if not any(message["role"] == "system" for message in messages):
        messages = _system(row, columns, cleaner) + messages
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
        cleaner.changed = True
    if not messages:
        raise RowError("no_answer")
    return messages


def _listed(value: Any) -> Any:
    """A list, read from JSON where a spreadsheet made it text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _message(turn: Any, column: str, cleaner: _Cleaner) -> dict[str, str]:
    if not isinstance(turn, dict):
        raise RowError("type", column=column, found=type_word(turn))
    if turn.get("tool_calls") or turn.get("function_call"):
        raise RowError("tools")
    written = turn.get("role", turn.get("from"))
    role = ROLES.get(written.strip().lower()) if isinstance(written, str) else None
    if role is None:
        raise RowError("role", role=str(written)[:40], allowed="system, user, assistant")
    content = turn["content"] if turn.get("content") is not None else turn.get("value")
    if isinstance(content, (list, tuple)):
        content = _joined_parts(content)
    return {"role": role, "content": cleaner.text(content, role)}


def _joined_parts(parts: Any) -> str:
    """OpenAI's content parts, where all of them are text."""
    if not all(isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in parts):
        raise RowError("not_text")
    return "\n".join(part["text"] for part in parts)


class _Cleaner:
    """Makes values text fit to train on, and remembers whether it had to."""

    def __init__(self) -> None:
        self.changed = False

    def text(self, value: Any, column: str, strip: bool = True) -> str:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value, self.changed = str(value), True
        if value is not None and not isinstance(value, str):
            raise RowError("type", column=column, found=type_word(value))
        clean = _SURROGATES.sub("\ufffd", _DEBRIS.sub("", (value or "").replace("\r\n", "\n").replace("\r", "\n")))
        clean = clean.strip() if strip else clean
        if not clean.strip():
            raise RowError("empty", column=column)
        self.changed |= clean != value
        return clean


def type_word(value: Any) -> str:
    """JSON's name of a value's type."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null" if value is None else type(value).__name__)
