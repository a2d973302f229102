"""What the real lengths of the rows make of a run: steps, padding, memory and time, padded and packed."""

from __future__ import annotations

from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from estimator.hardware.cards import find_gpu, gpus
from studio.gate.security import from_this_machine
from studio.i18n import explain, language, marker
from studio.models.find import EMBEDDED_ID, STARTS, base_name, find_model
from studio.outlook.batches import ways
from studio.services import Shared
from studio.tabs import long
from studio.tabs.controls import control, recipe_from
from studio.tabs.dataset.page import QUIET, READ_BY
from studio.tabs.estimate_form import first_recipe
from studio.tabs.notices import problem_html
from studio.widgets.batches_view import batches_view

ROWS = "per_device_train_batch_size"


def column() -> dict[str, Any]:
    """The controls and the table, once there are measured rows."""
    parts: dict[str, Any] = {"seen": gr.State(None)}
    with gr.Column(visible=False) as parts["batches_shown"]:
        parts["batches"] = gr.HTML(elem_id="dataset-batches")
        with gr.Row(elem_classes="ls-batch-controls"):
            parts["batch_rows"] = control(ROWS, STARTS[EMBEDDED_ID][ROWS], elem_id="dataset-batch-rows")
            words = {"label": marker("dataset.card"), "info": marker("dataset.card_help"), "elem_id": "dataset-card"}
            none = (marker("dataset.card_none"), "")
            parts["card"] = gr.Dropdown([none, *gpus()], value="", allow_custom_value=True, **words)
    return parts


def wire(shared: Shared, left: dict[str, Any], right: dict[str, Any]) -> None:
    """Steps, memory and time follow the measured rows, the settings, and the card."""

    def batches(request: gr.Request, seen: Any, card: Any, rows: Any, model: Any, *how: Any) -> dict[Any, Any]:
        lang = language(request)
        if not seen or not seen["lengths"]:
            return {right["batches"]: "", right["batches_shown"]: gr.Column(visible=False)}
        folders = from_this_machine(request)
        try:
            name = base_name(shared.space, model, folders)
            recipe = recipe_from([ROWS], (rows,), first_recipe(name), dict(zip(READ_BY, how, strict=True)))
            gpu = find_gpu(card) if card else None
            base = find_model(shared.space, name, shared.trace_worker, folders)
            share = seen["measured"] / max(1, seen["of"])
            found = ways(recipe, base, gpu, seen["lengths"], rows_share=share, trained_share=seen["trained_share"])
            said = batches_view(lang, recipe, found, gpu and gpu.name, share == 1)
        except Problem as problem:
            said = problem_html(explain(lang, problem))
        return {right["batches"]: said, right["batches_shown"]: gr.Column(visible=True)}

    def card(gpu: str | None) -> Any:
        return gpu or gr.skip()

    asked = [right["seen"], right["card"], right["batch_rows"], left["model"], *(left[name] for name in READ_BY)]
    shown = [right["batches"], right["batches_shown"]]
    full = {"inputs": asked, "outputs": shown, "trigger_mode": "always_last", **long("preview"), **QUIET}
    gr.on([right["seen"].change, right["card"].change, right["batch_rows"].change], batches, **full)
    if shared.gpu is not None:
        shared.gpu.change(card, shared.gpu, right["card"], queue=False, **QUIET)
