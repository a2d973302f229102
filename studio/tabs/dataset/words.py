"""Short notes of the tab: what went wrong, what was done, what is waited for."""

from __future__ import annotations

from html import escape
from typing import Any

from studio.i18n import strings, t
from studio.tabs.notices import problem_html
from studio.widgets.run_view import duration


def trouble_html(lang: str, sentence: str, kept: bool) -> str:
    """An upload's problem; `kept` says that an earlier dataset is still the one shown."""
    note = f'<p class="ls-note">{escape(t(lang, "dataset.nothing_stored"))}</p>' if kept else ""
    return problem_html(sentence) + note


def deleted_html(lang: str, key: str, name: str) -> str:
    return f'<p class="ls-good" role="status">✓ {escape(t(lang, f"dataset.{key}", name=name))}</p>'


STEPS = {
    "asking": 1,
    "fetching": 1,
    "unpacking": 1,
    "reading": 1,
    "joining": 1,
    "storing": 2,
    "syncing": 2,
    "tokenizing": 3,
}
"""Phases of the work, by the step that a reader counts; others are work of their own."""


def reading(lang: str, file: str, event: dict[str, Any] | None, seconds_left: float | None = None) -> str:
    """What is being done with a file and how far that is; `event` is what the worker last said."""
    if event is None:
        return waiting(lang, "starting", file)
    phase, share = event["phase"], event["share"]
    counts = {key: f"{event[key]:,}" for key in ("kept", "dropped", "done", "of") if key in event}
    percent = "" if share is None else f"{int(100 * share)}"
    said = [t(lang, "dataset.step", step=STEPS[phase])] if phase in STEPS else []
    area = next(area for area in ("dataset", "rows", "cleaning") if f"{area}.phase_{phase}" in strings(lang))
    about = t(lang, f"{area}.phase_{phase}", file=file, share=percent, **counts)
    said.append(about)
    said += [] if seconds_left is None else [t(lang, "dataset.time_left", left=duration(lang, seconds_left))]
    value = f' value="{percent}"' if percent else ""
    bar = f'<progress max="100"{value} aria-label="{escape(about)}"></progress>'
    return f'<div class="ls-reading" role="status"><p>{escape(" ".join(said))}</p>{bar}</div>'


def waiting(lang: str, key: str = "waiting", file: str = "") -> str:
    """What is being done, while it takes a moment."""
    return f'<p class="ls-note ls-waiting" role="status">{escape(t(lang, f"dataset.{key}", file=file))}</p>'
