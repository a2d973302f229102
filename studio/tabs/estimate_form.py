"""The Estimate tab's controls: six that everybody sees, all others folded away, and what handlers read of them.

Gradio's page copies every input of an event three times a move, so only the sliders and the targets are inputs. What
the others say, the lists of models and cards too, is kept on the server in one dict, `kept`, by name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import gradio as gr

from estimator.core.field_text import spelled
from estimator.core.units import human_count
from estimator.estimates.conditions import Conditions
from estimator.hardware.cards import Gpu, gpus
from estimator.model.catalog import load_preset, models
from estimator.recipe.recipe import FIELDS, Recipe
from studio.i18n import marker
from studio.models.find import STARTS
from studio.tabs.controls import BOXES, base_choices, control, read, recipe_from, values_of
from studio.tabs.parameters import ADVANCED, BASIC, FIRST, GROUPS, INFOS
from studio.tabs.turns import NEWEST, number_of

START = {"model": "meta-llama/Llama-3.1-8B", "gpu": "GeForce RTX 4090", "max_length": 2048}
"""What the page opens with where it is not the recipe's default."""
BASE = "_recipe"
"""In what is kept: the recipe that came by a link or a button, whole, which the controls change
(`controls.recipe_from`)."""
BEFORE = "_before"
"""In what is kept: what every control held when all were set back."""
RECIPE_NAMES = [name for name in ("model", *BASIC, *ADVANCED) if name in FIELDS]


@dataclass
class Form:
    """`inputs` of every handler: what is kept, then the basic controls; `outputs`: what is kept, then every control.
    `number` is for listeners that are `turns.NUMBERED`."""

    model: Any = None
    gpu: Any = None
    basic: dict[str, Any] = field(default_factory=dict)
    advanced: dict[str, Any] = field(default_factory=dict)
    kept: Any = None
    number: Any = None
    fold: Any = None
    pasting: Any = None
    pasted: Any = None
    paste: Any = None

    @property
    def inputs(self) -> list[Any]:
        return [self.kept, *self.basic.values()]

    @property
    def folded(self) -> dict[str, Any]:
        """The controls that are kept, by name."""
        return {"model": self.model, "gpu": self.gpu, **self.advanced}

    @property
    def outputs(self) -> list[Any]:
        return [self.kept, *self.folded.values(), *self.basic.values()]


def build_form() -> Form:
    """Called inside the column of decisions."""
    form = Form(kept=gr.State({}), number=gr.Textbox(visible="hidden"))
    form.model = _model_control()
    with gr.Accordion(marker("estimate.paste"), open=False, elem_id="estimate-pasting") as form.pasting:
        words = {"label": marker("estimate.paste"), "info": marker("estimate.paste_help")}
        form.pasted = gr.Textbox(lines=5, max_lines=12, container=False, elem_id="estimate-pasted", **words)
        form.paste = gr.Button(marker("estimate.paste_use"), size="sm", elem_id="estimate-paste")
    form.gpu = _gpu_control()
    for name in BASIC:
        form.basic[name] = control(name, START.get(name), elem_id=f"estimate-{name}")
    with gr.Accordion(gr.i18n.I18nData("parameter.advanced"), open=False, elem_id="estimate-advanced") as form.fold:
        for name in FIRST:
            form.advanced[name] = control(name, elem_id=f"estimate-{name}")
        for group, names in GROUPS.items():
            with gr.Accordion(marker(f"estimate.group_{group}"), open=False, elem_id=f"estimate-group-{group}"):
                for name in names:
                    form.advanced[name] = control(name, elem_id=f"estimate-{name}")
    return form


def _model_control() -> Any:
    words = {"label": marker("recipe.model"), "info": marker("recipe.model_help"), "elem_id": "estimate-model"}
    choices: list[Any] = base_choices()
    own = {id for _, id in choices}
    choices += [
        (f"{id} · {human_count(preset.parameters)}", id)
        for id, preset in models().items()
        if preset.is_causal and id not in own
    ]
    return gr.Dropdown(choices, value=START["model"], allow_custom_value=True, **words)


def _gpu_control() -> Any:
    words = {"label": marker("estimate.gpu"), "info": marker("estimate.gpu_help"), "elem_id": "estimate-gpu"}
    choices = [(gpu_label(gpu), gpu.name) for gpu in gpus().values()]
    return gr.Dropdown(choices, value=START["gpu"], allow_custom_value=True, **words)


def gpu_label(gpu: Gpu) -> str:
    return f"{gpu.name} · {gpu.memory_gib:g} GiB" if gpu.memory_gib else gpu.name


def stated(kept: dict[str, Any], basic: tuple[Any, ...]) -> dict[str, Any]:
    """What every control holds, by name."""
    return {**_FIRST_HELD, **kept, **dict(zip(BASIC, basic, strict=True))}


def meant(
    kept: dict[str, Any], basic: tuple[Any, ...], changes: dict[str, Any] | None = None
) -> tuple[Recipe, str, Conditions]:
    """The recipe, the card's name and the conditions that the controls say, with `changes` to the recipe. Raises
    `Problem` naming the field."""
    held = stated(kept, basic)
    base = Recipe(**held[BASE]) if BASE in held else None
    recipe = recipe_from(RECIPE_NAMES, tuple(held[name] for name in RECIPE_NAMES), base, changes)
    return recipe, held["gpu"], Conditions.from_dict({name: read(name, held[name]) for name in GROUPS["data"]})


def held_for(recipe: Recipe, gpu: str, conditions: Conditions) -> dict[str, Any]:
    """The opposite: what every control holds for these."""
    held = dict(zip(RECIPE_NAMES, values_of(recipe, RECIPE_NAMES), strict=True)) | {"gpu": gpu}
    for name in GROUPS["data"]:
        value = getattr(conditions, name)
        held[name] = spelled(INFOS[name], value) if name in BOXES or value is None else value
    return held


def set_to(
    kept: dict[str, Any],
    basic: tuple[Any, ...],
    recipe: Recipe,
    gpu: str,
    conditions: Conditions,
    named: Collection[str] = (),
    but: Mapping[str, Any] = MappingProxyType({}),
) -> list[Any]:
    """Values for `Form.outputs`; controls that stay as they are are not sent, but for `named`: what is on its way to
    them may differ. Those of `but` hold that already."""
    before, after = stated(kept, basic) | but, held_for(recipe, gpu, conditions) | but
    named = set(named) - set(but)
    folded = {name: value for name, value in after.items() if name not in BASIC} | {BASE: recipe.to_dict()}
    changed = lambda name: gr.skip() if before[name] == after[name] and name not in named else after[name]  # noqa: E731
    return [folded, *(changed(name) for name in ("model", "gpu", *ADVANCED, *BASIC))]


def moved(kept: dict[str, Any], before: dict[str, Any], number: Any, basic: tuple[Any, ...]) -> dict[str, Any]:
    """What a hand has set since a request with this `number`, which found `before` and `basic`: of two that set a field
    the last counts."""
    newest = kept.get(NEWEST)
    sent = number_of(number)
    later = newest.said if newest and sent is not None and newest.number > sent else basic
    slid = {name: new for name, old, new in zip(BASIC, basic, later, strict=True) if new != old}
    return slid | {
        name: kept[name] for name in ("model", "gpu", *ADVANCED) if name in kept and kept[name] != before.get(name)
    }


def set_back(kept: dict[str, Any], basic: tuple[Any, ...]) -> list[Any]:
    """Values for `Form.outputs`: every field but the model and the card as it stands at first. What they held can be
    put back."""
    held = stated(kept, basic)
    kept[BEFORE] = {name: held[name] for name in _FIRST_HELD} | {BASE: kept.get(BASE)}
    recipe = first_recipe(held["model"])
    values = set_to(kept, basic, recipe, held["gpu"], Conditions(), (*ADVANCED, *BASIC))
    kept.update(values[0])
    return [kept, *values[1:]]


def put_back(kept: dict[str, Any], basic: tuple[Any, ...]) -> list[Any]:
    """Values for `Form.outputs`: what the fields held when they were set back, mistakes too."""
    before = kept.pop(BEFORE, None)
    if before is None:
        return [kept, *[gr.skip()] * (2 + len(ADVANCED) + len(BASIC))]
    kept.update({name: value for name, value in before.items() if name not in BASIC})
    if before[BASE] is None:
        kept.pop(BASE)
    return [kept, *(before[name] for name in ("model", "gpu", *ADVANCED, *BASIC))]


def first_recipe(model: str) -> Recipe:
    """What the form holds of a model before anybody changed anything: no row is longer than the model reads."""
    if model in STARTS:
        return Recipe(**STARTS[model])
    limit = load_preset(model).spec.max_position_embeddings if model in models() else None
    return Recipe(model=model, max_length=min(START["max_length"], limit or START["max_length"]))


_FIRST_HELD = held_for(Recipe(model=START["model"]), START["gpu"], Conditions())

assert set(_FIRST_HELD) == {"gpu", *INFOS}
