"""A conversation with two panes, as the browser keeps it: each turn one prompt and up to two answers.

What comes back from a browser is untrusted: `restore` keeps what has the right shape and drops the rest.
"""

from __future__ import annotations

from typing import Any

PANES = ("base", "adapter")
STOPS = ("end", "length", "stopped", "interrupted", None)
MODES = ("alone", "one_batch", "in_turn", "two_models", None)
LONGEST_TEXT = 100_000
"""Characters of one prompt or answer that are kept."""

Turn = dict[str, Any]
"""`prompt`, `mode` (how the answers came), and for each pane an answer or None:
`text`, `tokens`, `tokens_per_second`, `stop`, `model`, `storage`, `run` (name or None)."""


def new_turn(prompt: str) -> Turn:
    return {"prompt": clean(prompt), "mode": None, "base": None, "adapter": None}


def new_answer(label: dict[str, Any]) -> dict[str, Any]:
    """An answer that has yet to come; `label` says which weights it comes from (model, storage, run)."""
    return {"text": "", "tokens": 0, "tokens_per_second": 0.0, "stop": None, **label}


def grow(answer: dict[str, Any], progress: dict[str, Any]) -> None:
    """Add what the worker sent: text since the last event, and figures so far."""
    answer["text"] += progress["text"]
    answer |= {key: progress[key] for key in ("tokens", "tokens_per_second", "stop")}


def history(turns: list[Turn], pane: str, prompt: str) -> list[dict[str, str]]:
    """What one pane has said and heard, and the new prompt. Turns that this pane did not answer are not its own."""
    messages = []
    for turn in turns:
        if answer := turn[pane]:
            messages += [{"role": "user", "content": turn["prompt"]}, {"role": "assistant", "content": answer["text"]}]
    return [*messages, {"role": "user", "content": prompt}]


def clean(text: Any) -> Any:
    """Text without halves of characters (lone surrogates), which would end the page's stream; anything else as it
    is."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(text, str) else text


def restore(value: Any) -> list[Turn]:
    """The turns that a browser gave back."""
    turns = [_turn(turn) for turn in value] if isinstance(value, list) else []
    return [turn for turn in turns if turn]


def take_back(turns: list[Turn]) -> tuple[list[Turn], str]:
    """Without a last turn that nothing answered (the page was closed before), and its prompt."""
    if turns and not any(turns[-1][pane] for pane in PANES):
        return turns[:-1], turns[-1]["prompt"]
    return turns, ""


def _turn(value: Any) -> Turn | None:
    if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
        return None
    mode = value.get("mode")
    answers = {pane: _answer(value.get(pane)) for pane in PANES}
    return {"prompt": clean(value["prompt"][:LONGEST_TEXT]), "mode": mode if mode in MODES else None, **answers}


def _answer(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("text", "model", "storage")):
        return None
    run, stop = value.get("run"), value.get("stop")
    return {
        "text": clean(value["text"][:LONGEST_TEXT]),
        "tokens": int(_number(value.get("tokens"))),
        "tokens_per_second": _number(value.get("tokens_per_second")),
        "stop": (stop if stop in STOPS else None) or "interrupted",
        "model": clean(value["model"][:500]),
        "storage": clean(value["storage"][:40]),
        "run": clean(run[:200]) if isinstance(run, str) else None,
    }


def _number(value: Any) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9
    return value if good else 0.0
