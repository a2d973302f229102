"""Rows that are longer than the model is trained on, and documents that are to be trained in pieces."""

from __future__ import annotations

from studio.datasets.cleaning.chunks import pieces
from studio.datasets.cleaning.ratios import is_code
from studio.datasets.cleaning.record import Asked, Tokens, Verdict
from studio.datasets.forms import Row, form_of

PIECE, OVERLAP = 2_000, 200
"""Of a document: about a page in characters, about three in tokens, and a few sentences of the piece before."""
FEWEST = 16
"""Tokens that are left for a piece beside what belongs to every row of a text."""


def judge(row: Row, asked: Asked) -> Verdict | None:
    """`drop`, `warn`, and of texts `cut` (what is over the limit is left off at the end of a sentence) and `split`; a
    conversation is cut behind the last answer that fits. What can be made to fit in no such way is told and stays."""
    tokens, limit = asked.tokens, asked.options["max_length"]
    assert tokens is not None
    length = tokens.of_row(row)
    if length <= limit:
        return None
    found = [("too_long", {"length": length, "limit": limit})]
    if asked.action == "drop":
        return Verdict(found, ())
    if asked.action == "warn":
        return Verdict(found)
    form = form_of(row)
    made: list[Row] = []
    if form == "text":
        made = _pieces(row, asked, tokens, length)
    elif form == "chat" and asked.action == "cut":
        made = _with_fewer_turns(row, tokens, limit)
    return Verdict(found, tuple(made)) if made else Verdict([*found, ("left_alone", {})])


def judge_documents(row: Row, asked: Asked) -> Verdict | None:
    """Documents over `length`, in tokens where a tokenizer is at hand and else in characters, become pieces."""
    if form_of(row) != "text":
        return None
    text, limit = row["text"], asked.options["length"]
    count = asked.tokens.of_text if asked.tokens else None
    if (length := count(text) if count else len(text)) <= limit:
        return None
    reason = "long_in_tokens" if asked.tokens else "long_in_characters"
    found = [(reason, {"length": length, "limit": limit})]
    if asked.action == "warn":
        return Verdict(found)
    overlap = min(asked.options["overlap"], limit // 2)
    made = pieces(text, limit, overlap, count, is_code(text, asked.file_of(row)))
    return Verdict(found, tuple({**row, "text": one.strip("\n")} for one in made if one.strip()))


def _pieces(row: Row, asked: Asked, tokens: Tokens, length: int) -> list[Row]:
    text, limit = row["text"], asked.options["max_length"]
    room = limit - max(0, length - tokens.of_text(text))
    overlap = min(asked.options["overlap"], room // 2) if asked.action == "split" else 0
    if room < FEWEST:
        return []
    made = [
        {**row, "text": one.strip("\n")}
        for one in pieces(text, room, overlap, tokens.of_text, is_code(text, asked.file_of(row)))
        if one.strip()
    ]
    return made[:1] if asked.action == "cut" else made


def _with_fewer_turns(row: Row, tokens: Tokens, limit: int) -> list[Row]:
    messages = row["messages"]
    ends = [at + 1 for at, one in enumerate(messages) if one["role"] == "assistant" and not one.get("tool_calls")]
    for end in reversed(ends[:-1]):
        made = {**row, "messages": messages[:end]}
        if tokens.of_row(made) <= limit:
            return [made]
    return []
