"""The Estimate tab: full, LoRA and QLoRA side by side against one card, and what unfolds below. Needs no torch."""

from __future__ import annotations

from typing import Any

import gradio as gr

from estimator.catalog import find_gpu, gpus, models
from estimator.estimate import check
from estimator.problems import Problem
from estimator.recipe import Recipe
from estimator.take_away import from_query
from estimator.units import human_count
from studio.i18n import language, marker
from studio.models import EMBEDDED_ID, find_model
from studio.tabs import Shared, open_tab
from studio.tabs.controls import control, recipe_from, values_of
from studio.tabs.notices import explained, mark_field
from studio.tabs.panels import Asked, cards, change, fits, take, why
from studio.tabs.panels.picture import picture

FIRST = {"model": "meta-llama/Llama-3.1-8B", "gpu": "GeForce RTX 4090", "max_length": 2048}
BASIC = ["model", "method", "r", "target_modules", "per_device_train_batch_size", "max_length"]
BASIC += ["gradient_checkpointing", "optim"]
ADVANCED = ["dtype", "attn_implementation", "mixed_precision", "lora_dropout", "use_dora", "gradient_accumulation_steps"]
ADVANCED += ["packing", "use_reentrant", "autocast_adapter_dtype"]
NAMES = BASIC + ADVANCED
PANELS = (why, change, fits, cards, take)
FAST = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
# The names of the open panels with a count, so that each picture asks for them once more; the same text where none is open.
OPEN_PANELS = """(before) => {
  const open = [...document.querySelectorAll("[id^=estimate-panel-]")].filter((fold) => fold.querySelector("button.open"));
  const names = open.map((fold) => fold.id.replace("estimate-panel-", "")).join(",");
  return names ? names + "|" + (Number((before || "").split("|")[1] || 0) + 1) : before;
}"""


def build(shared: Shared) -> None:
    """Called inside the tab."""
    fields: dict[str, Any] = {}
    with gr.Row(elem_classes="ls-split ls-picture-first"):
        with gr.Column(elem_classes="ls-left"):
            fields["model"] = _model_control()
            card = _gpu_control()
            for name in BASIC[1:]:
                fields[name] = control(name, FIRST.get(name), elem_id=f"estimate-{name}")
            with gr.Accordion(marker("estimate.advanced"), open=False):
                for name in ADVANCED:
                    fields[name] = control(name, elem_id=f"estimate-{name}")
            train = gr.Button(marker("estimate.train_this"), variant="primary", elem_id="estimate-train")
        with gr.Column(elem_classes="ls-right ls-sticky"):
            trouble = gr.HTML(elem_id="estimate-problem")
            shown = gr.HTML(elem_id="estimate-picture")
            folds, panels, options = zip(*[_panel(panel) for panel in PANELS], strict=True)
    # The lists of cards and models stay out of the inputs: Gradio's page copies every input's properties three times a move.
    chosen = {"gpu": gr.State(FIRST["gpu"]), "model": gr.State(FIRST["model"])}
    inputs = [chosen["gpu"], chosen["model"], *(field for name, field in fields.items() if name != "model")]
    _wire_picture(shared, fields, chosen, card, inputs, trouble, shown)
    _wire_panels(shared, inputs, shown, folds, panels, options)
    for html in panels:
        _wire_apply(html, fields, inputs)
    _wire_train(shared, train, inputs, trouble)
    _wire_restore(fields, card, trouble)


def _model_control() -> Any:
    words = {"label": marker("recipe.model"), "info": marker("recipe.model_help"), "elem_id": "estimate-model"}
    choices: list[Any] = [(marker("common.embedded_base"), EMBEDDED_ID)]
    choices += [(f"{id} · {human_count(preset.parameters)}", id) for id, preset in models().items() if preset.is_causal and id != EMBEDDED_ID]
    return gr.Dropdown(choices, value=FIRST["model"], allow_custom_value=True, **words)


def _gpu_control() -> Any:
    words = {"label": marker("estimate.gpu"), "info": marker("estimate.gpu_help"), "elem_id": "estimate-gpu"}
    choices = [(f"{gpu.name} · {gpu.memory_gib:g} GiB" if gpu.memory_gib else gpu.name, gpu.name) for gpu in gpus().values()]
    return gr.Dropdown(choices, value=FIRST["gpu"], **words)


def _panel(panel: Any) -> tuple[Any, Any, dict[str, Any]]:
    with gr.Accordion(marker(f"estimate.panel_{panel.NAME}"), open=False, elem_id=f"estimate-panel-{panel.NAME}") as fold:
        options = panel.controls() if hasattr(panel, "controls") else {}
        html = gr.HTML(elem_id=f"estimate-{panel.NAME}", js_on_load=getattr(panel, "ON_LOAD", None))
    return fold, html, options


def _asked(shared: Shared, gpu: str, values: tuple[Any, ...]) -> Asked:
    """Raises `Problem` for what no method could make good."""
    recipe, card = recipe_from(NAMES, values), find_gpu(gpu)
    model = find_model(recipe.model, shared.trace_worker)
    for problem in check(recipe, model=model):
        raise problem
    return Asked(recipe, card, model)


def _wire_picture(shared: Shared, fields: dict[str, Any], chosen: dict[str, Any], card: Any, inputs: list[Any], trouble: Any, shown: Any) -> None:
    def draw(request: gr.Request, gpu: str, *values: Any) -> tuple[Any, Any]:
        """The picture; on a mistake the sentence, and the last good picture stays."""
        lang = language(request)
        try:
            return "", picture(lang, _asked(shared, gpu, values))
        except Problem as problem:
            return explained(lang, problem), gr.skip()

    gr.on([field.change for name, field in fields.items() if name != "model"], draw, inputs, [trouble, shown], **FAST)
    for name, list_ in (("gpu", card), ("model", fields["model"])):
        kept = list_.change(lambda value: value, list_, chosen[name], **FAST)
        kept.then(draw, inputs, [trouble, shown], **FAST)
    trouble.change(None, None, None, js=mark_field("estimate"), api_visibility="private")  # not at every repaint
    gr.context.Context.root_block.load(draw, inputs, [trouble, shown], **FAST)


def _wire_panels(shared: Shared, inputs: list[Any], shown: Any, folds: tuple[Any, ...], panels: tuple[Any, ...], options: tuple[dict[str, Any], ...]) -> None:
    """Open panels are drawn after each picture, when they open and when what they ask beside changes."""
    wanted = gr.Textbox(visible="hidden", elem_id="estimate-wanted")

    asked_beside = [control for controls in options for control in controls.values()]

    def draw(request: gr.Request, names: str, gpu: str, *values: Any) -> list[Any]:
        lang, open_names = language(request), str(names).partition("|")[0].split(",")
        beside = iter(values[len(NAMES) :])
        given = [{name: next(beside) for name in controls} for controls in options]
        try:
            asked = _asked(shared, gpu, values[: len(NAMES)])
        except Problem:  # said beside the picture; what was drawn stays
            return [gr.skip()] * len(PANELS)
        return [_drawn(lang, panel, asked, own) if panel.NAME in open_names else gr.skip() for panel, own in zip(PANELS, given, strict=True)]

    changes = [control.change for control in asked_beside]
    for event in (shown.change, *(fold.expand for fold in folds), *changes):
        event(None, wanted, wanted, js=OPEN_PANELS, api_visibility="private")
    wanted.change(draw, [wanted, *inputs, *asked_beside], list(panels), **FAST)


def _drawn(lang: str, panel: Any, asked: Asked, options: dict[str, Any]) -> str:
    try:
        return panel.render(lang, asked, **options)
    except Problem as problem:
        return explained(lang, problem)


def _wire_apply(html: Any, fields: dict[str, Any], inputs: list[Any]) -> None:
    """A panel's button sets fields; their controls change, and with them the picture."""

    def apply(request: gr.Request, event: gr.EventData, gpu: str, *values: Any) -> list[Any]:
        now = recipe_from(NAMES, values)
        then = now.replace(**dict(event._data or {}))
        before, after = values_of(now, NAMES), values_of(then, NAMES)
        return [gr.skip() if a == b else b for a, b in zip(before, after, strict=True)]

    html.click(apply, inputs, [fields[name] for name in NAMES], **FAST)


def _wire_train(shared: Shared, train: Any, inputs: list[Any], trouble: Any) -> None:
    def carry(request: gr.Request, gpu: str, *values: Any) -> tuple[Any, ...]:
        """Take the recipe to the Train tab."""
        try:
            return "", recipe_from(NAMES, values).to_dict()
        except Problem as problem:
            return explained(language(request), problem), gr.skip()

    carried = train.click(carry, inputs, [trouble, shared.recipe], api_visibility="private")
    open_tab(shared, carried.then, "train", unless=trouble)


def _wire_restore(fields: dict[str, Any], card: Any, trouble: Any) -> None:
    """An address with recipe fields sets the controls; what is wrong in it is said, and nothing of it is taken."""

    def restore(request: gr.Request) -> list[Any]:
        asked, gpu = from_query(request.query_params)
        untouched = [gr.skip()] * (len(NAMES) + 2)
        if not asked and not gpu:
            return untouched
        try:
            recipe = Recipe.from_dict({"model": FIRST["model"], **asked})
            found = find_gpu(gpu).name if gpu else gr.skip()
        except Problem as problem:
            return [*untouched[:-1], explained(language(request), problem)]
        return [*values_of(recipe, NAMES), found, gr.skip()]

    outputs = [*(fields[name] for name in NAMES), card, trouble]
    gr.context.Context.root_block.load(restore, None, outputs, **FAST)
