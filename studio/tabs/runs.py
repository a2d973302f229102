"""The Runs tab: what was trained, with which settings and data; resume, delete, download, compare."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio import shipped
from studio.export.result import zip_folder, zip_result
from studio.gate.page import told
from studio.i18n import language, marker, t
from studio.jobs.view import RunView
from studio.services import Shared
from studio.tabs import can_train, long, open_tab
from studio.tabs.notices import explained, forget, needs_train
from studio.widgets.run_view import run_view
from studio.widgets.runs_table import comparison, runs_table, settings

# A click on a row's button tells the server which run; the handler checks that there is one.
ON_LOAD = shipped.script("elements/runs")
EVERY_S = 2.0


def build(shared: Shared) -> None:
    """Called inside the tab."""
    if not can_train():
        return needs_train()
    table = gr.HTML(elem_id="runs-table", js_on_load=ON_LOAD)
    note = gr.HTML(elem_id="runs-note")
    with gr.Row(elem_id="runs-buttons"):
        resume = gr.Button(marker("runs.resume"), visible=False, size="md", elem_id="runs-resume")
        again = gr.Button(marker("runs.again"), visible=False, size="md", elem_id="runs-again")
        chat = gr.Button(marker("runs.chat"), visible=False, size="md", elem_id="runs-chat")
        download = gr.Button(marker("runs.download"), visible=False, size="md", elem_id="runs-download")
        delete = gr.Button(marker("runs.delete"), variant="stop", visible=False, size="md", elem_id="runs-delete")
        undo = gr.Button(marker("runs.undo"), visible=False, size="md", elem_id="runs-undo")
    file = gr.DownloadButton(visible="hidden", elem_id="runs-file")
    detail = gr.HTML(elem_id="runs-detail")
    other = gr.Dropdown(
        [], label=marker("runs.compare"), info=marker("runs.compare_help"), visible=False, elem_id="runs-other"
    )
    compared = gr.HTML(elem_id="runs-compared")
    with gr.Accordion(marker("runs.settings"), open=False, visible=False) as more:
        facts = gr.HTML(elem_id="runs-settings")
    parts = {
        "table": table,
        "detail": detail,
        "facts": facts,
        "more": more,
        "resume": resume,
        "again": again,
        "chat": chat,
    }
    parts |= {"download": download, "delete": delete, "other": other, "compared": compared}
    _wire_look(shared, parts)
    _wire_buttons(shared, parts, note, undo, file)


def _wire_look(shared: Shared, parts: dict[str, Any]) -> None:
    drawn = gr.State("")
    quiet = {"show_progress": "hidden", "api_visibility": "private"}

    def look(run_id: str | None, other_id: str | None, before: str, request: gr.Request) -> dict[Any, Any]:
        """The table and the chosen run; nothing is sent while nothing has changed."""
        lang, views = language(request), shared.runs.list()
        view = next((view for view in views if view.id == run_id), None)
        table = runs_table(lang, views, view.id if view else None)
        detail = run_view(lang, view) if view else ""
        key = f"{table}{detail}{other_id}"
        if key == before:
            return dict.fromkeys(seen["outputs"], gr.skip())
        updates = {"table": table, "detail": detail, "facts": settings(lang, view) if view else ""}
        updates |= _shown(lang, view, views, other_id)
        return {parts[name]: update for name, update in updates.items()} | {drawn: key}

    def pick(event: gr.EventData) -> Any:
        chosen = str(told(event).get("run", ""))
        return chosen if any(view.id == chosen for view in shared.runs.list()) else gr.skip()

    seen = {"inputs": [shared.run, parts["other"], drawn], "outputs": [*parts.values(), drawn], **quiet}
    parts["table"].click(pick, None, shared.run, **quiet)
    for moment in (shared.run.change, shared.tab["runs"].select, parts["other"].input):
        moment(look, **seen)
    gr.Timer(EVERY_S).tick(look, **seen)


def _shown(lang: str, view: RunView | None, views: list[RunView], other_id: str | None) -> dict[str, Any]:
    """Which buttons a run has, and the comparison."""
    others = [v for v in views if view and v.id != view.id and v.course.metrics]
    other = next((v for v in others if v.id == other_id), None)
    return {
        "more": gr.Accordion(visible=view is not None),
        "resume": gr.Button(visible=bool(view and view.resumable)),
        "again": gr.Button(visible=bool(view and view.recipe)),
        "chat": gr.Button(visible=bool(view and view.has_result and view.recipe)),
        "download": gr.Button(
            t(lang, "runs.download_folder" if view and view.damaged else "runs.download"),
            visible=bool(view and (view.has_result or view.damaged)),
        ),
        "delete": gr.Button(visible=bool(view and not view.active)),
        "other": gr.Dropdown([(v.name, v.id) for v in others], value=other.id if other else None, visible=bool(others)),
        "compared": comparison(lang, [view, other]) if view and other else "",
    }


def _wire_buttons(shared: Shared, parts: dict[str, Any], note: Any, undo: Any, file: Any) -> None:
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    deleted = gr.State(None)

    def resume(run_id: str, request: gr.Request) -> str:
        try:
            shared.runs.resume(run_id)
        except Problem as problem:
            return explained(language(request), problem)
        return ""

    def again(run_id: str, request: gr.Request) -> dict[Any, Any]:
        """The run's whole recipe and its data to the Train tab; data that are gone are said, and the page stays
        here."""
        brought: dict[Any, Any] = {note: ""}
        try:
            view = shared.runs.get(run_id)
            brought[shared.recipe] = view.run.recipe().to_dict()
            brought[shared.dataset] = shared.datasets.get(view.info.dataset_id).id
        except Problem as problem:
            brought[note] = explained(language(request), problem)
        return brought

    def delete(run_id: str, request: gr.Request) -> dict[Any, Any]:
        lang = language(request)
        try:
            name = shared.runs.get(run_id).name
            shared.runs.delete(run_id)
        except Problem as problem:
            return {note: explained(lang, problem)}
        text = f'<p class="ls-warn" role="status">! {escape(t(lang, "runs.deleted", name=name))}</p>'
        return {note: text, shared.run: None, deleted: run_id, undo: gr.Button(visible=True)}

    def restore(run_id: str, request: gr.Request) -> dict[Any, Any]:
        try:
            shared.runs.restore(run_id)
        except Problem as problem:
            return {note: explained(language(request), problem)}
        return {note: "", shared.run: run_id, undo: gr.Button(visible=False)}

    def prepare(run_id: str, request: gr.Request) -> dict[Any, Any]:
        try:
            view = shared.runs.get(run_id)
            made = (zip_folder if view.damaged else zip_result)(view.run)
            return {note: "", file: gr.DownloadButton(value=str(made))}
        except Problem as problem:
            return {note: explained(language(request), problem), file: gr.DownloadButton(value=None)}

    open_tab(shared, parts["resume"].click(resume, shared.run, note, **quiet).then, "train", unless=note)
    taken = parts["again"].click(again, shared.run, [note, shared.recipe, shared.dataset], **quiet)
    open_tab(shared, taken.then, "train", unless=note)
    open_tab(shared, parts["chat"].click, "chat")
    parts["delete"].click(delete, shared.run, [note, shared.run, deleted, undo], **quiet)
    undo.click(restore, deleted, [note, shared.run, undo], **quiet)
    forget(shared, note, shared.run.change)
    fetched = parts["download"].click(prepare, shared.run, [note, file], api_visibility="private", **long("zip"))
    fetched.success(
        None,
        None,
        None,
        js="() => document.querySelector('#runs-file a, a#runs-file, #runs-file')?.click()",
        api_visibility="private",
    )
