"""A turn of a conversation as people write it, and the message it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from studio.datasets.shapes.columns import as_verdict
from studio.datasets.shapes.tools import calls_of
from studio.datasets.source import RowError
from studio.datasets.text import clean
from studio.datasets.values import Cleaner, Doubled, is_blank, is_missing, listed, type_word

Message = dict[str, Any]
ROLES = {
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant",
    "ai": "assistant",
    "system": "system", "developer": "system",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool", "tool_response": "tool",
    "function_response": "tool",
    "function_call": "call", "tool_call": "call",
}  # fmt: skip
ROLE_KEYS = ("role", "from", "speaker", "author")
CONTENT_KEYS = ("content", "value", "text", "message")
PAIR_KEYS = {
    **dict.fromkeys(("input", "instruction", "question", "query", "prompt"), "user"),
    **dict.fromkeys(("output", "response", "answer"), "assistant"),
}
"""Of a turn that is a question and its answer (XTuner writes so)."""
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
CALL_KEYS = ("tool_calls", "function_call")
# A turn that is read and not trained: OpenAI and Mistral write weight, Axolotl and LLaMA-Factory's kin train, ms-swift
# loss.
TRAIN_KEYS = ("weight", "train", "training", "trained", "trainable", "loss")
MASK_KEYS = ("masked",)
TEXT_PARTS = ("text", "input_text", "output_text")
MEDIA = ("image", "video", "audio", "file")


@dataclass(frozen=True)
class Keys:
    """Under which keys a turn says who speaks and what, and whom each word means."""

    role: tuple[str, ...] = ROLE_KEYS
    content: tuple[str, ...] = CONTENT_KEYS
    roles: dict[str, str] = field(default_factory=lambda: ROLES)

    def speaker(self, word: object) -> str | None:
        """`user`, `assistant`, `system`, `tool`, `call`, or None."""
        return self.roles.get(word.strip().lower()) if isinstance(word, str) else None


USUAL = Keys()


def conversation(value: object, column: str, cleaner: Cleaner, keys: Keys = USUAL) -> list[Message]:
    """The messages of a list of turns, in OpenAI's keys or ShareGPT's, also as JSON text or as one list for each
    key."""
    turns = _turns(listed(value, column), keys)
    if not isinstance(turns, (list, tuple)):
        raise RowError("type", column=column, found=type_word(turns))
    messages: list[Message] = []
    for turn in turns:
        for made in _messages(turn, column, cleaner, keys):
            if made.pop("joins", False) and messages and messages[-1].get("tool_calls"):
                messages[-1]["tool_calls"] += made["tool_calls"]  # calls in parallel, a turn each
            else:
                messages.append(made)
    return messages


def is_conversation(value: object, keys: Keys = USUAL) -> bool:
    """Whether a value is a list of turns, or one turn, and not text or a list of something else."""
    try:
        turns = _turns(listed(value, ""), keys)
    except RowError:
        return True  # turns in Python's notation, refused where they are read
    return isinstance(turns, (list, tuple)) and bool(turns) and all(_has_role(turn, keys) for turn in turns)


def _has_role(turn: object, keys: Keys) -> bool:
    return isinstance(turn, dict) and keys.speaker(_first(turn, keys.role)) is not None


def _turns(value: object, keys: Keys) -> Any:
    """A single turn as a list; `{"from": [...], "value": [...]}`, as tables store it, as turns."""
    if not isinstance(value, dict):
        return value
    lists = {key: inner for key, inner in value.items() if isinstance(inner, (list, tuple))}
    if any(key in lists for key in keys.role) and len({len(inner) for inner in lists.values()}) == 1:
        return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]
    return [value] if any(key in value for key in keys.role) else value


def _messages(turn: object, column: str, cleaner: Cleaner, keys: Keys) -> list[Message]:
    """Usually one; `{"human": ..., "assistant": ...}` or `{"input": ..., "output": ...}` is a question and its
    answer."""
    if not isinstance(turn, dict):
        raise RowError("type", column=column, found=type_word(turn))
    if isinstance(turn, Doubled):
        raise RowError("doubled", column=f"{column}.{turn.name}")
    if not any(key in turn for key in keys.role):
        pairs = [
            (ROLES.get(str(key).lower()) or PAIR_KEYS.get(str(key).lower()), inner)
            for key, inner in turn.items()
            if not is_blank(inner)
        ]
        if [role for role, _ in pairs] in (["user", "assistant"], ["system", "user", "assistant"]):
            return [{"role": role, "content": cleaner.text(inner, column)} for role, inner in pairs]
        raise RowError("no_role", column=column, found=", ".join(map(str, turn))[:80] or "-")
    message = _message(turn, column, cleaner, keys)
    cleaner.changed |= not message
    return [message] if message else []


def _message(turn: dict[str, Any], column: str, cleaner: Cleaner, keys: Keys) -> Message:
    """The message of a turn; empty for a system turn that says nothing."""
    written = _first(turn, keys.role)
    role = keys.speaker(written)
    cleaner.unused |= {f"{column}.{key}" for key in _unused(turn, role, keys)}
    if role is None:
        if is_missing(written):
            raise RowError("no_role", column=column, found=", ".join(map(str, turn))[:80])
        raise RowError("role", column=column, role=str(written)[:40], allowed="system, user, assistant, tool")
    content = _first(turn, keys.content)
    if role == "system" and is_blank(content):
        return {}
    if role == "call":
        return _flagged(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": calls_of(content, f"{column}: {written}"),
                "joins": True,
            },
            turn,
            column,
        )
    calls = next((turn[key] for key in CALL_KEYS if not is_blank(turn.get(key))), None) if role == "assistant" else None
    made: Message = {
        "role": role,
        "content": cleaner.text(_joined_parts(content, column, role), role, empty=role == "tool" or calls is not None),
    }
    if role == "assistant":
        if reasoning := _reasoning_key(turn):
            made["reasoning_content"] = cleaner.text(turn[reasoning], reasoning)
        if calls is not None:
            made["tool_calls"] = calls_of(calls, f"{column}: tool_calls")
    if role == "tool":
        made |= {
            key: clean(turn[key]) for key in ("name", "tool_call_id") if isinstance(turn.get(key), str) and turn[key]
        }
    return _flagged(made, turn, column)


def _first(turn: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((turn[key] for key in keys if not is_missing(turn.get(key))), None)


def _reasoning_key(turn: dict[str, Any]) -> str:
    """The key that holds what was thought; some files have a switch under the same name."""
    return next((key for key in REASONING_KEYS if type(turn.get(key)) is str and not is_blank(turn[key])), "")


def _unused(turn: dict[str, Any], role: str | None, keys: Keys) -> list[str]:
    """Keys of a turn that hold something nobody reads."""
    read = {*ROLE_KEYS[:1], *TRAIN_KEYS, *MASK_KEYS}
    read |= {next((key for key in some if not is_missing(turn.get(key))), "") for some in (keys.role, keys.content)}
    if role == "assistant":
        read |= {*CALL_KEYS, _reasoning_key(turn)}
    if role == "tool":
        read |= {"name", "tool_call_id"}
    return [str(key) for key, value in turn.items() if key not in read and not is_blank(value)]


def _flagged(made: Message, turn: dict[str, Any], column: str) -> Message:
    """`trained: False` where the turn says so in one of the usual ways."""
    for key in (*TRAIN_KEYS, *MASK_KEYS):
        value = turn.get(key)
        if is_blank(value):
            continue
        said = as_verdict(value)
        if said is None:
            raise RowError("weight", column=f"{column}.{key}", found=str(value)[:40])
        if said is (key in MASK_KEYS):
            made["trained"] = False
    return made


def _joined_parts(content: object, column: str, role: str) -> Any:
    """OpenAI's content parts, where all of them are text; what a tool or the assistant gave as an object stays one."""
    parts = (
        [content]
        if isinstance(content, dict) and "type" in content and ("text" in content or _is_media(content))
        else content
    )
    if not isinstance(parts, (list, tuple)) or not parts:
        return content
    if any(isinstance(part, dict) and _is_media(part) for part in parts):
        raise RowError("images", column=column)
    if all(
        isinstance(part, dict) and part.get("type") in TEXT_PARTS and isinstance(part.get("text"), str)
        for part in parts
    ):
        return "\n".join(part["text"] for part in parts)
    if role in ("user", "system") or any(isinstance(part, dict) and "type" in part for part in parts):
        raise RowError("not_text", column=column)
    return content


def _is_media(part: dict[str, Any]) -> bool:
    kind = str(part.get("type") or "")
    return kind.removeprefix("input_").startswith(MEDIA) or any(
        not is_blank(part.get(key)) for key in ("image", "image_url", "video", "audio")
    )
