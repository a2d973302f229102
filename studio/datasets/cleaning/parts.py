"""The texts of a row by what they are for, and a row with other texts in their places.

Every step looks at rows of every form through `parts`, and changes them through `rewritten`, which keeps what hangs on
a text: a span stays where its answer stands, tokens keep their number, calls of tools stay JSON.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from studio.datasets.forms import Row, form_of

SYSTEM, PROMPT, ANSWER, REJECTED, TEXT, TOKENS, CALL, TOOLS = (
    "system", "prompt", "answer", "rejected", "text", "tokens", "call", "tools"
)  # fmt: skip
SPOKEN = (SYSTEM, PROMPT, ANSWER, REJECTED, TEXT)
"""Texts that people or models wrote for people."""
Path = tuple[str | int, ...]
_DESCRIBED = ("description", "default", "examples")
"""Of what describes a tool: the others are names that calls refer to."""


@dataclass(frozen=True)
class Part:
    """A text, where it stands in its row, and what it is for."""

    path: Path
    text: str
    role: str


Change = Callable[[Part], str]


def parts(row: Row) -> list[Part]:
    """All texts of a row, in their order. Of tokens the joined text: whatever looks at it sees words as they are
    read."""
    return list(_PARTS[form_of(row)](row))


def texts(row: Row, *roles: str) -> list[str]:
    return [part.text for part in parts(row) if part.role in roles]


def rewritten(row: Row, change: Change) -> Row | None:
    """The row with each text as `change` gives it; the very same where nothing changes, None where what hangs on a text
    would be lost."""
    form = form_of(row)
    if form == "tags":
        return _tagged(row, change)
    if form == "span":
        return _spanned(row, change)
    changed = {part.path: text for part in parts(row) if (text := change(part)) != part.text}
    return _with(row, changed) if changed else row


def _with(row: Row, changed: dict[Path, str]) -> Row:
    made = copy.deepcopy(row)
    for path, text in changed.items():
        inner: Any = made
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = text
    return made


def _tagged(row: Row, change: Change) -> Row | None:
    """Token by token; where the whole would read otherwise, a change spans several tokens."""
    tokens = [change(Part(("tokens", at), token, TOKENS)) for at, token in enumerate(row["tokens"])]
    joined = change(Part(("tokens",), " ".join(row["tokens"]), TOKENS))
    if joined != " ".join(tokens) or any(new != old and _is_torn(new) for new, old in zip(tokens, row["tokens"])):
        return None
    return row if tokens == row["tokens"] else {**row, "tokens": tokens}


def _is_torn(token: str) -> bool:
    return not token or any(map(str.isspace, token))


def _spanned(row: Row, change: Change) -> Row | None:
    """Each answer has to stand, changed alike, behind the changed text before it."""
    context = row["context"]

    def made(text: str) -> str:
        return change(Part(("context",), text, PROMPT))

    whole, question = made(context), change(Part(("question",), row["question"], PROMPT))
    said, starts = [], []
    for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"]):
        before, answer, after = made(context[:start]), made(text), made(context[start + len(text) :])
        if before + answer + after != whole or not answer:
            return None
        said.append(answer)
        starts.append(len(before))
    if whole == context and question == row["question"]:
        return row
    answers = {**row["answers"], "text": said, "answer_start": starts}
    return {**row, "question": question, "context": whole, "answers": answers}


def _chat(row: Row) -> Iterator[Part]:
    yield from _messages(row["messages"], ("messages",), ANSWER)
    yield from _tools(row)


def _messages(said: Any, path: Path, answers: str) -> Iterator[Part]:
    """Messages, or one whole text; an assistant's turn that is not trained is read like a prompt."""
    if isinstance(said, str):
        yield Part(path, said, answers)
        return
    for at, message in enumerate(said):
        role = message.get("role")
        is_answer = role == "assistant" and message.get("trained") is not False
        purpose = answers if is_answer else SYSTEM if role == "system" else PROMPT
        for key in ("reasoning_content", "content"):
            if isinstance(text := message.get(key), str):
                yield Part((*path, at, key), text, purpose)
        for number, call in enumerate(message.get("tool_calls") or ()):
            where = (*path, at, "tool_calls", number, "function", "arguments")
            yield from _leaves(call["function"].get("arguments"), where, CALL)


def _leaves(value: Any, path: Path, role: str, is_wanted: bool = True) -> Iterator[Part]:
    """Texts inside an object. A key of it is no text."""
    if isinstance(value, str) and is_wanted:
        yield Part(path, value, role)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key), role, is_wanted or key in _DESCRIBED)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _leaves(inner, (*path, at), role, is_wanted)


def _tools(row: Row) -> Iterator[Part]:
    yield from _leaves(row.get("tools"), ("tools",), TOOLS, is_wanted=False)


def _preference(row: Row) -> Iterator[Part]:
    yield from _messages(row["prompt"], ("prompt",), PROMPT)
    yield from _messages(row["chosen"], ("chosen",), ANSWER)
    yield from _messages(row["rejected"], ("rejected",), REJECTED)
    yield from _tools(row)


def _unpaired(row: Row) -> Iterator[Part]:
    yield from _messages(row["prompt"], ("prompt",), PROMPT)
    yield from _messages(row["completion"], ("completion",), ANSWER if row["label"] else REJECTED)
    yield from _tools(row)


def _span(row: Row) -> Iterator[Part]:
    yield Part(("question",), row["question"], PROMPT)
    yield Part(("context",), row["context"], PROMPT)


def _pairs(row: Row) -> Iterator[Part]:
    yield Part(("anchor",), row["anchor"], PROMPT)
    for key in ("positive", "negatives"):
        said = row.get(key)
        for at, text in enumerate(said if isinstance(said, list) else [said]):
            if isinstance(text, str):
                yield Part((key, at) if isinstance(said, list) else (key,), text, PROMPT)


def _texts(*roles: tuple[str, str]) -> Callable[[Row], Iterator[Part]]:
    return lambda row: (Part((key,), row[key], role) for key, role in roles if isinstance(row.get(key), str))


_PARTS: dict[str, Callable[[Row], Iterator[Part]]] = {
    "chat": _chat,
    "preference": _preference,
    "unpaired": _unpaired,
    "tags": lambda row: iter([Part(("tokens",), " ".join(row["tokens"]), TOKENS)]),
    "span": _span,
    "pairs": _pairs,
    "seq2seq": _texts(("source", PROMPT), ("target", ANSWER)),
    "labelled": _texts(("text", PROMPT), ("text_pair", PROMPT)),
    "text": _texts(("text", TEXT)),
}
