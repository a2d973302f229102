"""The Dataset tab: a file or a sample on the left; on the right what was recognised and the rows as the model reads
them.

The file is read by the data worker; this page sends it a path and gets counts and tokens back. An upload that fails
changes nothing: the dataset shown before stays.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio.datasets.ingest import EVAL_SHARE_LIMITS
from studio.datasets.samples import sample, samples
from studio.datasets.source import too_big
from studio.datasets.words import problem_text
from studio.gate.security import from_this_machine
from studio.gate.uploaded import discard, sweep
from studio.i18n import LANGUAGES, explain, language, marker, strings, t
from studio.models.find import EMBEDDED_ID, base_name
from studio.services import Shared
from studio.tabs import FITTING, can_train, long
from studio.tabs.controls import base_choices, control
from studio.tabs.dataset_page import (
    ROWS_A_PAGE,
    damaged_choices,
    deleted_html,
    head,
    picture,
    picture_in_characters,
    stored_choices,
    trouble_html,
    waiting,
)
from studio.tabs.notices import needs_train, problem_html
from studio.tabs.uploads import BEAT_SECONDS, OVERSIZE, Reading

# What suits the embedded base, as on the Train tab.
MAX_LENGTH = 256
READ_BY = ("max_length", "excess_length_strategy", "assistant_only_loss")
"""Recipe fields that decide how rows are read."""
PROGRESS_SECONDS = 0.5
QUIET = {"show_progress": "hidden", "api_visibility": "private"}


def build(shared: Shared) -> None:
    """Called inside the tab."""
    if not can_train():
        return needs_train()
    with gr.Row(elem_classes="ls-split ls-dataset"):
        with gr.Column(elem_classes="ls-left"):
            left = _left_column()
        with gr.Column(elem_classes="ls-right"):
            right = _right_column()
    _wire_upload(shared, left, right)
    _wire_store(shared, left, right)
    _wire_picture(shared, left, right)


def _left_column() -> dict[str, Any]:
    parts: dict[str, Any] = {}
    share = {"label": marker("dataset.share"), "info": marker("dataset.share_help"), "elem_id": "dataset-share"}
    parts["file"] = gr.File(label=marker("dataset.file"), height=132, elem_id="dataset-file")
    gr.HTML(_both("dataset.file_help"), elem_classes="ls-field-note")
    parts["oversize"] = gr.Textbox(visible="hidden", show_label=False, elem_id="dataset-oversize")
    choices = [(gr.i18n.I18nData(_sample_key(one)), one.id) for one in samples()]
    words = {"label": marker("dataset.sample"), "info": marker("dataset.sample_help"), "elem_id": "dataset-sample"}
    parts["sample"] = gr.Dropdown(choices, value=choices[0][1] if choices else None, **words)
    parts["use"] = gr.Button(marker("dataset.sample_use"), elem_id="dataset-use-sample", size="md")
    low, high = (round(100 * limit) for limit in EVAL_SHARE_LIMITS)
    parts["share"] = gr.Slider(low, high, value=10, step=1, **share)
    parts["share"].preprocess = lambda number: number  # the worker refuses bad numbers, in the reader's language
    parts["stored"] = gr.Dropdown(
        [], label=marker("dataset.stored"), info=marker("dataset.stored_help"), elem_id="dataset-stored"
    )
    with gr.Row():
        parts["delete"] = gr.Button(marker("dataset.delete"), size="md", elem_id="dataset-delete", interactive=False)
        parts["undo"] = gr.Button(marker("dataset.undo"), size="md", elem_id="dataset-undo", visible=False)
    base = {"label": marker("dataset.base"), "info": marker("dataset.base_help"), "elem_id": "dataset-base"}
    parts["model"] = gr.Dropdown(base_choices(), value=EMBEDDED_ID, allow_custom_value=True, **base)
    parts["max_length"] = control("max_length", MAX_LENGTH, elem_id="dataset-max_length")
    parts["excess_length_strategy"] = control("excess_length_strategy", elem_id="dataset-excess_length_strategy")
    parts["assistant_only_loss"] = control("assistant_only_loss", elem_id="dataset-assistant_only_loss")
    return parts


def _both(key: str) -> str:
    """A note in both languages; the page shows the one it is opened in."""
    return (
        '<p class="ls-note ls-both">' + "".join(f'<span data-lang="{x}">{t(x, key)}</span>' for x in LANGUAGES) + "</p>"
    )


def sentences(lang: str) -> dict[str, str]:
    """The names of the samples, for the browser: `English · Alpaca · JSONL`, each language under its own name; those
    that suit another base than the embedded one say which and what they teach."""
    return {_sample_key(one): _sample_name(lang, one) for one in samples()}


def _sample_name(lang: str, one: Any) -> str:
    own_name = {"en": t("en", "dataset.language_en"), "zh": t("zh-CN", "dataset.language_zh")}
    parts = [own_name.get(one.language, one.language), t(lang, f"dataset.shape_{one.shape}"), one.format.upper()]
    meant = strings(lang).get(f"dataset.sample_{one.name}")
    return " · ".join([*([meant] if meant else []), *parts])


def _sample_key(one: Any) -> str:
    return "sample." + one.id.replace(".", "_")


def _right_column() -> dict[str, Any]:
    parts: dict[str, Any] = {"trouble": gr.HTML(elem_id="dataset-problem")}
    with gr.Column(visible=False) as parts["busy"]:
        parts["progress"] = gr.HTML(elem_id="dataset-progress")
        parts["cancel"] = gr.Button(marker("dataset.cancel"), variant="stop", size="md", elem_id="dataset-cancel")
    parts["timer"] = gr.Timer(PROGRESS_SECONDS, active=False)
    with gr.Column(visible=False) as parts["measuring"]:
        parts["measured"] = gr.HTML(elem_id="dataset-measured")
        parts["stop"] = gr.Button(marker("dataset.stop"), variant="stop", size="md", elem_id="dataset-stop")
    parts["clock"] = gr.Timer(PROGRESS_SECONDS, active=False)
    parts["head"] = gr.HTML(elem_id="dataset-summary")
    parts["excess"] = gr.HTML(elem_id="dataset-excess")
    parts["dropped"] = gr.HTML(elem_id="dataset-dropped")
    parts["rows"] = gr.HTML(elem_id="dataset-rows")
    with gr.Row(elem_classes="ls-pager", visible=False) as parts["pager"]:
        parts["previous"] = gr.Button(marker("dataset.previous"), size="md", elem_id="dataset-previous")
        parts["next"] = gr.Button(marker("dataset.next"), size="md", elem_id="dataset-next")
    parts["lengths"] = gr.HTML(elem_id="dataset-lengths")
    return parts


def _wire_upload(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """A file or a sample into the store. A plain function: it goes on when the page is closed."""
    readings = Reading()

    def take(request: gr.Request, path: str | Path, percent: Any) -> dict[Any, Any]:
        lang, file, session = language(request), Path(path).name, request.session_hash
        try:
            stream = shared.data_worker.stream(
                "ingest", beat_seconds=BEAT_SECONDS, path=str(path), name=file, eval_share=_share(percent)
            )
            info = readings.follow(session, stream, file)
        except Problem as problem:
            said = trouble_html(lang, problem_text(lang, problem), kept=bool(shared.datasets.list()))
            return {right["trouble"]: said, left["file"]: None}
        finally:
            discard(shared.space, path)
            sweep(shared.space)
        return {right["trouble"]: "", shared.dataset: info["id"], left["file"]: None}

    # Gradio hands in `request` by position only.
    def upload(request: gr.Request, path: Any, percent: Any) -> dict[Any, Any]:
        return take(request, path, percent) if path else {left["file"]: gr.skip()}

    def use(request: gr.Request, id: Any, percent: Any) -> dict[Any, Any]:
        try:
            return take(request, sample(id).path, percent)
        except Problem as problem:
            lang = language(request)
            return {right["trouble"]: trouble_html(lang, problem_text(lang, problem), kept=False)}

    def begin(request: gr.Request, id_or_path: Any) -> dict[Any, Any]:
        readings.begin(request.session_hash, Path(str(id_or_path or "")).name)
        shown = {busy: gr.Column(visible=True), progress: tick(request), timer: gr.Timer(active=True)}
        return shown | {right["trouble"]: ""}

    def tick(request: gr.Request) -> str:
        return readings.html(request.session_hash, language(request))

    def cancel(request: gr.Request) -> dict[Any, Any]:
        """Said at once; `take` says it again, or what came before it."""
        file = readings.cancel(request.session_hash)
        if file is None:
            return {busy: gr.skip()}
        lang = language(request)
        said = problem_text(lang, Problem("dataset.cancelled", file=file))
        kept = bool(shared.datasets.list())
        return hidden() | {right["trouble"]: trouble_html(lang, said, kept=kept)}

    def hidden() -> dict[Any, Any]:
        return {busy: gr.Column(visible=False), progress: "", timer: gr.Timer(active=False)}

    def end(request: gr.Request) -> dict[Any, Any]:
        readings.end(request.session_hash)
        return hidden()

    def refuse(request: gr.Request, oversize: str) -> str:
        """What the browser says of a file it did not send. Its words are checked like anyone's."""
        try:
            name, size_bytes, _ = json.loads(oversize)
            problem = too_big(str(name), int(size_bytes))
        except (ValueError, TypeError, OverflowError, RecursionError):
            return ""
        lang = language(request)
        return trouble_html(lang, problem_text(lang, problem), kept=bool(shared.datasets.list()))

    left["oversize"].change(refuse, left["oversize"], right["trouble"], queue=False, **QUIET)
    _page().load(None, None, None, js=OVERSIZE, api_visibility="private")
    outputs = [right["trouble"], shared.dataset, left["file"]]
    busy, progress, timer = right["busy"], right["progress"], right["timer"]
    for trigger, handler, source in ((left["file"].upload, upload, "file"), (left["use"].click, use, "sample")):
        started = trigger(begin, left[source], [busy, progress, right["trouble"], timer], queue=False, **QUIET)
        done = started.then(handler, [left[source], left["share"]], outputs, **long("ingest"), **QUIET)
        done.then(end, None, [busy, progress, timer], queue=False, **QUIET)
    timer.tick(tick, None, progress, queue=False, **QUIET)
    right["cancel"].click(cancel, None, [busy, progress, right["trouble"], timer], queue=False, **QUIET)


def _share(percent: Any) -> Any:
    """Percent as the worker takes it; what is no number goes on as it is and is refused there."""
    is_number = isinstance(percent, (int, float)) and not isinstance(percent, bool)
    return percent / 100 if is_number and abs(percent) < 1e6 else percent


def _wire_store(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """Choose, delete, undo. The id last deleted is remembered by the page."""
    deleted = gr.State(None)

    def choose(id: str | None) -> dict[Any, Any]:
        return {shared.dataset: id or gr.skip(), right["trouble"]: ""}

    def refresh(wanted: str | None, chosen: str | None, request: gr.Request = None) -> dict[Any, Any]:
        choices = stored_choices(shared.datasets.list()) + damaged_choices(language(request), shared.datasets.damaged())
        ids = [id for _, id in choices]
        value = next((id for id in (wanted, chosen, *ids) if id in ids), None)
        return {left["stored"]: gr.Dropdown(choices, value=value), left["delete"]: gr.Button(interactive=bool(ids))}

    def delete(id: str | None, request: gr.Request) -> dict[Any, Any]:
        lang = language(request)
        try:
            name = shared.datasets.name(id)
            shared.datasets.delete(id)
        except Problem as problem:
            return {right["trouble"]: trouble_html(lang, problem_text(lang, problem), kept=False)}
        said = deleted_html(lang, "deleted", name)
        return {right["trouble"]: said, deleted: id, left["undo"]: gr.Button(visible=True)}

    def undo(id: str | None, request: gr.Request) -> dict[Any, Any]:
        lang = language(request)
        try:
            info = shared.datasets.restore(id)
        except Problem as problem:
            said = trouble_html(lang, problem_text(lang, problem), kept=False)
        else:
            said = deleted_html(lang, "restored", info.name)
        return {right["trouble"]: said, left["undo"]: gr.Button(visible=False)}

    seen = {"inputs": [shared.dataset, left["stored"]], "outputs": [left["stored"], left["delete"]], **QUIET}
    left["stored"].input(choose, left["stored"], [shared.dataset, right["trouble"]], **QUIET)
    # One refresh for each change: a second would still hold the old value, which is no longer among the choices.
    left["delete"].click(delete, left["stored"], [right["trouble"], deleted, left["undo"]], **QUIET).then(
        refresh, **seen
    )
    brought_back = {**seen, "inputs": [deleted, left["stored"]]}
    left["undo"].click(undo, deleted, [right["trouble"], left["undo"]], **QUIET).then(refresh, **brought_back)
    gr.on([shared.dataset.change, shared.tab["dataset"].select, _page().load], refresh, **seen)


def _page() -> gr.Blocks:
    return gr.context.Context.root_block


def _wire_picture(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """The right side follows the chosen dataset and the settings: counts at once, tokens when the worker has them.

    The worker takes seconds and memory to start, so nothing asks it before the tab has been opened once.
    """
    opened, offset, measuring = gr.State(False), gr.State(0), Reading()
    settings = [left[name] for name in ("stored", "model", *READ_BY)] + [offset]
    outputs = [right[part] for part in ("head", "dropped", "rows", "pager", "previous", "next", "excess", "lengths")]
    unchanged = {right["head"]: gr.skip()}

    def nothing(lang: str, id: str | None) -> dict[Any, Any]:
        shown = shared.datasets.damaged().get(str(id))
        said = problem_html(t(lang, "dataset.damaged", reason=explain(lang, shown))) if shown else head(lang, None)
        return only(said)

    def only(summary: str, rows: str = "") -> dict[Any, Any]:
        """Where there are no rows to show: what is said in place of the summary, and of the rows."""
        said = {
            "head": summary,
            "dropped": "",
            "rows": rows,
            "pager": gr.Row(visible=False),
            "excess": "",
            "lengths": "",
        }
        return {right[part]: update for part, update in said.items()}

    def first(request: gr.Request, is_open: bool, id: str | None) -> dict[Any, Any]:
        """What needs no tokens; the worker starts meanwhile."""
        lang, info = language(request), _info(shared, id)
        if is_open:
            shared.data_worker.start()
        if info is None:
            return nothing(lang, id)
        return only(head(lang, info), waiting(lang))

    def look(request: gr.Request, is_open: bool, id, model, *how_and_where) -> dict[Any, Any]:
        """Everything, as the model chosen reads it."""
        lang, info = language(request), _info(shared, id)
        if info is None or not is_open:
            return unchanged if info else nothing(lang, id)
        *how, at = how_and_where
        where = {"dataset_id": info.id, "offset": at, "count": ROWS_A_PAGE}
        recipe = dict(zip(READ_BY, how, strict=True))
        try:
            recipe["model"] = base_name(shared.space, model, from_this_machine(request))
            seen = asked(request, info, "preview", **where, **recipe)
            return dict(zip(outputs, picture(lang, info, seen, recipe["max_length"]), strict=True))
        except Problem as problem:
            said = problem_text(lang, problem)
            if problem.field != "model":
                return only(head(lang, info), trouble_html(lang, said, kept=False))
        try:
            seen = asked(request, info, "characters", **where)
            return dict(zip(outputs, picture_in_characters(lang, info, seen, said), strict=True))
        except Problem as problem:
            return only(head(lang, info), trouble_html(lang, problem_text(lang, problem), kept=False))

    def asked(request: gr.Request, info: Any, method: str, **params: Any) -> dict[str, Any]:
        """The worker's answer, which can be stopped from the page."""
        session = request.session_hash
        measuring.begin(session, info.file_name)
        try:
            stream = shared.data_worker.stream(method, beat_seconds=BEAT_SECONDS, **params)
            return measuring.follow(session, stream, info.file_name)
        except Problem as problem:
            if problem.code == "dataset.cancelled":
                raise Problem("dataset.measuring_stopped", file=info.file_name) from problem
            raise
        finally:
            measuring.end(session)

    def begun(request: gr.Request, is_open: bool, id: str | None) -> Any:
        """Nobody waits any longer for what was being measured."""
        measuring.cancel(request.session_hash)
        return gr.Timer(active=bool(is_open and id))

    def tick(request: gr.Request) -> dict[Any, Any]:
        """While rows are measured. What is done before the first tick is not worth a bar."""
        html = measuring.html(request.session_hash, language(request))
        return {right["measuring"]: gr.Column(visible=bool(html)), right["measured"]: html}

    def ended(request: gr.Request) -> dict[Any, Any]:
        shown = tick(request)
        return shown | {clock: gr.Timer(active=bool(shown[right["measured"]]))}

    def stop(request: gr.Request) -> None:
        measuring.cancel(request.session_hash)

    def fit(*chosen: Any) -> dict[str, Any]:
        """How rows are made to fit is the run's to know: the Train tab takes it over."""
        return dict(zip(FITTING, chosen, strict=True))

    def is_addressed(request: gr.Request) -> bool:
        return request.query_params.get("tab") == "dataset"

    quick = {"inputs": [opened, left["stored"]], "outputs": outputs, "queue": False, **QUIET}
    full = {
        "inputs": [opened, *settings],
        "outputs": outputs,
        "trigger_mode": "always_last",
        **long("preview"),
        **QUIET,
    }
    clock = right["clock"]
    bar = [right["measuring"], right["measured"]]

    def seen_after(event: Any) -> None:
        """The rows anew, under a bar."""
        timed = event(begun, [opened, left["stored"]], clock, queue=False, **QUIET)
        timed.then(look, **full).then(ended, None, [*bar, clock], queue=False, **QUIET)

    clock.tick(tick, None, bar, queue=False, **QUIET)
    right["stop"].click(stop, None, None, queue=False, **QUIET)
    _page().load(first, **quick)
    # Through the queue: past it, Gradio (6.31) does not tell the page that a state has changed.
    _page().load(is_addressed, None, opened, **QUIET)
    shared.tab["dataset"].select(lambda: True, None, opened, **QUIET)
    seen_after(opened.change(first, **quick).then)
    seen_after(left["stored"].change(lambda: 0, None, offset, queue=False, **QUIET).then(first, **quick).then)
    seen_after(functools.partial(gr.on, [left[name].change for name in ("model", *READ_BY)]))
    seen_after(right["next"].click(lambda at: at + ROWS_A_PAGE, offset, offset, queue=False, **QUIET).then)
    seen_after(right["previous"].click(lambda at: max(0, at - ROWS_A_PAGE), offset, offset, queue=False, **QUIET).then)
    fitting = [left[name] for name in FITTING]
    chosen = [left[name].input for name in FITTING]
    gr.on(chosen, fit, fitting, shared.fitting, trigger_mode="always_last", **QUIET)


def _info(shared: Shared, id: str | None) -> Any:
    try:
        return shared.datasets.get(id) if id else None
    except Problem:
        return None
