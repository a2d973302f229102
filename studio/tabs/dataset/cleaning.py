"""The view that cleans: steps to switch on and off, what each finds, a new version and the way back; and the report card
of what is shown.

A look changes nothing. What is applied makes a new version; the one before stays, and undoing goes back to it.
"""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import quote

import gradio as gr

from estimator.core.problems import Problem
from studio.datasets.cleaning.record import Choice
from studio.datasets.cleaning.report import Report
from studio.datasets.cleaning.steps import STEPS, defaults
from studio.datasets.words import problem_text, reason_text
from studio.gate.page import told
from studio.gate.security import from_this_machine
from studio.i18n import language, marker, t
from studio.models.find import base_name
from studio.services import Shared
from studio.tabs import long
from studio.tabs.dataset.page import QUIET, info_of
from studio.tabs.dataset.reading import BEAT_SECONDS, Reading
from studio.tabs.notices import problem_html
from studio.widgets.cleaning_view import ON_LOAD, cleaning_view, made_by

PROGRESS_SECONDS = 0.5
LONG_WORK = {"look": "look", "apply": "clean", "card": "card"}
"""What is pressed, and the worker's method that does it."""


def column() -> dict[str, Any]:
    parts: dict[str, Any] = {}
    with gr.Column(visible=False) as parts["cleaning_busy"]:
        parts["cleaning_progress"] = gr.HTML(elem_id="dataset-cleaning-progress")
        parts["cleaning_cancel"] = gr.Button(
            marker("dataset.cancel"), variant="stop", size="md", elem_id="dataset-cleaning-cancel"
        )
    parts["cleaning_timer"] = gr.Timer(PROGRESS_SECONDS, active=False)
    parts["cleaning_said"] = gr.HTML(elem_id="dataset-cleaning-said")
    parts["cleaning"] = gr.HTML(elem_id="dataset-cleaning", js_on_load=ON_LOAD)
    parts["card_end"] = gr.HTML(elem_id="dataset-card-end", js_on_load=ON_LOAD)
    parts["report_card"] = gr.Markdown(visible=False, elem_id="dataset-report-card")
    return parts


def wire(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """The form is drawn anew for each dataset; what is pressed in it is remembered, done under a bar, and said."""
    readings, wanted = Reading(), gr.State(None)
    form, said, busy, progress, timer = (
        right[f"cleaning{name}"] for name in ("", "_said", "_busy", "_progress", "_timer")
    )
    card = [right["card_end"], right["report_card"]]

    def clean_form(request: gr.Request, id: str | None) -> dict[Any, Any]:
        """The form as it begins, how this version was made, and no card yet."""
        lang, info = language(request), info_of(shared, id)
        if info is None:
            return {form: "", said: "", **_no_card(lang, right, False)}
        made = made_by(lang, info.changes, info.parent if info_of(shared, info.parent) else "")
        shown = made + cleaning_view(lang, defaults(), None, _reason)
        return {form: shown, said: "", **_no_card(lang, right, True)}

    def clean_press(request: gr.Request, event: gr.EventData, id: str | None) -> dict[Any, Any]:
        asked, info = told(event), info_of(shared, id)
        if info is None or asked.get("do") not in LONG_WORK:
            return {wanted: asked}
        readings.begin(request.session_hash, info.name)
        return {
            wanted: asked,
            said: "",
            busy: gr.Column(visible=True),
            **clean_tick(request),
            timer: gr.Timer(active=True),
        }

    def clean_act(request: gr.Request, asked: Any, id: str | None, model: Any) -> dict[Any, Any]:
        """The deed, or the problem in its place."""
        lang, info = language(request), info_of(shared, id)
        do = asked.get("do") if isinstance(asked, dict) else None
        if info is None or do not in (*LONG_WORK, "undo"):
            return {said: gr.skip()}
        try:
            if do == "undo":
                return undone(info)
            if do == "card":
                made = work(request, info, "card", lang=lang)
                return _card(lang, right, made["markdown"], info.name)
            choices = chosen(asked.get("choices"))
            params: dict[str, Any] = {
                "steps": [{"step": c.step, "action": c.action, "options": c.options} for c in choices]
            }
            method = LONG_WORK[do]
            if any(STEPS[one.step].needs_tokens for one in choices):
                params["model"], method = (
                    base_name(shared.space, model, from_this_machine(request)),
                    f"{method}_by_tokens",
                )
            made = work(request, info, method, **params)
            if do == "apply":
                return {shared.dataset: made["id"], said: ""}
            return {form: cleaning_view(lang, choices, Report.from_json(made), _reason), said: ""}
        except Problem as problem:
            return {said: problem_html(problem_text(lang, problem))}

    def undone(info: Any) -> dict[Any, Any]:
        """Back to the version before; the other goes to the trash, from where it can be brought back."""
        parent = shared.datasets.get(info.parent)
        shared.datasets.delete(info.id)
        return {shared.dataset: parent.id, said: ""}

    def work(request: gr.Request, info: Any, method: str, **params: Any) -> dict[str, Any]:
        stream = shared.data_worker.stream(method, beat_seconds=BEAT_SECONDS, dataset_id=info.id, **params)
        if not readings.is_at_work(request.session_hash):
            readings.begin(request.session_hash, info.name)
        return readings.follow(request.session_hash, stream, info.name)

    def clean_tick(request: gr.Request) -> dict[Any, Any]:
        return {progress: readings.html(request.session_hash, language(request))}

    def clean_over(request: gr.Request) -> dict[Any, Any]:
        readings.end(request.session_hash)
        return {busy: gr.Column(visible=False), progress: "", timer: gr.Timer(active=False)}

    def clean_cancel(request: gr.Request) -> None:
        readings.cancel(request.session_hash)

    left["stored"].change(clean_form, left["stored"], [form, said, *card], queue=False, **QUIET)
    shown = [wanted, said, busy, progress, timer]
    pressed = gr.on([form.click, right["card_end"].click], clean_press, left["stored"], shown, queue=False, **QUIET)
    done = pressed.then(
        clean_act,
        [wanted, left["stored"], left["model"]],
        [form, said, *card, shared.dataset],
        **long("ingest"),
        **QUIET,
    )
    done.then(clean_over, None, [busy, progress, timer], queue=False, **QUIET)
    timer.tick(clean_tick, None, progress, queue=False, **QUIET)
    right["cleaning_cancel"].click(clean_cancel, None, None, queue=False, **QUIET)


def _reason(lang: str, reason: str, params: dict[str, Any]) -> str:
    return reason_text(lang, {"reason": reason, "params": params})


def chosen(said: Any) -> list[Choice]:
    """What the form says; the steps themselves refuse what they cannot do. Raises `Problem`."""
    found = []
    for one in said if isinstance(said, list) else []:
        if not isinstance(one, dict) or one.get("step") not in STEPS:
            value = str(one.get("step") if isinstance(one, dict) else one)[:40]
            raise Problem("dataset.unknown_step", value=value, allowed=", ".join(STEPS))
        options = one.get("options")
        found.append(Choice(one["step"], str(one.get("action") or ""), options if isinstance(options, dict) else {}))
    return found


def _no_card(lang: str, right: dict[str, Any], is_there: bool) -> dict[Any, Any]:
    word = escape(t(lang, "cleanup.card"))
    button = f'<button type="button" class="ls-button" data-clean="card">{word}</button>' if is_there else ""
    return {right["card_end"]: button, right["report_card"]: gr.Markdown("", visible=False)}


def _card(lang: str, right: dict[str, Any], markdown: str, name: str) -> dict[Any, Any]:
    """The card, and a link that saves it; nothing is put on the disk for it."""
    link = f"data:text/markdown;charset=utf-8,{quote(markdown)}"
    word, file = escape(t(lang, "cleanup.card_save")), escape(f"{name}.md")
    html = f'<a class="ls-button" download="{file}" href="{link}">{word}</a>'
    return {right["card_end"]: html, right["report_card"]: gr.Markdown(markdown, visible=True)}
