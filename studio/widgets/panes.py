"""Two answers to each prompt, side by side, as HTML. Models' text is shown as it is: escaped, with its own line
breaks."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from studio.i18n import t
from studio.inference.conversation import PANES, Turn
from studio.widgets.compare import marked_html, word_differences


def panes_html(lang: str, turns: list[Turn], two: bool) -> str:
    """The conversation. With `two` false only the base answers the next prompt."""
    if any(turn["adapter"] for turn in turns):
        two = True
    last = {pane: _last_answer(turns, pane) for pane in PANES}
    body = "".join(_turn(lang, turn, two, last) for turn in turns)
    return f'<div class="ls-chat{" ls-two" if two else ""}">{_heads(lang, turns, two)}<ol class="ls-turns">{body}</ol></div>'


def empty_html(lang: str, has_runs: bool) -> str:
    """What to do first."""
    text = t(lang, "chat.empty_runs" if has_runs else "chat.empty_no_runs")
    return f'<div class="ls-empty"><strong>{escape(t(lang, "chat.empty_title"))}</strong>{escape(text)}</div>'


def short_name(model: str) -> str:
    """The last part of a folder or hub id."""
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] or model


def _heads(lang: str, turns: list[Turn], two: bool) -> str:
    """Above each pane: the weights that answered last, and how fast."""
    heads = []
    for pane in PANES if two else PANES[:1]:
        answer = _last_answer(turns, pane)
        name = _weights(lang, answer) if answer else ""
        rate = t(lang, "chat.rate", rate=_rate(answer)) if answer and answer["tokens"] else ""
        heads.append(
            f'<div class="ls-pane-head" data-pane="{pane}"><h2>{escape(_pane_name(lang, pane, turns))}</h2>'
            f'<span class="ls-weights">{name}</span><span class="ls-rate">{escape(rate)}</span></div>'
        )
    return f'<div class="ls-pane-heads">{"".join(heads)}</div>'


def _last_answer(turns: list[Turn], pane: str) -> dict[str, Any] | None:
    return next((turn[pane] for turn in reversed(turns) if turn[pane]), None)


def _pane_name(lang: str, pane: str, turns: list[Turn]) -> str:
    tuned = pane == "adapter" and turns and turns[-1]["mode"] == "two_models"
    return t(lang, "chat.pane_tuned" if tuned else f"chat.pane_{pane}")


def _weights(lang: str, answer: dict[str, Any]) -> str:
    """The name of the weights, with the whole path or id in the tooltip."""
    base = f"{short_name(answer['model'])} · {answer['storage'].upper() if len(answer['storage']) < 6 else answer['storage']}"
    text = t(lang, "chat.run_on_base", run=answer["run"], base=base) if answer["run"] else base
    return f'<span title="{escape(answer["model"])}">{escape(text)}</span>'


def _turn(lang: str, turn: Turn, two: bool, last: dict[str, Any]) -> str:
    both = [turn[pane] for pane in PANES if turn[pane]]
    texts = [escape(answer["text"]) for answer in both]
    finished = len(both) == 2 and all(answer["stop"] for answer in both)
    if finished:
        texts = [marked_html(pieces) for pieces in word_differences(both[0]["text"], both[1]["text"])]
    shown = PANES if two else PANES[:1]
    answers = "".join(_answer(lang, turn, pane, texts.pop(0) if turn[pane] else None, last[pane]) for pane in shown)
    same = finished and both[0]["text"] == both[1]["text"]
    note = f'<p class="ls-same">{escape(t(lang, "chat.same"))}</p>' if same else ""
    return f'<li class="ls-turn"><div class="ls-prompt" dir="auto">{escape(turn["prompt"])}</div><div class="ls-answers">{answers}</div>{note}</li>'


def _answer(lang: str, turn: Turn, pane: str, text: str | None, last: dict[str, Any] | None) -> str:
    """One answer with the weights that gave it, which a wide page leaves to the pane's head where they are the same."""
    if text is None:
        return f'<div class="ls-answer ls-none" data-pane="{pane}"></div>'
    answer = turn[pane]
    waiting = not answer["stop"]
    as_head = all(answer[key] == last[key] for key in ("model", "storage", "run"))
    figures = t(lang, "chat.figures", tokens=f"{answer['tokens']:,}", rate=_rate(answer))
    ended = "" if waiting else f" · {t(lang, 'chat.stop_' + answer['stop'])}"
    return (
        f'<article class="ls-answer{" ls-growing" if waiting else ""}" data-pane="{pane}">'
        f'<h3{" class=ls-as-head" if as_head else ""}><span class="ls-which">{escape(_pane_name(lang, pane, [turn]))}</span>{_weights(lang, answer)}</h3>'
        f'<div class="ls-text" dir="auto">{text}</div><p class="ls-figures">{escape(figures + ended)}</p></article>'
    )


def _rate(answer: dict[str, Any]) -> str:
    rate = answer["tokens_per_second"]
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
