"""The Dataset tab: a file or a sample on the left; on the right what was recognised and the rows as the model reads them.

The file is read by the data worker; this page sends it a path and gets counts and tokens back. An upload that fails changes
nothing: the dataset shown before stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from estimator.problems import Problem
from studio.datasets.ingest import EVAL_SHARE_LIMITS
from studio.datasets.samples import sample, samples
from studio.datasets.words import problem_text
from studio.i18n import language, marker, t
from studio.tabs import Shared, can_train
from studio.tabs.controls import control
from studio.tabs.dataset_page import ROWS_A_PAGE, deleted_html, head, picture, stored_choices, trouble_html, waiting
from studio.tabs.notices import needs_train
from studio.workers.bases import EMBEDDED_ID

# What suits the embedded base, as on the Train tab.
MAX_LENGTH = 256
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
    choices = [(_sample_label(one), one.id) for one in samples()]
    words = {"label": marker("dataset.sample"), "info": marker("dataset.sample_help"), "elem_id": "dataset-sample"}
    parts["sample"] = gr.Dropdown(choices, value=choices[0][1] if choices else None, **words)
    parts["use"] = gr.Button(marker("dataset.sample_use"), elem_id="dataset-use-sample", size="md")
    low, high = (round(100 * limit) for limit in EVAL_SHARE_LIMITS)
    parts["share"] = gr.Slider(low, high, value=10, step=1, **share)
    parts["share"].preprocess = lambda number: number  # the worker refuses bad numbers, in the reader's language
    parts["stored"] = gr.Dropdown(
        [], label=marker("dataset.stored"), info=marker("dataset.stored_help"), elem_id="dataset-stored"
    )
    parts["stored"].preprocess = lambda id: id  # the list moves on under an open page; the store refuses unknown ids
    with gr.Row():
        parts["delete"] = gr.Button(marker("dataset.delete"), size="md", elem_id="dataset-delete", interactive=False)
        parts["undo"] = gr.Button(marker("dataset.undo"), size="md", elem_id="dataset-undo", visible=False)
    base = {"label": marker("dataset.base"), "info": marker("dataset.base_help"), "elem_id": "dataset-base"}
    embedded = [(marker("common.embedded_base"), EMBEDDED_ID)]
    parts["model"] = gr.Dropdown(embedded, value=EMBEDDED_ID, allow_custom_value=True, **base)
    parts["max_length"] = control("max_length", MAX_LENGTH, elem_id="dataset-max_length")
    parts["assistant_only_loss"] = control("assistant_only_loss", elem_id="dataset-assistant_only_loss")
    return parts


def _both(key: str) -> str:
    """A note in both languages; the page shows the one it is opened in."""
    from studio.i18n import LANGUAGES

    return '<p class="ls-note ls-both">' + "".join(f'<span data-lang="{x}">{t(x, key)}</span>' for x in LANGUAGES) + "</p>"


def _sample_label(one: Any) -> str:
    """`English · Alpaca · JSONL`, each language under its own name."""
    own_name = {"en": t("en", "dataset.language_en"), "zh": t("zh-CN", "dataset.language_zh")}.get(one.language, one.language)
    return f"{own_name} · {t('en', f'dataset.shape_{one.shape}')} · {one.format.upper()}"


def _right_column() -> dict[str, Any]:
    parts: dict[str, Any] = {"trouble": gr.HTML(elem_id="dataset-problem")}
    parts["cancel"] = gr.Button(marker("dataset.cancel"), variant="stop", visible=False, size="md", elem_id="dataset-cancel")
    parts["head"] = gr.HTML(elem_id="dataset-summary")
    parts["dropped"] = gr.HTML(elem_id="dataset-dropped")
    parts["rows"] = gr.HTML(elem_id="dataset-rows")
    with gr.Row(elem_classes="ls-pager", visible=False) as parts["pager"]:
        parts["previous"] = gr.Button(marker("dataset.previous"), size="md", elem_id="dataset-previous")
        parts["next"] = gr.Button(marker("dataset.next"), size="md", elem_id="dataset-next")
    parts["lengths"] = gr.HTML(elem_id="dataset-lengths")
    return parts


def _wire_upload(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """A file or a sample into the store. A plain function: it goes on when the page is closed."""
    reading: dict[str | None, Any] = {}

    def take(request: gr.Request, path: str | Path, settings: list[Any], progress: gr.Progress) -> tuple[Any, ...]:
        lang, file, session = language(request), Path(path).name, request.session_hash
        reading[session] = False
        try:
            stream = shared.data_worker.stream("ingest", path=str(path), name=file, **_ingest_params(*settings))
            info = _follow(stream, lambda: reading[session], lang, file, progress)
        except Problem as problem:
            return trouble_html(lang, problem_text(lang, problem), kept=bool(shared.datasets.list())), gr.skip(), None
        finally:
            reading.pop(session, None)
        return "", info["id"], None

    # Gradio hands in `request` and `progress` by position only: they come before and after the inputs.
    def upload(request: gr.Request, path, share, model, limit, answers, progress=gr.Progress()):  # noqa: B008
        return take(request, path, [share, model, limit, answers], progress) if path else (gr.skip(),) * 3

    def use(request: gr.Request, id, share, model, limit, answers, progress=gr.Progress()):  # noqa: B008
        try:
            path = sample(id).path
        except Problem as problem:
            lang = language(request)
            return trouble_html(lang, problem_text(lang, problem), kept=False), gr.skip(), gr.skip()
        return take(request, path, [share, model, limit, answers], progress)

    def begin(request: gr.Request, id_or_path: Any) -> tuple[Any, str]:
        return gr.Button(visible=True), waiting(language(request), "starting", Path(str(id_or_path or "")).name)

    def cancel(request: gr.Request) -> None:
        if request.session_hash in reading:
            reading[request.session_hash] = True

    settings = [left["share"], left["model"], left["max_length"], left["assistant_only_loss"]]
    outputs = [right["trouble"], shared.dataset, left["file"]]
    shown = {"show_progress": "full", "show_progress_on": right["trouble"], "api_visibility": "private"}
    for trigger, handler, source in ((left["file"].upload, upload, "file"), (left["use"].click, use, "sample")):
        first = trigger(begin, left[source], [right["cancel"], right["trouble"]], queue=False, **QUIET)
        end = first.then(handler, [left[source], *settings], outputs, **shown)
        end.then(lambda: gr.Button(visible=False), None, right["cancel"], queue=False, **QUIET)
    right["cancel"].click(cancel, None, None, queue=False, **QUIET)


def _ingest_params(percent: Any, model: Any, max_length: Any, assistant_only_loss: Any) -> dict[str, Any]:
    """The form's values as the worker takes them; what is not a number goes on as it is and is refused there."""
    is_number = isinstance(percent, (int, float)) and not isinstance(percent, bool)
    share = percent / 100 if is_number else percent
    return {"eval_share": share, "model": model, "max_length": max_length, "assistant_only_loss": assistant_only_loss}


def _follow(stream: Any, is_cancelled: Any, lang: str, file: str, progress: gr.Progress) -> dict[str, Any]:
    """Show a reading file's progress to its end; closing the stream cancels it in the worker."""
    while True:
        try:
            event = next(stream)
        except StopIteration as stop:
            return stop.value
        counts = {key: f"{event[key]:,}" for key in ("kept", "dropped")}
        share = round(100 * event["read"])
        progress(event["read"], desc=t(lang, "dataset.reading", file=file, share=share, **counts))
        if is_cancelled():
            stream.close()
            raise Problem("dataset.cancelled", file=file)


def _wire_store(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """Choose, delete, undo. The id last deleted is remembered by the page."""
    deleted = gr.State(None)

    def choose(id: str | None) -> tuple[Any, str]:
        return id or gr.skip(), ""

    def refresh(wanted: str | None, chosen: str | None) -> tuple[Any, Any]:
        stored = shared.datasets.list()
        ids = [info.id for info in stored]
        value = next((id for id in (wanted, chosen, *ids) if id in ids), None)
        return gr.Dropdown(stored_choices(stored), value=value), gr.Button(interactive=bool(ids))

    def delete(id: str | None, request: gr.Request) -> tuple[Any, ...]:
        lang = language(request)
        try:
            name = shared.datasets.get(id).name
            shared.datasets.delete(id)
        except Problem as problem:
            return trouble_html(lang, problem_text(lang, problem), kept=False), gr.skip(), gr.skip(), gr.skip()
        return deleted_html(lang, "deleted", name), id, None, gr.Button(visible=True)

    def undo(id: str | None, request: gr.Request) -> tuple[Any, ...]:
        lang = language(request)
        try:
            info = shared.datasets.restore(id)
        except Problem as problem:
            return trouble_html(lang, problem_text(lang, problem), kept=False), gr.skip(), gr.Button(visible=False)
        return deleted_html(lang, "restored", info.name), id, gr.Button(visible=False)

    seen = {"inputs": [shared.dataset, left["stored"]], "outputs": [left["stored"], left["delete"]], **QUIET}
    left["stored"].input(choose, left["stored"], [shared.dataset, right["trouble"]], **QUIET)
    left["delete"].click(delete, left["stored"], [right["trouble"], deleted, shared.dataset, left["undo"]], **QUIET).then(
        refresh, **seen
    )
    left["undo"].click(undo, deleted, [right["trouble"], shared.dataset, left["undo"]], **QUIET).then(refresh, **seen)
    gr.on([shared.dataset.change, shared.tab["dataset"].select, _page().load], refresh, **seen)


    def warm(request: gr.Request) -> None:
        """The worker takes seconds to start: begin when the tab is opened, not when the file is there."""
        if request.query_params.get("tab") == "dataset":
            shared.data_worker.start()

    _page().load(warm, None, None, queue=False, **QUIET)
    shared.tab["dataset"].select(shared.data_worker.start, None, None, queue=False, **QUIET)


def _page() -> gr.Blocks:
    return gr.context.Context.root_block


def _wire_picture(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """The right side follows the chosen dataset and the settings: counts at once, tokens when the worker has them."""
    offset = gr.State(0)
    settings = [left["stored"], left["model"], left["max_length"], left["assistant_only_loss"], offset]
    outputs = [right[part] for part in ("head", "dropped", "rows", "pager", "previous", "next", "lengths")]

    def first(id: str | None, request: gr.Request) -> tuple[Any, ...]:
        """What needs no tokens; the worker starts meanwhile."""
        lang, info = language(request), _info(shared, id)
        if info is None:
            return head(lang, None), "", "", gr.Row(visible=False), gr.skip(), gr.skip(), ""
        shared.data_worker.start()
        return head(lang, info), *(gr.skip(),) * 6

    def look(id: str | None, model: Any, max_length: Any, assistant_only: Any, at: int, request: gr.Request) -> tuple[Any, ...]:
        """Everything, as the model chosen reads it."""
        lang, info = language(request), _info(shared, id)
        if info is None:
            return head(lang, None), "", "", gr.Row(visible=False), gr.skip(), gr.skip(), ""
        try:
            seen = shared.data_worker.call(
                "preview", dataset_id=info.id, model=model, max_length=max_length, assistant_only_loss=assistant_only,
                offset=at, count=ROWS_A_PAGE,
            )  # fmt: skip
        except Problem as problem:
            trouble = trouble_html(lang, problem_text(lang, problem), kept=False)
            return head(lang, info), "", trouble, gr.Row(visible=False), gr.skip(), gr.skip(), ""
        return picture(lang, info, seen, max_length)

    def wait(id: str | None, before: str, request: gr.Request) -> Any:
        return waiting(language(request)) if id and "ls-row" not in (before or "") else gr.skip()

    quick = {"inputs": left["stored"], "outputs": outputs, "queue": False, **QUIET}
    full = {"inputs": settings, "outputs": outputs, "trigger_mode": "always_last", **QUIET}
    left["stored"].change(lambda: 0, None, offset, **QUIET).then(first, **quick).then(
        wait, [left["stored"], right["rows"]], right["rows"], queue=False, **QUIET
    ).then(look, **full)
    _page().load(first, **quick)
    gr.on([left["model"].change, left["max_length"].change, left["assistant_only_loss"].change], look, **full)
    right["next"].click(lambda at: at + ROWS_A_PAGE, offset, offset, **QUIET).then(look, **full)
    right["previous"].click(lambda at: max(0, at - ROWS_A_PAGE), offset, offset, **QUIET).then(look, **full)


def _info(shared: Shared, id: str | None) -> Any:
    try:
        return shared.datasets.get(id) if id else None
    except Problem:
        return None
