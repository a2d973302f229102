"""The recipe's controls: the same kind, order, limits and words on every tab that has them.

Limits and defaults come from `estimator.recipe.FIELDS`, words from the `recipe` area of `studio/i18n`. The browser's
limits are decoration; `recipe_from` builds the record, which checks everything.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from estimator.recipe import DEFAULT_TARGETS, FIELDS, Recipe
from estimator.texts import parsed_box, shown_in_box
from studio.i18n import marker
from studio.startup import no_stub_files
from studio.tabs.parameters import INFOS, info

# What one radio says for two fields: method and quantization.
METHODS = {
    "nf4": {"method": "qlora", "quantization": "nf4"},
    "int8": {"method": "qlora", "quantization": "int8"},
    "lora": {"method": "lora"},
    "full": {"method": "full"},
}
FOUR_BIT = ("nf4", "fp4")
TARGETS = {"target_qv": "q_proj, v_proj", "target_qkvo": "q_proj, k_proj, v_proj, o_proj", "target_all": "all-linear"}
# Sliders' ranges are what people use; a number typed beside the slider may be anything the recipe allows.
SLIDERS = {"r": (1, 128, 1), "per_device_train_batch_size": (1, 64, 1), "max_length": (64, 32_768, 64)}

with no_stub_files():

    class OpenSlider(gr.Slider):
        """A slider that passes on what was typed beside it: the record refuses bad numbers, in the reader's language.

        A class, because Gradio makes the component anew for a session once a handler has set its value.
        """

        is_template = True

        def preprocess(self, payload: Any) -> Any:
            return payload


BOXES = {name for name, known in INFOS.items() if {str, tuple, dict, type(None)} & {getattr(kind, "__origin__", kind) for kind in known.kinds}}
BOXES -= {"model", "target_modules", *(name for name, known in INFOS.items() if "choices" in known.limits)}
"""Fields whose control is a text box: lists, tables, and what may be nothing (Gradio's number field shows nothing as 0)."""


def control(name: str, value: Any = None, **options: Any) -> gr.components.Component:
    """The control of one recipe field, or of one of `Conditions`. `value` overrides the default."""
    known = INFOS[name]
    value = known.default if value is None else value
    words = {"label": marker(f"recipe.{name}"), "info": info(name), "elem_id": options.pop("elem_id", None)}
    if name == "method":
        choices = [(marker(f"recipe.method_{key}"), key) for key in METHODS]
        return gr.Radio(choices, value="nf4" if value == "qlora" else value, **words, **options)
    if name == "quantization":
        return gr.Dropdown(list(FOUR_BIT), value=value, **words, **options)
    if name == "target_modules":
        choices = [(marker(f"recipe.{key}"), text) for key, text in TARGETS.items()]
        return gr.Dropdown(choices, value=targets_text(value), allow_custom_value=True, **words, **options)
    if name in SLIDERS:
        low, high, step = SLIDERS[name]
        return OpenSlider(low, high, value=value, step=step, **words, **options)
    if isinstance(value, bool):
        return gr.Checkbox(value=value, **words, **options)
    if choices := known.limits.get("choices"):
        own = [] if value is not None else [("–", "")]
        return gr.Dropdown(own + [(choice, choice) for choice in choices], value=value or "", allow_custom_value="pattern" in known.limits, **words, **options)
    if name in BOXES:
        return gr.Textbox(shown_in_box(value), max_lines=4, **words, **options)
    return gr.Number(value=value, **words, **options)


def recipe_from(names: list[str], values: tuple[Any, ...], **fixed: Any) -> Recipe:
    """The recipe that controls named `names` say. Raises `Problem` naming the field.

    An emptied number field arrives as None, which the recipe refuses by name.
    """
    fields = {name: read(name, value) for name, value in zip(names, values, strict=True)}
    if "method" in fields:
        four_bit = fields.get("quantization") if fields["method"] == "nf4" else None
        fields.update(METHODS.get(fields["method"], {"method": fields["method"]}))
        fields.update({"quantization": four_bit} if four_bit else {})
    return Recipe.from_dict({**fields, **fixed})


def read(name: str, value: Any) -> Any:
    """What a control holds as the field's type, where that is not what it is already."""
    if name == "target_modules":
        return parse_targets(value)
    if name in BOXES:
        return parsed_box(INFOS[name], value)
    return None if value == "" and type(None) in INFOS[name].kinds else value


def values_of(recipe: Recipe, names: list[str]) -> list[Any]:
    """The opposite of `recipe_from`: what each control shows for a recipe."""
    shown = {name: shown_in_box(value) if name in BOXES else value for name, value in recipe.to_dict().items()}
    shown["target_modules"] = targets_text(recipe.target_modules)
    shown["method"] = method_key(recipe)
    shown["quantization"] = "fp4" if recipe.quantization == "fp4" else "nf4"
    return [shown[name] for name in names]


def method_key(recipe: Recipe) -> str:
    """Which of METHODS a recipe is; both 4-bit types are one."""
    return recipe.method if not recipe.is_quantized else "int8" if recipe.quantization == "int8" else "nf4"


def parse_targets(text: Any) -> str | tuple[str, ...]:
    """`all-linear`, a list of names parted by commas or blanks, or a regular expression."""
    made = parsed_box(FIELDS["target_modules"], text)
    return tuple(made or ()) if made is None or isinstance(made, list) else made


def targets_text(targets: str | tuple[str, ...] | None) -> str:
    return DEFAULT_TARGETS if targets is None else shown_in_box(targets)
