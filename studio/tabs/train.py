"""The Train tab: the recipe on the left, the run on the right. The run lives in its own process; this page only looks.

What trains is the recipe that was brought here, whole, with what the controls say as changes to it. What it sets beside them is
shown above the button, and can be set back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr

from estimator.core.field_text import spelled
from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS, Recipe
from studio.i18n import explain, language, marker, t
from studio.models import EMBEDDED_ID, EMBEDDED_START, STARTS, base_name
from studio.page import told
from studio.runs.preflight import Prediction, one_device, preflight
from studio.runs.supervisor import RunView
from studio.security import from_this_machine
from studio.tabs import Shared, can_train, long, open_tab
from studio.tabs.controls import base_choices, control, is_read, recipe_from, values_of, without_control
from studio.tabs.getting import GetPanel
from studio.tabs.notices import explained, mark_field, needs_train
from studio.widgets.also_set import EVERY, ON_LOAD, Setting, also_set
from studio.widgets.run_view import memory_text, run_view

BASIC = ["model", "method", "r", "lora_alpha", "target_modules", "per_device_train_batch_size", "max_length"]
BASIC += ["num_train_epochs", "learning_rate", "optim", "gradient_checkpointing"]
ADVANCED = ["lora_dropout", "use_dora", "use_rslora", "dtype", "mixed_precision", "attn_implementation"]
ADVANCED += ["packing", "packing_strategy", "use_reentrant", "autocast_adapter_dtype"]
ADVANCED += [
    "gradient_accumulation_steps",
    "per_device_eval_batch_size",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
]
ADVANCED += [
    "max_steps",
    "assistant_only_loss",
    "seed",
    "logging_steps",
    "eval_steps",
    "save_steps",
    "save_total_limit",
]
NAMES = BASIC + ADVANCED
FIRST = EMBEDDED_START
SAID = ("learning_rate", "per_device_train_batch_size", "max_length", "num_train_epochs")
LOG_TAIL_BYTES = 20_000
EVERY_S = 1.0


def build(shared: Shared) -> None:
    """Called inside the tab."""
    if not can_train():
        return needs_train()
    with gr.Row(elem_classes="ls-split ls-picture-first"):
        with gr.Column(elem_classes="ls-left"):
            form = _recipe_column(shared)
        with gr.Column(elem_classes="ls-right"):
            picture, log, buttons = _run_column()
    _wire_form(shared, form)
    _wire_base(shared, form)
    _wire_also(form)
    _wire_run(shared, picture, log, buttons)


@dataclass
class Form:
    """The left column. `base` holds the recipe that was brought here, or the one the page opens with, as a dict."""

    base: Any = None
    dataset: Any = None
    fields: dict[str, Any] = field(default_factory=dict)
    get: Any = None
    fitted: Any = None
    also: Any = None
    name: Any = None
    trouble: Any = None
    start: Any = None


def _recipe_column(shared: Shared) -> Form:
    form = Form(base=gr.State(Recipe(**FIRST).to_dict()))
    form.dataset = gr.Dropdown(
        [], label=marker("train.dataset"), info=marker("train.dataset_help"), elem_id="train-dataset"
    )
    for name in BASIC:
        form.fields[name] = _field(name)
        if name == "model":
            form.get = GetPanel(shared, "train")
            form.fitted = gr.HTML(elem_id="train-fitted")
    with gr.Accordion(marker("train.advanced"), open=False):
        for name in ADVANCED:
            form.fields[name] = _field(name)
    form.also = gr.HTML(elem_id="train-also", js_on_load=ON_LOAD)
    form.name = gr.Textbox(
        label=marker("train.name"), info=marker("train.name_help"), max_lines=1, elem_id="train-name"
    )
    form.trouble = gr.HTML(elem_id="train-problem")
    form.start = gr.Button(marker("train.start"), variant="primary", elem_id="train-start")
    return form


def _field(name: str) -> Any:
    if name == "model":
        words = {"label": marker("recipe.model"), "info": marker("recipe.model_help"), "elem_id": "train-model"}
        return gr.Dropdown(base_choices(), value=EMBEDDED_ID, allow_custom_value=True, **words)
    return control(name, FIRST.get(name), elem_id=f"train-{name}")


def _run_column() -> tuple[Any, ...]:
    picture = gr.HTML(elem_id="train-run")
    with gr.Row():
        stop = gr.Button(marker("train.stop"), variant="stop", visible=False, elem_id="train-stop")
        resume = gr.Button(marker("train.resume"), visible=False, elem_id="train-resume")
        chat = gr.Button(marker("train.chat"), variant="primary", visible=False, elem_id="train-chat")
    with gr.Accordion(marker("train.log"), open=False):
        log = gr.HTML(elem_id="train-log")
    return picture, log, (stop, resume, chat)


def _wire_form(shared: Shared, form: Form) -> None:
    dataset, trouble = form.dataset, form.trouble

    def begin(request: gr.Request, dataset_id: str, run_name: str, *held: Any) -> tuple[Any, Any]:
        """`held`: what the controls hold, then the recipe they change."""
        lang = language(request)
        try:
            folders = from_this_machine(request)
            recipe = recipe_from(NAMES, held[: len(NAMES)], *map(Recipe.from_dict, held[len(NAMES) :]))
            recipe = recipe.replace(model=base_name(recipe.model, folders))
            if not dataset_id:
                raise Problem("train.no_dataset", field="dataset")
            dataset = shared.datasets.get(dataset_id)
            prediction = preflight(recipe, shared.trace_worker, folders)
            view = shared.runs.start(prediction.recipe or recipe, dataset, run_name or "", prediction.predicted_bytes)
        except Problem as problem:
            return explained(lang, problem), gr.skip()
        return prediction_html(lang, prediction), view.id

    def choices(chosen: str | None, wanted: str | None) -> Any:
        stored = shared.datasets.list()
        ids = [info.id for info in stored]
        value = next((id for id in (wanted, chosen, *ids) if id in ids), None)
        return gr.Dropdown([(f"{info.name} · {info.train_rows:,}", info.id) for info in stored], value=value)

    def load(request: gr.Request, brought: dict[str, Any] | None) -> list[Any]:
        """A recipe brought over from another tab, taken out of where it lay, so that the same one can be brought again. What nobody
        can train here is said at once."""
        if not brought:
            return [gr.skip()] * (4 + len(NAMES))
        recipe, said = Recipe.from_dict(brought), ""
        try:
            base_name(recipe.model, from_this_machine(request))
            one_device(recipe)
        except Problem as problem:
            said = explained(language(request), problem)
        return [said, *values_of(recipe, NAMES), recipe.to_dict(), _also_html(language(request), recipe), None]

    asked = [dataset, form.name, *form.fields.values(), form.base]
    begun = form.start.click(begin, asked, [trouble, shared.run], api_visibility="private", **long("train"))
    begun.then(None, None, None, js=mark_field("train"), api_visibility="private")
    refresh = {
        "inputs": [dataset, shared.dataset],
        "outputs": dataset,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    shared.tab["train"].select(choices, **refresh)
    shared.dataset.change(choices, **refresh)
    gr.on(None, choices, **refresh)
    taken = [trouble, *form.fields.values(), form.base, form.also, shared.recipe]
    brought = shared.recipe.change(load, shared.recipe, taken, show_progress="hidden", api_visibility="private")
    brought.then(None, None, None, js=mark_field("train"), api_visibility="private")


def _wire_base(shared: Shared, form: Form) -> None:
    """A base that is chosen here brings the settings that suit it, where they are known; they are named."""
    names = sorted({name for start in STARTS.values() for name in start} - {"model"}, key=NAMES.index)
    model, controls = form.fields["model"], {name: form.fields[name] for name in names}

    def fit(request: gr.Request, chosen: str) -> dict[Any, Any]:
        start = STARTS.get(chosen)
        if start is None:
            return {form.fitted: ""}
        values = dict(zip(names, values_of(Recipe(**start), names)))
        said = ", ".join(
            f"{t(language(request), f'recipe.{name}')} {spelled(FIELDS[name], values[name])}" for name in SAID
        )
        note = f'<p class="ls-note" role="status">{escape(t(language(request), "train.fitted", settings=said))}</p>'
        return {form.fitted: note} | {controls[name]: value for name, value in values.items()}

    model.input(fit, model, [form.fitted, *controls.values()], show_progress="hidden", api_visibility="private")
    form.get.wire(shared, model)


def _wire_also(form: Form) -> None:
    def set_back(request: gr.Request, event: gr.EventData, base: dict[str, Any]) -> tuple[Any, Any, Any]:
        """One field, or all that have no control, back to the default."""
        asked, recipe = str(told(event).get("field", "")), Recipe.from_dict(base)
        names = [name for name in without_control(recipe, NAMES) if asked in (name, EVERY)]
        try:
            recipe = recipe.replace(**{name: FIELDS[name].default for name in names})
        except Problem as problem:  # what stays does not go with the default
            return explained(language(request), problem), gr.skip(), gr.skip()
        return "", recipe.to_dict(), _also_html(language(request), recipe)

    cleared = form.also.click(
        set_back, form.base, [form.trouble, form.base, form.also], show_progress="hidden", api_visibility="private"
    )
    cleared.then(None, None, None, js=mark_field("train"), api_visibility="private")


def _also_html(lang: str, recipe: Recipe) -> str:
    names = without_control(recipe, NAMES)
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

    def look(run_id: str | None, before: str, request: gr.Request) -> tuple[Any, ...]:
        """Everything on the right; what has not changed is not sent again."""
        lang = language(request)
        view = _view(shared, run_id)
        html = run_view(lang, view) if view else empty(lang)
        key = f"{lang}{html}{view and view.run.stop_file.exists()}"
        if key == before:
            return (gr.skip(),) * 6
        stopping = bool(view and view.active and view.run.stop_file.exists())
        stop_word = t(lang, "train.stopping" if stopping else "train.stop")
        return (
            html,
            _log(lang, view),
            gr.Button(stop_word, visible=bool(view and view.active), interactive=not stopping),
            gr.Button(visible=bool(view and view.resumable)),
            gr.Button(visible=bool(view and view.has_result and view.recipe)),
            key,
        )

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


assert set(NAMES) <= set(FIELDS)
