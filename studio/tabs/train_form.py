"""The Train tab's controls, and what they hold when the base changes or all is reset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from estimator.recipe.recipe import FIELDS, Recipe
from studio.i18n import marker
from studio.models.find import EMBEDDED_ID, STARTS
from studio.services import Shared
from studio.tabs.controls import base_choices, control, values_of, without_control
from studio.tabs.getting import GetPanel
from studio.widgets.also_set import ON_LOAD
from studio.widgets.swapped import Swap

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
    "excess_length_strategy",
    "chat_template",
    "seed",
    "logging_steps",
    "eval_steps",
    "save_steps",
    "save_total_limit",
]
NAMES = BASIC + ADVANCED


@dataclass
class Form:
    """The left column. `base` holds the recipe that was brought here, or the one the page opens with, as a dict; `swap`
    the two sides of the last change of many settings at once (`Swap`), `agreed` what a start was asked to overlook,
    `meant_for` the card of the estimate that brought the recipe."""

    base: Any = None
    swap: Any = None
    agreed: Any = None
    meant_for: Any = None
    dataset: Any = None
    fields: dict[str, Any] = field(default_factory=dict)
    get: Any = None
    reset: Any = None
    swapped: Any = None
    also: Any = None
    name: Any = None
    ahead: Any = None
    trouble: Any = None
    start: Any = None
    anyway: Any = None

    @property
    def held(self) -> list[Any]:
        """What `recipe_of` reads: the controls, then the recipe they change."""
        return [*self.fields.values(), self.base]


def recipe_column(shared: Shared) -> Form:
    form = Form(base=gr.State(fresh(EMBEDDED_ID).to_dict()), swap=gr.State(None), agreed=gr.State(None))
    form.meant_for = gr.State("")
    words = {"label": marker("train.dataset"), "info": marker("train.dataset_help")}
    form.dataset = gr.Dropdown([], elem_id="train-dataset", **words)
    for name in BASIC:
        form.fields[name] = _field(name)
        if name == "model":
            form.get = GetPanel(shared, "train")
            form.swapped = gr.HTML(elem_id="train-swapped", js_on_load=ON_LOAD)
    with gr.Accordion(marker("train.advanced"), open=False):
        for name in ADVANCED:
            form.fields[name] = _field(name)
    form.also = gr.HTML(elem_id="train-also", js_on_load=ON_LOAD)
    form.reset = gr.Button(marker("train.reset"), size="sm", elem_id="train-reset")
    words = {"label": marker("train.name"), "info": marker("train.name_help")}
    form.name = gr.Textbox(max_lines=1, elem_id="train-name", **words)
    form.ahead = gr.HTML(elem_id="train-ahead")
    form.trouble = gr.HTML(elem_id="train-problem")
    form.start = gr.Button(marker("train.start"), variant="primary", elem_id="train-start")
    form.anyway = gr.Button(visible=False, variant="stop", elem_id="train-anyway")
    return form


def _field(name: str) -> Any:
    if name == "model":
        words = {"label": marker("recipe.model"), "info": marker("recipe.model_help"), "elem_id": "train-model"}
        return gr.Dropdown(base_choices(), value=EMBEDDED_ID, allow_custom_value=True, **words)
    return control(name, STARTS[EMBEDDED_ID].get(name), elem_id=f"train-{name}")


def fresh(model: str) -> Recipe:
    """The recipe that this page begins with for a base."""
    return Recipe(**{**STARTS.get(model, {}), "model": model})


def on_change_of_base(model: str, held: dict[str, Any], base: dict[str, Any]) -> Swap | None:
    """What the controls shall hold where `model` takes the place of the base that `base` came with: what came with that
    one is set to what suits the new one, what was set on this page stays. None where both are suited by the same."""
    old_model = base["model"]
    if model == old_model or STARTS.get(model) == STARTS.get(old_model):
        return None
    brought = dict(zip(NAMES, values_of(Recipe.from_dict(base), NAMES), strict=True))
    new = fresh(model)
    begins = dict(zip(NAMES, values_of(new, NAMES), strict=True))
    after = {name: begins[name] if value == brought[name] else value for name, value in held.items()}
    return Swap("base", old_model, model, held | {"model": model}, after | {"model": model}, base, new.to_dict())


def on_advice(asked: dict[str, Any], held: dict[str, Any], base: dict[str, Any]) -> Swap:
    """`asked` (`model`, `values` by field) over what the page holds; of another base, over what suits that one."""
    before, base_before, model = held, base, asked["model"]
    if swap := on_change_of_base(model, held, base):
        held, base = swap.after, swap.base_after
    after = {**held, "model": model}
    recipe = Recipe.from_dict(base).replace(model=model, **asked["values"])
    after |= {
        name: value for name, value in zip(NAMES, values_of(recipe, NAMES), strict=True) if name in asked["values"]
    }
    return Swap("advice", base_before["model"], model, before, after, base_before, {**base, "model": model})


def on_reset(held: dict[str, Any], base: dict[str, Any]) -> Swap:
    """Everything as the page begins with the base that stands in its field."""
    model = held["model"] if isinstance(held["model"], str) and held["model"] else EMBEDDED_ID
    new = fresh(model)
    after = dict(zip(NAMES, values_of(new, NAMES), strict=True))
    return Swap("reset", base["model"], model, held, after, base, new.to_dict())


def bare_fields(recipe: Recipe) -> list[str]:
    """Fields away from their defaults that have no control here."""
    return without_control(recipe, NAMES)


assert set(NAMES) <= set(FIELDS)
