"""Documents and answers with too little in them, and rows that teach nothing."""

from __future__ import annotations

import re

from studio.datasets.cleaning.parts import ANSWER, TEXT, parts
from studio.datasets.cleaning.record import Asked, Found, Verdict
from studio.datasets.forms import Row

TEXT_CHARACTERS = 100
_INVISIBLE = re.compile("[\\s\u00ad\u200b-\u200f\u2028-\u202f\u2060\ufeff]+")
_TURNS = re.compile(r"<\|[a-z_]+\|>|\[/?INST\]|<start_of_turn>|^###? ?(?:Human|Instruction|User)\b", re.MULTILINE)
"""Marks of a conversation that was written out as one text: it is as short as people talk."""


def judge(row: Row, asked: Asked) -> Verdict | None:
    found = _found(row, asked.options["text_characters"], asked.options["answer_characters"])
    if not found:
        return None
    return Verdict([found], () if asked.action == "drop" else None)


def _found(row: Row, text_characters: int, answer_characters: int) -> Found | None:
    for part in parts(row):
        if part.role not in (TEXT, ANSWER):
            continue
        characters = len(_INVISIBLE.sub(" ", part.text).strip())
        if not characters:
            if part.path[-1] == "content" and _calls(row, part.path):
                continue  # it calls a tool and says nothing
            return f"empty_{part.role}", {}
        limit = text_characters if part.role == TEXT else answer_characters
        if characters < limit and part.path[-1] != "reasoning_content":
            if part.role == TEXT and _TURNS.search(part.text):
                continue
            return f"short_{part.role}", {"characters": characters, "limit": limit}
    if "chosen" in row and row["chosen"] == row["rejected"]:
        return "same_answers", {}
    return None


def _calls(row: Row, path: tuple[str | int, ...]) -> bool:
    message = row
    for key in path[:-1]:
        message = message[key]  # type: ignore[index]
    return bool(message.get("tool_calls"))
