"""Fields as text: what a form shows of a recipe reads back as the same recipe; what is no such thing is refused by
name."""

from __future__ import annotations

import pytest

from estimator.core.field_text import parsed_box, shown_in_box
from estimator.core.problems import Problem
from estimator.estimates.conditions import CONDITIONS, Conditions
from estimator.estimates.take_away import conditions_in, from_query, query
from estimator.recipe.recipe import FIELDS, Recipe

VALUES = {
    "exclude_modules": [("q_proj", "v_proj"), r".*layers\.[0-3]\..*", None],
    "layers_to_transform": [(0,), (0, 5, 12), None],
    "layers_pattern": [("layers", "h"), None],
    "rank_pattern": [{"q_proj": 8, "down_proj": 64}, {r"^model\.layers\.[01]=?": 4}, None],
    "alpha_pattern": [{"q_proj": 16}],
    "modules_to_save": [("lm_head", "embed_tokens")],
    "target_parameters": [("experts.gate_up_proj",)],
    "trainable_token_indices": [(0, 7), {"embed_tokens": (1, 2)}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in VALUES.items() for value in values])
def test_a_box_reads_back_what_it_shows(name, value):
    recipe = Recipe(model="m", **{name: value})
    assert Recipe(model="m", **{name: parsed_box(FIELDS[name], shown_in_box(recipe.to_dict()[name]))}) == recipe


@pytest.mark.parametrize("text", ["0, x", "²", "--5", "9" * 5000, "1.5", "{", '{"a": [' * 40, "a=b", "=", ",", "{}=1"])
def test_nonsense_is_refused_by_name_or_harmless(text):
    for name in VALUES:
        try:
            Recipe(model="m", **{name: parsed_box(FIELDS[name], text)})
        except Problem as problem:
            assert problem.field == name
    with pytest.raises(Problem):
        Recipe(model="m", layers_to_transform=parsed_box(FIELDS["layers_to_transform"], text))


@pytest.mark.parametrize(
    "wrong",
    [
        {"system": "amiga"},
        {"trained_share": 0},
        {"trained_share": "all"},
        {"gpu_memory": -1},
        {"padded": 3},
        {"mig": " "},
    ],
)
def test_conditions_refuse_by_name(wrong):
    with pytest.raises(Problem) as caught:
        Conditions(**wrong)
    assert [caught.value.field] == list(wrong)


def test_an_address_restores_recipe_card_and_conditions():
    recipe = Recipe(model="org/m", rank_pattern={"q_proj": 8}, trainable_token_indices={"embed_tokens": (1, 2)})
    conditions = Conditions(system="windows", mig="3g.40gb", gpu_memory=16, trained_share=0.25, padded=True)
    assert set(conditions.stated()) == set(CONDITIONS)
    text = query(recipe, "H100 SXM", conditions)
    fields, gpu = from_query(text)
    from urllib.parse import parse_qsl

    assert (Recipe.from_dict(fields), gpu, Conditions(**conditions_in(dict(parse_qsl(text))))) == (
        recipe,
        "H100 SXM",
        conditions,
    )
