"""Short pieces of HTML that several tabs show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape, unescape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio import shipped
from studio.i18n import explain, language, t

INSTALL = 'pip install "lora-studio[train]"'


def problem_html(sentence: str, field: str | None = None, cause: str = "") -> str:
    """An error beside the control that caused it; with `field`, the page repeats it there (`assets/scripts/frame.js`); with `cause`, `forget`
    takes it back."""
    at = f' data-field="{escape(field)}"' if field else ""
    at += f' data-cause="{escape(cause)}"' if cause else ""
    return f'<p class="ls-problem" role="alert"{at}>✕ {escape(sentence)}</p>'


def explained(lang: str, problem: Problem) -> str:
    """A `Problem` in the reader's language."""
    about = problem.params.get("value", problem.params.get("id", ""))
    return problem_html(
        explain(lang, problem), problem.field, f"{problem.code} {about}" if problem.code in CAUSES else ""
    )


def explained_late(lang: str, problem: Problem) -> str:
    """The same, marked for `RETRY` where the answer is on its way."""
    said = explained(lang, problem)
    return said.replace("<p ", "<p data-late ", 1) if problem.code == "worker.late" else said


RETRY = """watch('value', () => { if (element.querySelector('[data-late]')) setTimeout(() => trigger('submit'), 2000); });"""
"""`js_on_load` of the element that shows it: its `submit` event asks once more."""


CHOOSE = shipped.script("elements/choose")
"""`js_on_load` of the element that shows `choices`: its `click` event says which was pressed."""


def choices(field: str, values: list[tuple[str, str]]) -> str:
    """Buttons below a problem that give its field one of several values: (what is shown, the value)."""
    buttons = "".join(
        f'<button type="button" class="ls-button" '
        f'data-choose="{escape(json.dumps({"field": field, "value": value}))}">{escape(shown)}</button>'
        for shown, value in values
    )
    return f'<p class="ls-choices">{buttons}</p>' if buttons else ""


CAUSES = ("run.busy", "run.active", "run.another_starts", "dataset.gone")
"""Problems that end by themselves, without anything being changed where they are shown."""
_CAUSE = re.compile(r'data-cause="([^"]*)"')
FORGET = "(html) => html && html.includes('ls-problem') ? '' : html"
"""JavaScript that takes a problem away and leaves any other note."""
AWAITS = "(html) => ({ __type__: 'update', active: Boolean(html && html.includes('data-cause')) })"


def forget(shared: Any, note: Any, *events: Callable[..., Any]) -> None:
    """Take a problem away from the element `note` on each of `events`, which change what it speaks of, and once its
    cause is gone."""
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    for event in events:
        event(None, note, note, js=FORGET, api_visibility="private")

    def settle(html: Any) -> dict[Any, Any]:
        return {note: "" if is_gone(html, shared) else gr.skip()}

    timer = gr.Timer(1.0, active=False)
    note.change(None, note, timer, js=AWAITS, api_visibility="private")
    timer.tick(settle, note, note, **quiet)


def is_gone(html: Any, shared: Any) -> bool:
    """Whether what a shown problem says of other runs or of data was so, and is no longer. False for all else."""
    found = _CAUSE.search(html) if isinstance(html, str) else None
    code, _, about = unescape(found[1]).partition(" ") if found else ("", "", "")
    if code in ("run.busy", "run.active"):
        return not any(view.active and view.name == about for view in shared.runs.list())
    if code == "dataset.gone":
        return any(info.id == about for info in shared.datasets.list())
    return code in CAUSES


def needs_train() -> None:
    """What a tab shows in the light install: why it is empty, and the command that fills it."""

    def notice(request: gr.Request) -> str:
        lang = language(request)
        title, text = t(lang, "common.needs_train_title"), t(lang, "common.needs_train")
        return f'<div class="ls-empty"><strong>{escape(title)}</strong>{escape(text)}<pre class="ls-code">{escape(INSTALL)}</pre></div>'

    page = gr.context.Context.root_block
    page.load(notice, None, gr.HTML(), show_progress="hidden", api_visibility="private")
