"""Rows that are exactly as their shape's own documentation writes them, which most are: read without a look at what
else there might be. A test holds each to what its shape reads."""

from __future__ import annotations

from typing import Any

from studio.datasets.shapes.columns import COLUMNS
from studio.datasets.text import is_clean

Row = dict[str, Any]
ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


def turns(part: str, row: Row) -> Row | None:
    """A row of nothing but a list of turns, of nothing but a role and a text that needs no cleaning."""
    if len(row) != 1:
        return None
    ((column, given),) = row.items()
    if type(given) is not list or not given or column not in COLUMNS[part]:
        return None
    messages = []
    role = ""
    for turn in given:
        if type(turn) is not dict or len(turn) != 2:
            return None
        if "role" in turn:
            word, said = turn["role"], turn.get("content")
        else:
            word, said = turn.get("from"), turn.get("value")
        role = ROLES.get(word, "") if type(word) is str else ""
        if not role or type(said) is not str or not is_clean(said):
            return None
        messages.append({"role": role, "content": said})
    return {"messages": messages} if role == "assistant" else None


def question(row: Row) -> Row | None:
    """`instruction`, `output` and an `input` or none, each a text that needs no cleaning."""
    more = row.get("input", "")
    if len(row) - ("input" in row) != 2 or type(more) is not str:
        return None
    asked, answer = row.get("instruction"), row.get("output")
    if type(asked) is not str or type(answer) is not str or not is_clean(asked) or not is_clean(answer):
        return None
    if more and not is_clean(more) or asked[0] in "[{":  # messages as JSON text, it may be
        return None
    asked = f"{asked}\n\n{more}" if more else asked
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
