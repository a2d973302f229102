"""The Estimate tab's controls: every field has one, and what they hold is the recipe, the card and the conditions."""

from __future__ import annotations

from estimator.estimates.conditions import CONDITIONS, Conditions
from estimator.recipe.recipe import FIELDS, Recipe
from studio.i18n import LANGUAGES, strings
from studio.tabs.estimate_form import held_for, meant, set_to
from studio.tabs.parameters import ADVANCED, BASIC, SOURCES, described

RECIPES = [
    Recipe(model="org/m"),
    Recipe(model="org/m", method="full", target_modules=None, seed=7),
    Recipe(model="org/m", quantization="int8", rank_pattern={"q_proj": 8}, layers_to_transform=(0, 3)),
    Recipe(
        model="org/m",
        quantization="fp4",
        target_modules=r".*\.(q|v)_proj",
        per_device_eval_batch_size=1,
        init_lora_weights="pissa_niter_4",
        method="lora",
    ),
]


def test_every_field_has_a_control_and_says_what_it_is():
    assert sorted(["model", *BASIC, *ADVANCED]) == sorted([*FIELDS, *CONDITIONS])
    assert set(SOURCES) <= {*FIELDS, *CONDITIONS}
    for lang in LANGUAGES:
        for name in (*FIELDS, *CONDITIONS):
            assert strings(lang)[f"recipe.{name}"] and described(lang, name)


def test_controls_hold_a_recipe_and_give_it_back():
    for recipe in RECIPES:
        for conditions in (Conditions(), Conditions(padded=True, system="windows", trained_share=0.5)):
            held = held_for(recipe, "H100 SXM", conditions)
            kept, basic = {k: v for k, v in held.items() if k not in BASIC}, tuple(held[name] for name in BASIC)
            made, gpu, beside = meant(kept, basic)
            stored = recipe if recipe.is_quantized else recipe.replace(quantization=made.quantization)
            assert (made, gpu, beside) == (stored, "H100 SXM", conditions)


def test_only_what_changes_is_sent():
    held = held_for(RECIPES[0], "H100 SXM", Conditions())
    kept, basic = {k: v for k, v in held.items() if k not in BASIC}, tuple(held[name] for name in BASIC)
    sent = set_to(kept, basic, RECIPES[0].replace(optim="adafactor", r=4), "H100 SXM", Conditions())
    assert [value for value in sent[1:] if not isinstance(value, dict)] == ["adafactor", 4]
    assert sent[0]["optim"] == "adafactor"
