"""The tab's two columns, and the names of the samples."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.datasets.ingest import EVAL_SHARE_LIMITS
from studio.datasets.samples import samples
from studio.i18n import LANGUAGES, marker, strings, t
from studio.models.find import EMBEDDED_ID
from studio.services import Shared
from studio.tabs import can_train
from studio.tabs.controls import base_choices, control
from studio.tabs.dataset import acting, advice, batches, charts, cleaning, from_hub, picture, stored, upload
from studio.tabs.dataset.taking import Taking
from studio.tabs.notices import needs_train

# What suits the embedded base, as on the Train tab.
MAX_LENGTH = 256
PROGRESS_SECONDS = 0.5


def build(shared: Shared) -> None:
    """Called inside the tab."""
    if not can_train():
        return needs_train()
    with gr.Row(elem_classes="ls-split ls-dataset"):
        with gr.Column(elem_classes="ls-left"):
            left = _left_column()
        with gr.Column(elem_classes="ls-right"):
            right = _right_column()
    taking = Taking(shared, left, right)
    for part in (upload, acting):
        part.wire(shared, left, right, taking)
    for part in (stored, picture, batches, cleaning, advice):
        part.wire(shared, left, right)


def _left_column() -> dict[str, Any]:
    parts: dict[str, Any] = {}
    share = {"label": marker("dataset.share"), "info": marker("dataset.share_help"), "elem_id": "dataset-share"}
    parts["file"] = gr.File(label=marker("dataset.file"), file_count="multiple", height=132, elem_id="dataset-file")
    gr.HTML(_both("dataset.file_help"), elem_classes="ls-field-note")
    entry = {"label": marker("dataset.entry"), "info": marker("dataset.entry_help"), "elem_id": "dataset-entry"}
    parts["entry"] = gr.Dropdown([], **entry, visible=False)
    parts["entry"].preprocess = lambda name: name
    parts |= from_hub.column()
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
        parts["empty"] = gr.Button("", size="md", elem_id="dataset-empty", visible=False)
    parts["sure"] = gr.Button("", variant="stop", size="md", elem_id="dataset-empty-sure", visible=False)
    base = {"label": marker("dataset.base"), "info": marker("dataset.base_help"), "elem_id": "dataset-base"}
    parts["model"] = gr.Dropdown(base_choices(), value=EMBEDDED_ID, allow_custom_value=True, **base)
    parts["max_length"] = control("max_length", MAX_LENGTH, elem_id="dataset-max_length")
    parts["excess_length_strategy"] = control("excess_length_strategy", elem_id="dataset-excess_length_strategy")
    parts["chat_template"] = control("chat_template", elem_id="dataset-chat_template")
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
    parts: dict[str, Any] = {"trouble": gr.HTML(elem_id="dataset-problem", js_on_load=acting.SCRIPT)}
    parts["view"] = gr.State({"id": None, "offset": 0, "find": {}})
    with gr.Column(visible=False) as parts["busy"]:
        parts["progress"] = gr.HTML(elem_id="dataset-progress")
        parts["cancel"] = gr.Button(marker("dataset.cancel"), variant="stop", size="md", elem_id="dataset-cancel")
    parts["timer"] = gr.Timer(PROGRESS_SECONDS, active=False)
    with gr.Column(visible=False) as parts["measuring"]:
        parts["measured"] = gr.HTML(elem_id="dataset-measured")
        parts["stop"] = gr.Button(marker("dataset.stop"), variant="stop", size="md", elem_id="dataset-stop")
    parts["clock"] = gr.Timer(PROGRESS_SECONDS, active=False)
    parts["columns"] = gr.HTML(elem_id="dataset-columns", js_on_load=acting.SCRIPT)
    parts["head"] = gr.HTML(elem_id="dataset-summary")
    parts["desk"] = gr.HTML(elem_id="dataset-desk", js_on_load=acting.SCRIPT)
    with gr.Column(visible=False) as parts["views"], gr.Tabs(elem_id="dataset-views"):
        with _view("rows"):
            parts |= _rows_column()
        with _view("lengths") as lengths:
            parts |= charts.column(charts.LENGTHS) | batches.column()
        with _view("numbers") as numbers:
            parts |= charts.column(charts.NUMBERS)
        with _view("cleaning"):
            parts |= cleaning.column()
        with _view("advice"):
            parts |= advice.column()
    for view in (lengths, numbers):
        view.select(None, None, None, js=charts.REFIT, api_visibility="private")
    return parts


def _view(name: str) -> gr.Tab:
    """One way to look at the dataset. What is in it reaches the browser's page, and Plotly, once it is come to."""
    return gr.Tab(marker(f"dataset.view_{name}"), id=f"dataset-{name}", elem_id=f"dataset-view-{name}")


def _rows_column() -> dict[str, Any]:
    parts: dict[str, Any] = {name: gr.HTML(elem_id=f"dataset-{name}") for name in ("excess", "dropped")}
    for name in ("finder", "editor", "rows"):
        parts[name] = gr.HTML(elem_id=f"dataset-{name}", js_on_load=acting.SCRIPT)
    with gr.Row(elem_classes="ls-pager", visible=False) as parts["pager"]:
        parts["previous"] = gr.Button(marker("dataset.previous"), size="md", elem_id="dataset-previous")
        parts["next"] = gr.Button(marker("dataset.next"), size="md", elem_id="dataset-next")
    return parts
