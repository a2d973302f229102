"""The Estimate tab: full, LoRA and QLoRA side by side against one card. Needs no torch."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from estimator.catalog import Gpu, find_gpu, gpus, models
from estimator.estimate import Estimate, check, estimate
from estimator.problems import Problem
from estimator.recipe import Recipe
from estimator.units import human_bytes, human_count
from studio.i18n import explain, language, marker, strings, t
from studio.models import EMBEDDED_ID, find_model
from studio.tabs import Shared, open_tab
from studio.tabs.controls import METHODS, control, recipe_from
from studio.tabs.notices import explained, mark_field
from studio.widgets.memory_bar import Bar, memory_bars

FIRST = {"model": "meta-llama/Llama-3.1-8B", "gpu": "GeForce RTX 4090", "max_length": 2048}
BASIC = ["model", "method", "r", "target_modules", "per_device_train_batch_size", "max_length"]
BASIC += ["gradient_checkpointing", "optim"]
ADVANCED = ["dtype", "attn_implementation", "mixed_precision", "lora_dropout", "use_dora", "gradient_accumulation_steps"]
NAMES = BASIC + ADVANCED


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
            picture = gr.HTML(elem_id="estimate-picture")
    _wire(shared, fields, card, trouble, picture, train)


def _model_control() -> Any:
    words = {"label": marker("recipe.model"), "info": marker("recipe.model_help"), "elem_id": "estimate-model"}
    choices: list[Any] = [(marker("common.embedded_base"), EMBEDDED_ID)]
    choices += [(f"{id} · {human_count(preset.parameters)}", id) for id, preset in models().items() if preset.is_causal and id != EMBEDDED_ID]
    return gr.Dropdown(choices, value=FIRST["model"], allow_custom_value=True, **words)


def _gpu_control() -> Any:
    words = {"label": marker("estimate.gpu"), "info": marker("estimate.gpu_help"), "elem_id": "estimate-gpu"}
    choices = [(f"{gpu.name} · {gpu.memory_gib:g} GiB" if gpu.memory_gib else gpu.name, gpu.name) for gpu in gpus().values()]
    return gr.Dropdown(choices, value=FIRST["gpu"], **words)


def _wire(shared: Shared, fields: dict[str, Any], card: Any, trouble: Any, picture: Any, train: Any) -> None:
    # The lists of cards and models stay out of the inputs: Gradio's page copies every input's properties three times a move.
    chosen = {"gpu": gr.State(FIRST["gpu"]), "model": gr.State(FIRST["model"])}
    inputs = [chosen["gpu"], chosen["model"], *(field for name, field in fields.items() if name != "model")]

    def draw(request: gr.Request, gpu: str, *values: Any) -> tuple[Any, Any]:
        """The picture; on a mistake the sentence, and the last good picture stays."""
        lang = language(request)
        try:
            return "", answer_html(lang, recipe_from(NAMES, values), gpu, values[NAMES.index("method")], shared)
        except Problem as problem:
            return explained(lang, problem), gr.skip()

    def carry(request: gr.Request, *values: Any) -> tuple[Any, ...]:
        """Take the recipe to the Train tab."""
        try:
            return "", recipe_from(NAMES, values).to_dict()
        except Problem as problem:
            return explained(language(request), problem), gr.skip()

    fast = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
    gr.on([field.change for name, field in fields.items() if name != "model"], draw, inputs, [trouble, picture], **fast)
    for name, list_ in (("gpu", card), ("model", fields["model"])):
        kept = list_.change(lambda value: value, list_, chosen[name], **fast)
        kept.then(draw, inputs, [trouble, picture], **fast)
    trouble.change(None, None, None, js=mark_field("estimate"), api_visibility="private")  # not at every repaint
    page = gr.context.Context.root_block
    page.load(draw, inputs, [trouble, picture], **fast)
    carried = train.click(carry, list(fields.values()), [trouble, shared.recipe], api_visibility="private")
    open_tab(shared, carried.then, "train", unless=trouble)


def answer_html(lang: str, recipe: Recipe, gpu_name: str, chosen: str, shared: Shared) -> str:
    """Verdict, counts, bars, reasons. Raises `Problem` for what no method could make good."""
    gpu, model = find_gpu(gpu_name), find_model(recipe.model, shared.trace_worker)
    for problem in check(recipe, model=model):
        raise problem
    bars = [Bar(method_name(lang, key), _answer(recipe, key, gpu, model)) for key in METHODS]
    index = list(METHODS).index(chosen) if chosen in METHODS else 0
    for n, bar in enumerate(bars):  # a method that the model cannot take says so in its own row; other mistakes are the form's
        if isinstance(bar.answer, Problem) and (n == index or bar.answer.field != "method"):
            raise bar.answer
    return (
        f'<article class="ls-panel">{_verdict(lang, bars, index, gpu)}{_counts(lang, bars[index].answer)}'
        f"{memory_bars(lang, bars, index, gpu.name)}{_notes(lang, bars[index].answer)}</article>"
    )


def method_name(lang: str, key: str) -> str:
    return t(lang, f"recipe.method_{key}")


def _answer(recipe: Recipe, key: str, gpu: Gpu, model: Any) -> Estimate | Problem:
    try:
        return estimate(recipe.replace(**METHODS[key]), gpu, model=model)
    except Problem as problem:
        return problem


def _verdict(lang: str, bars: list[Bar], index: int, gpu: Gpu) -> str:
    """One sentence; when the chosen method does not fit, a second names those that do."""
    bar = bars[index]
    words = {"gpu": gpu.name, "method": bar.name}
    if bar.verdict == "unknown":
        text = t(lang, "estimate.no_memory", device=human_bytes(bar.answer.device_bytes), **words)
        kind, sign = "ls-warn", "?"
    elif bar.verdict == "misses":
        others = [other.name for other in bars if other.verdict == "fits"]
        text = t(lang, "estimate.misses", missing=human_bytes(-bar.answer.headroom_bytes), **words) + " "
        text += t(lang, "estimate.others_fit", methods=", ".join(others)) if others else t(lang, "estimate.none_fits")
        kind, sign = "ls-problem", "✕"
    else:
        text = t(lang, f"estimate.{bar.verdict}", headroom=human_bytes(bar.answer.headroom_bytes), **words)
        kind, sign = ("ls-good", "✓") if bar.verdict == "fits" else ("ls-warn", "!")
    return f'<p class="ls-verdict {kind}" role="status">{sign} {escape(text)}</p>'


def _counts(lang: str, answer: Estimate) -> str:
    share = f"{answer.trainable_parameters / answer.total_parameters:.3%}"
    words = {"trainable": f"{answer.trainable_parameters:,}", "total": f"{answer.total_parameters:,}", "share": share}
    return f'<p class="ls-note" id="estimate-counts">{escape(t(lang, "estimate.parameters", **words))}</p>'


def _notes(lang: str, answer: Estimate) -> str:
    """The error bar with its reasons, and warnings."""
    low, high = human_bytes(answer.uncertainty.low_bytes), human_bytes(answer.uncertainty.high_bytes)
    why = "".join(f"<li>{escape(explain(lang, reason))}</li>" for reason in answer.uncertainty.why)
    warnings = "".join(f'<p class="ls-warn">! {escape(explain(lang, warning))}</p>' for warning in answer.warnings)
    return (
        f"{warnings}<details class=\"ls-more\"><summary>{escape(t(lang, 'estimate.range'))}: {low} – {high}. "
        f"{escape(t(lang, 'estimate.why'))}</summary><ul>{why}</ul></details>"
    )


assert all(f"recipe.method_{key}" in strings("en") for key in METHODS)
