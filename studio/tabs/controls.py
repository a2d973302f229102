"""The recipe's controls: the same kind, order, limits and words on every tab that has them.

Limits and defaults come from `estimator.recipe.recipe.FIELDS`, words from the `recipe` area of `studio/i18n`. The
browser's limits are decoration; `recipe_from` builds the record, which checks everything. A form holds the recipe that
came to it whole, beside its controls: what has no control stays, and so does what a control shows in fewer words than
the record has.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from estimator.core.field_text import parsed_box, spelled
from estimator.recipe.recipe import FIELDS, Recipe
from studio.gate.startup import no_stub_files
from studio.get.known import SMOLLM2
from studio.i18n import marker
from studio.models.find import EMBEDDED_ID
from studio.tabs.parameters import GROUPS, INFOS, info

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


BOXES = {
    name
    for name, known in INFOS.items()
    if {str, tuple, dict, type(None)} & {getattr(kind, "__origin__", kind) for kind in known.kinds}
}
BOXES -= {"model", "target_modules", *(name for name, known in INFOS.items() if "choices" in known.limits)}
"""Fields whose control is a text box: lists, tables, and what may be nothing (Gradio's number field shows nothing as
0)."""


def control(name: str, value: Any = None, **options: Any) -> gr.components.Component:
    """The control of one recipe field, or of one of `Conditions`. `value` overrides the default."""
    known = INFOS[name]
    value = known.default if value is None else value
    words = {"label": marker(f"recipe.{name}"), "info": info(name), "elem_id": options.pop("elem_id", None)}
    if name == "method":
        choices = [(marker(f"recipe.method_{key}"), key) for key in METHODS]
        return gr.Radio(choices, value="nf4" if value == "qlora" else value, **words, **options)
    if name == "excess_length_strategy":
        choices = [(marker(f"recipe.excess_{key}"), key) for key in known.limits["choices"]]
        return gr.Radio(choices, value=value, **words, **options)
    if name == "chat_template":
        own = ("own", "plain", "chatml")
        choices = [(marker(f"recipe.template_{key}") if key in own else key, key) for key in known.limits["choices"]]
        return gr.Dropdown(choices, value=value, **words, **options)
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
        return gr.Dropdown(
            own + [(choice, choice) for choice in choices],
            value=value or "",
            allow_custom_value="pattern" in known.limits,
            **words,
            **options,
        )
    if name in BOXES:
        return gr.Textbox(spelled(known, value), max_lines=4, **words, **options)
    return gr.Number(value=value, **words, **options)


def base_choices() -> list[tuple[Any, str]]:
    """The bases that need no hub, as a dropdown shows them: the embedded one, and the small real one."""
    return [(marker("common.embedded_base"), EMBEDDED_ID), (marker("common.smollm2_base"), SMOLLM2)]


def recipe_from(
    names: list[str], values: tuple[Any, ...], base: Recipe | None = None, changes: dict[str, Any] | None = None
) -> Recipe:
    """`base` with what the controls named `names` say; a control that shows what `base` has changes nothing. `changes`
    are fields that replace what the controls say. Raises `Problem` naming the field.

    An emptied number field arrives as None, which the recipe refuses by name.
    """
    held = dict(zip(names, values, strict=True))
    before = dict(zip(names, values_of(base, names), strict=True)) if base else {}
    said = {name: value for name, value in held.items() if name not in before or before[name] != value}
    fields = {name: read(name, value) for name, value in said.items()}
    if {"method", "quantization"} & set(said) and "method" in held:
        fields |= method_fields(held["method"], held.get("quantization") or (base.quantization if base else None))
    fields |= changes or {}
    return base.replace(**fields) if base else Recipe.from_dict(fields)


def method_fields(key: str, quantization: str | None = None) -> dict[str, str]:
    """What a choice of METHODS sets. 4 bits are those of `quantization` where that is 4-bit too."""
    if key == "nf4" and quantization in FOUR_BIT:
        return {"method": "qlora", "quantization": quantization}
    return METHODS.get(key, {"method": key})


def read(name: str, value: Any) -> Any:
    """What a control holds as the field's type, where that is not what it is already."""
    if name in BOXES or name == "target_modules":
        return parsed_box(INFOS[name], value)
    return None if value == "" and type(None) in INFOS[name].kinds else value


def values_of(recipe: Recipe, names: list[str]) -> list[Any]:
    """The opposite of `recipe_from`: what each control shows for a recipe."""
    shown = {name: spelled(FIELDS[name], value) if name in BOXES else value for name, value in recipe.to_dict().items()}
    shown["target_modules"] = targets_text(recipe.target_modules)
    shown["method"] = method_key(recipe)
    shown["quantization"] = "fp4" if recipe.quantization == "fp4" else "nf4"
    return [shown[name] for name in names]


def without_control(recipe: Recipe, names: list[str]) -> list[str]:
    """The fields that stand away from their defaults and that no control of `names` shows."""
    away = [
        name
        for name in FIELDS
        if name not in names and name != "model" and getattr(recipe, name) != FIELDS[name].default
    ]
    says_all = method_key(recipe) != "nf4"  # the method's control names 8 bits, but not which 4
    return [name for name in away if not (name == "quantization" and says_all)]


def is_read(recipe: Recipe, name: str) -> bool:
    """Whether the run of `recipe`, on one device here, looks at a field at all."""
    if name in ("bnb_4bit_use_double_quant", "bnb_4bit_quant_storage"):
        return method_key(recipe) == "nf4"
    if name in GROUPS["devices"]:
        return recipe.num_processes > 1
    return recipe.has_adapters or name not in GROUPS["adapters"]


def method_key(recipe: Recipe) -> str:
    """Which of METHODS a recipe is; both 4-bit types are one."""
    return recipe.method if not recipe.is_quantized else "int8" if recipe.quantization == "int8" else "nf4"


def parse_targets(text: Any) -> Any:
    """`all-linear`, a list of names parted by commas or blanks, a regular expression, or `default`."""
    return parsed_box(FIELDS["target_modules"], text)


def targets_text(targets: Any) -> str:
    return spelled(FIELDS["target_modules"], list(targets) if isinstance(targets, tuple) else targets)
