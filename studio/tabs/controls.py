"""The recipe's controls: the same kind, order, limits and words on every tab that has them.

Limits and defaults come from `estimator.recipe.FIELDS`, words from the `recipe` area of `studio/i18n`. The browser's
limits are decoration; `recipe_from` builds the record, which checks everything.
"""

from __future__ import annotations

import re
from typing import Any

import gradio as gr

from estimator.recipe import DEFAULT_TARGETS, FIELDS, Recipe
from studio.i18n import marker

# What one radio says for two fields: method and quantization.
METHODS = {
    "nf4": {"method": "qlora", "quantization": "nf4"},
    "int8": {"method": "qlora", "quantization": "int8"},
    "lora": {"method": "lora"},
    "full": {"method": "full"},
}
TARGETS = {"target_qv": "q_proj, v_proj", "target_qkvo": "q_proj, k_proj, v_proj, o_proj", "target_all": "all-linear"}
# Sliders' ranges are what people use; a number typed beside the slider may be anything the recipe allows.
SLIDERS = {"r": (1, 128, 1), "per_device_train_batch_size": (1, 64, 1), "max_length": (64, 32_768, 64)}


def control(name: str, value: Any = None, **options: Any) -> gr.components.Component:
    """The control of one recipe field. `value` overrides the recipe's default."""
    info = FIELDS[name]
    value = info.default if value is None else value
    words = {"label": marker(f"recipe.{name}"), "info": marker(f"recipe.{name}_help"), "elem_id": options.pop("elem_id", None)}
    if name == "method":
        choices = [(marker(f"recipe.method_{key}"), key) for key in METHODS]
        return gr.Radio(choices, value="nf4" if value == "qlora" else value, **words, **options)
    if name == "target_modules":
        choices = [(marker(f"recipe.{key}"), text) for key, text in TARGETS.items()]
        return gr.Dropdown(choices, value=targets_text(value), allow_custom_value=True, **words, **options)
    if name in SLIDERS:
        low, high, step = SLIDERS[name]
        slider = gr.Slider(low, high, value=value, step=step, **words, **options)
        slider.preprocess = lambda number: number  # the record refuses bad numbers, in the reader's language
        return slider
    if isinstance(value, bool):
        return gr.Checkbox(value=value, **words, **options)
    if choices := info.limits.get("choices"):
        return gr.Dropdown(list(choices), value=value, **words, **options)
    return gr.Number(value=value, **words, **options)


def recipe_from(names: list[str], values: tuple[Any, ...], **fixed: Any) -> Recipe:
    """The recipe that controls named `names` say. Raises `Problem` naming the field.

    An emptied number field arrives as None, which the recipe refuses by name.
    """
    fields = dict(zip(names, values, strict=True))
    if "method" in fields:
        fields.update(METHODS.get(fields["method"], {"method": fields["method"]}))
    if "target_modules" in fields:
        fields["target_modules"] = parse_targets(fields["target_modules"])
    return Recipe.from_dict({**fields, **fixed})


def values_of(recipe: Recipe, names: list[str]) -> list[Any]:
    """The opposite of `recipe_from`: what each control shows for a recipe."""
    shown = recipe.to_dict()
    shown["target_modules"] = targets_text(recipe.target_modules)
    shown["method"] = method_key(recipe)
    return [shown[name] for name in names]


def method_key(recipe: Recipe) -> str:
    """Which of METHODS a recipe is; both 4-bit types are one."""
    return recipe.method if not recipe.is_quantized else "int8" if recipe.quantization == "int8" else "nf4"


def parse_targets(text: Any) -> str | tuple[str, ...]:
    """`all-linear`, a list of names parted by commas or blanks, or a regular expression."""
    text = str(text or "").strip()
    if text == "all-linear":
        return text
    if re.fullmatch(r"[\w.,\s]*", text):
        return tuple(re.findall(r"[\w.]+", text))
    return text


def targets_text(targets: str | tuple[str, ...] | None) -> str:
    if targets is None:
        return DEFAULT_TARGETS
    return targets if isinstance(targets, str) else ", ".join(targets)
