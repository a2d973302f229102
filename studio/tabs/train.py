"""The Train tab: the recipe on the left, the run on the right. The run lives in its own process; this page only looks.

What trains is the recipe that was brought here, whole, with what the controls say as changes to it. What it sets beside
them is shown above the button, and can be set back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS, Recipe
from studio.datasets.words import version_text
from studio.gate.page import told
from studio.gate.security import from_this_machine
from studio.i18n import explain, language, marker, t
from studio.jobs.train import TrainJob
from studio.jobs.view import RunView
from studio.models.find import base_name
from studio.outlook.outlook import Outlook, outlook
from studio.outlook.preflight import Prediction, one_device, preflight
from studio.services import Shared
from studio.tabs import FITTING, can_train, long, open_tab
from studio.tabs.controls import is_read, recipe_from, values_of
from studio.tabs.notices import explained, forget, needs_train
from studio.tabs.train_form import NAMES, Form, Swap, bare_fields, on_advice, on_change_of_base, on_reset, recipe_column
from studio.widgets.also_set import EVERY, Setting, also_set
from studio.widgets.outlook_view import anyway, outlook_view, reasons
from studio.widgets.run_view import memory_text, run_view
from studio.widgets.swapped import swapped

LOG_TAIL_BYTES = 20_000
EVERY_S = 1.0
QUIET = {"show_progress": "hidden", "api_visibility": "private"}


def build(shared: Shared) -> None:
    """Called inside the tab."""
    if not can_train():
        return needs_train()
    shared.gpu = shared.gpu or gr.State(None)
    with gr.Row(elem_classes="ls-split ls-picture-first"):
        with gr.Column(elem_classes="ls-left"):
            form = recipe_column(shared)
        with gr.Column(elem_classes="ls-right"):
            picture, log, buttons = _run_column()
    _wire_start(shared, form)
    _wire_brought(shared, form)
    _wire_ahead(shared, form)
    _wire_swap(shared, form)
    form.get.wire(shared, form.fields["model"])
    _wire_also(form)
    _wire_run(shared, picture, log, buttons)


def _run_column() -> tuple[Any, ...]:
    picture = gr.HTML(elem_id="train-run")
    with gr.Row():
        stop = gr.Button(marker("train.stop"), variant="stop", visible=False, elem_id="train-stop")
        resume = gr.Button(marker("train.resume"), visible=False, elem_id="train-resume")
        chat = gr.Button(marker("train.chat"), variant="primary", visible=False, elem_id="train-chat")
    with gr.Accordion(marker("train.log"), open=False):
        log = gr.HTML(elem_id="train-log")
    return picture, log, (stop, resume, chat)


def _recipe_of(shared: Shared, request: gr.Request, held: tuple[Any, ...]) -> Recipe:
    """What the form says (`Form.held`), its base by the name that a worker knows it by. Raises `Problem` naming the
    field."""
    recipe = recipe_from(NAMES, held[: len(NAMES)], *map(Recipe.from_dict, held[len(NAMES) :]))
    return recipe.replace(model=base_name(shared.space, recipe.model, from_this_machine(request)))


def _wire_start(shared: Shared, form: Form) -> None:
    def begin(request: gr.Request, dataset_id: str, run_name: str, *held: Any) -> dict[Any, Any]:
        """Start, unless something refuses it or it would lead nowhere; then a second button has to say that it is
        meant."""
        return _begin(request, None, dataset_id, run_name, held)

    def begin_anyway(request: gr.Request, agreed: Any, dataset_id: str, run_name: str, *held: Any) -> dict[Any, Any]:
        """`agreed`: the codes that were shown; a new reason is shown first."""
        return _begin(request, agreed, dataset_id, run_name, held)

    def _begin(
        request: gr.Request, agreed: Any, dataset_id: str, run_name: str, held: tuple[Any, ...]
    ) -> dict[Any, Any]:
        lang, hidden = language(request), gr.Button(visible=False)
        try:
            folders = from_this_machine(request)
            recipe = _recipe_of(shared, request, held)
            if not dataset_id:
                raise Problem("train.no_dataset", field="dataset")
            dataset = shared.datasets.get(dataset_id)
            prediction = preflight(shared.space, recipe, shared.trace_worker, folders)
            found = outlook(shared.space, recipe, dataset, shared.runs, shared.trace_worker, folders)
            asked = sorted(note.code for note in found.hopeless)
            if asked and asked != agreed:
                return {
                    form.trouble: _asking_html(lang, found),
                    form.anyway: gr.Button(anyway(lang, found), visible=True),
                    form.agreed: asked,
                }
            view = shared.runs.start(
                TrainJob(prediction.recipe or recipe, dataset, run_name or "", prediction.predicted_bytes)
            )
        except Problem as problem:
            return {form.trouble: explained(lang, problem), form.anyway: hidden}
        done = {form.anyway: hidden, form.agreed: None, shared.run: view.id}
        return {form.trouble: prediction_html(lang, prediction), **done}

    asked = [form.dataset, form.name, *form.held]
    shown = [form.trouble, form.anyway, form.agreed, shared.run]
    private = {"api_visibility": "private", **long("train")}
    form.start.click(begin, asked, shown, **private)
    form.anyway.click(begin_anyway, [form.agreed, *asked], shown, **private)
    # Said of the settings before a change: gone with the change, in the browser. What is drawn later must not take away
    # a newer refusal.
    forget(shared, form.trouble, partial(gr.on, [shared.tab["train"].select, *_changes(form)]))


def _changes(form: Form) -> list[Any]:
    return [part.change for part in (form.dataset, form.base, form.get.said, *form.fields.values())]


def _asking_html(lang: str, found: Outlook) -> str:
    return f'<p class="ls-warn" data-goes="ls-problem" role="alert">! {escape(reasons(lang, found))}</p>'


def _wire_brought(shared: Shared, form: Form) -> None:
    """What other tabs bring: data, and whole recipes."""

    def choices(chosen: str | None, wanted: str | None, request: gr.Request = None) -> Any:
        """Every version of every dataset: which one trains is said."""
        lang, stored = language(request), shared.datasets.list()
        ids = [info.id for info in stored]
        value = next((id for id in (wanted, chosen, *ids) if id in ids), None)
        said = {one.id: [one.name, version_text(lang, one, stored), f"{one.train_rows:,}"] for one in stored}
        return gr.Dropdown([(" · ".join(filter(None, words)), id) for id, words in said.items()], value=value)

    def load(request: gr.Request, brought: dict[str, Any] | None, gpu: str | None = None) -> dict[Any, Any]:
        """A recipe brought over from another tab, taken out of where it lay, so that the same one can be brought again.
        What nobody can train here is said at once."""
        if not brought:
            return {shared.recipe: gr.skip()}
        recipe, said = Recipe.from_dict(brought), ""
        try:
            base_name(shared.space, recipe.model, from_this_machine(request))
            one_device(recipe)
        except Problem as problem:
            said = explained(language(request), problem)
        return {
            form.trouble: said,
            form.swapped: "",
            form.swap: None,
            form.base: recipe.to_dict(),
            form.also: _also_html(language(request), recipe),
            form.meant_for: gpu or "",
            shared.recipe: None,
            shared.gpu: None,
            **dict(zip(form.fields.values(), values_of(recipe, NAMES), strict=True)),
        }

    refresh = {"inputs": [form.dataset, shared.dataset], "outputs": form.dataset, **QUIET}
    shared.tab["train"].select(choices, **refresh)
    shared.dataset.change(choices, **refresh)
    if shared.fitting is not None:
        _wire_fitting(shared, form)
    taken = [form.trouble, *form.held, form.also, form.swapped, form.swap, form.meant_for, shared.gpu, shared.recipe]
    shared.recipe.change(load, [shared.recipe, shared.gpu], taken, **QUIET)


def _wire_ahead(shared: Shared, form: Form) -> None:
    """What is known before a start, drawn again after each change; and what was said of the settings before the change
    goes."""

    def ahead(request: gr.Request, dataset_id: str | None, meant_for: Any, *held: Any) -> dict[Any, Any]:
        lang, said = language(request), {form.anyway: gr.Button(visible=False), form.agreed: None}
        try:
            recipe = _recipe_of(shared, request, held)
            dataset = shared.datasets.get(dataset_id) if dataset_id else None
            found = outlook(shared.space, recipe, dataset, shared.runs, shared.trace_worker, from_this_machine(request))
            return {form.ahead: outlook_view(lang, found, str(meant_for or "")), **said}
        except Problem as problem:
            return {form.ahead: "", form.trouble: explained(lang, problem), **said}

    asked = [form.dataset, form.meant_for, *form.held]
    drawn = {"inputs": asked, "outputs": [form.ahead, form.trouble, form.anyway, form.agreed]}
    options = {**QUIET, "trigger_mode": "always_last", **long("train")}
    gr.on([shared.tab["train"].select, *_changes(form)], ahead, **drawn, **options)


def _wire_swap(shared: Shared, form: Form) -> None:
    """Many settings at once, and back with one click."""

    def shown(lang: str, swap: Swap | None) -> dict[Any, Any]:
        if swap is None:
            return {form.swapped: "", form.swap: None}
        values, base = (swap.after, swap.base_after) if swap.shown == "after" else (swap.before, swap.base_before)
        return {
            form.swapped: swapped(lang, swap),
            form.swap: asdict(swap),
            form.base: base | {"model": swap.new_model},
            form.also: _also_html(lang, Recipe.from_dict(base)),
            **{part: values[name] for name, part in form.fields.items() if name != "model"},
        }

    def another_base(request: gr.Request, *held: Any) -> dict[Any, Any]:
        *values, base = held
        if values[0] == base["model"]:  # Gradio tells of one choice more than once
            return {form.swap: gr.skip()}
        return shown(language(request), on_change_of_base(values[0], dict(zip(NAMES, values, strict=True)), base))

    def reset(request: gr.Request, *held: Any) -> dict[Any, Any]:
        *values, base = held
        return shown(language(request), on_reset(dict(zip(NAMES, values, strict=True)), base))

    def advised(request: gr.Request, asked: dict[str, Any] | None, *held: Any) -> dict[Any, Any]:
        """What the rows of a dataset ask for, taken out of where it lay, so that the same can be set again."""
        if not asked:
            return {form.swap: gr.skip()}
        *values, base = held
        return shown(language(request), on_advice(asked, dict(zip(NAMES, values, strict=True)), base)) | {
            shared.advised: None
        }

    def flip(request: gr.Request, kept: dict[str, Any] | None) -> dict[Any, Any]:
        if not kept:
            return {form.swap: gr.skip()}
        swap = Swap(**kept)
        return shown(language(request), replace(swap, shown="before" if swap.shown == "after" else "after"))

    set_all = [form.swapped, form.swap, form.also, *form.held]
    form.fields["model"].input(another_base, form.held, set_all, **QUIET)
    form.reset.click(reset, form.held, set_all, **QUIET)
    form.swapped.click(flip, form.swap, set_all, **QUIET)
    if shared.advised is not None:
        shared.advised.change(advised, [shared.advised, *form.held], [*set_all, shared.advised], **QUIET)


def _wire_fitting(shared: Shared, form: Form) -> None:
    """What was chosen on the Dataset tab about rows that are too long."""

    def take_over(chosen: dict[str, Any] | None) -> dict[Any, Any]:
        return {form.fields[name]: chosen[name] if chosen else gr.skip() for name in FITTING}

    fields = [form.fields[name] for name in FITTING]
    shared.fitting.change(take_over, shared.fitting, fields, show_progress="hidden", api_visibility="private")


def _wire_also(form: Form) -> None:
    def set_back(request: gr.Request, event: gr.EventData, base: dict[str, Any]) -> dict[Any, Any]:
        """One field, or all that have no control, back to the default."""
        asked, recipe = str(told(event).get("field", "")), Recipe.from_dict(base)
        names = [name for name in bare_fields(recipe) if asked in (name, EVERY)]
        try:
            recipe = recipe.replace(**{name: FIELDS[name].default for name in names})
        except Problem as problem:  # what stays does not go with the default
            return {form.trouble: explained(language(request), problem)}
        return {form.trouble: "", form.base: recipe.to_dict(), form.also: _also_html(language(request), recipe)}

    form.also.click(set_back, form.base, [form.trouble, form.base, form.also], **QUIET)


def _also_html(lang: str, recipe: Recipe) -> str:
    names = bare_fields(recipe)
    return also_set(
        lang, "train", [Setting(FIELDS[name], recipe.to_dict()[name], is_read(recipe, name)) for name in names]
    )


def prediction_html(lang: str, prediction: Prediction) -> str:
    if prediction.predicted_bytes is None:
        text = t(lang, "train.prediction_none", reason=explain(lang, prediction.unknown) if prediction.unknown else "")
    else:
        text = t(
            lang,
            "train.prediction",
            **prediction.words() | {"predicted": memory_text(lang, prediction.predicted_bytes, prediction.high_bytes)},
        )
    return f'<p class="ls-note">{escape(text)}</p>'


def _wire_run(shared: Shared, picture: Any, log: Any, buttons: tuple[Any, ...]) -> None:
    stop, resume, chat = buttons
    drawn = gr.State("")

    def look(run_id: str | None, before: str, request: gr.Request) -> dict[Any, Any]:
        """Everything on the right; what has not changed is not sent again."""
        lang = language(request)
        view = _view(shared, run_id)
        html = run_view(lang, view) if view else empty(lang)
        key = f"{lang}{html}{view and view.run.stop_file.exists()}"
        if key == before:
            return dict.fromkeys(seen["outputs"], gr.skip())
        stopping = bool(view and view.active and view.run.stop_file.exists())
        stop_word = t(lang, "train.stopping" if stopping else "train.stop")
        return {
            picture: html,
            log: _log(lang, view),
            stop: gr.Button(stop_word, visible=bool(view and view.active), interactive=not stopping),
            resume: gr.Button(visible=bool(view and view.resumable)),
            chat: gr.Button(visible=bool(view and view.has_result and view.recipe)),
            drawn: key,
        }

    def resume_run(run_id: str | None, request: gr.Request) -> None:
        _said(request, shared.runs.resume, _view(shared, run_id), run_id)

    def stop_run(run_id: str | None, request: gr.Request) -> None:
        _said(request, shared.runs.stop, _view(shared, run_id), run_id)

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    seen = {"inputs": [shared.run, drawn], "outputs": [picture, log, stop, resume, chat, drawn], **quiet}
    gr.Timer(EVERY_S).tick(look, **seen)
    shared.run.change(look, **seen)
    stop.click(stop_run, shared.run, None, **quiet).then(look, **seen)
    resume.click(resume_run, shared.run, None, **quiet).then(look, **seen)
    open_tab(shared, chat.click, "chat")


def _said(request: gr.Request, do: Callable[[str], Any], shown: RunView | None, run_id: str | None) -> None:
    """To the run that is shown. What cannot be done with it is said over the page."""
    try:
        do(shown.id if shown else run_id or "")
    except Problem as problem:
        raise gr.Error(explain(language(request), problem), print_exception=False) from problem


def _view(shared: Shared, run_id: str | None) -> RunView | None:
    """The run this page follows, else the one at work, else the newest."""
    try:
        return shared.runs.get(run_id) if run_id else shared.runs.active() or next(iter(shared.runs.list()), None)
    except Problem:
        return None


def empty(lang: str) -> str:
    return f'<div class="ls-empty"><strong>{escape(t(lang, "train.empty_title"))}</strong>{escape(t(lang, "train.empty"))}</div>'


def _log(lang: str, view: RunView | None) -> str:
    """The end of the worker's log, escaped."""
    text = ""
    with contextlib.suppress(OSError):
        if view and view.run.log.is_file():
            with view.run.log.open("rb") as file:
                file.seek(max(0, view.run.log.stat().st_size - LOG_TAIL_BYTES))
                text = file.read().decode("utf-8", errors="replace").strip()
    return f'<pre class="ls-code ls-log" tabindex="0">{escape(text or t(lang, "train.log_empty"))}</pre>'
