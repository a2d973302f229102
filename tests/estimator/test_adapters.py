"""The restated matching rules against PEFT itself, on the meta device."""

import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.adapters import trainables
from estimator.problems import Problem
from estimator.program import lora_config
from estimator.recipe import Recipe
from tests.estimator import small

LEAVES = (
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "self_attn.q_proj", "c_attn", "c_proj",
    "c_fc", "fc1", "fc2", "qkv_proj", "gate_up_proj", "query_key_value", "dense_h_to_4h", "w1", "w2", "w3", "gate",
    "lm_head", "embed_tokens", "wte", "model.layers.1.self_attn.q_proj", "layers.0.mlp.up_proj", "mlp", "norm", "nothing",
)  # fmt: skip
EXPRESSIONS = ("all-linear", "ALL-LINEAR", r".*\.(q|v)_proj", r".*layers\.[01]\..*proj", r".*attn.*", r".*\.c_(attn|fc)", r".*(experts|mlp).*_proj", r".*lm_head", "q_proj")
PATTERNS = ("q_proj", "v_proj", r"layers\.1\..*", "gate_up_proj", "c_attn", r".*\.down_proj", "1.self_attn.q_proj")

targets = st.one_of(st.sampled_from(EXPRESSIONS), st.lists(st.sampled_from(LEAVES), min_size=1, max_size=6, unique=True).map(tuple))
excluded = st.one_of(st.none(), st.just(r".*layers\.2\..*"), st.lists(st.sampled_from(LEAVES), min_size=1, max_size=2).map(tuple))
patterns = st.one_of(st.none(), st.dictionaries(st.sampled_from(PATTERNS), st.integers(1, 40), min_size=1, max_size=3))
saved = st.one_of(st.none(), st.lists(st.sampled_from(("lm_head", "embed_tokens", "wte", "norm", "model.norm", "ln_f", "nothing")), min_size=1, max_size=2, unique=True).map(tuple))
recipes = st.fixed_dictionaries(
    {"target_modules": targets, "r": st.integers(1, 80)},
    optional={
        "exclude_modules": excluded,
        "layers_to_transform": st.one_of(st.none(), st.sampled_from(((0,), (1, 2), (7,)))),
        "layers_pattern": st.one_of(st.none(), st.sampled_from(("layers", "h", ("layers", "h")))),
        "rank_pattern": patterns,
        "alpha_pattern": patterns,
        "modules_to_save": saved,
        "bias": st.sampled_from(("none", "all", "lora_only")),
        "use_dora": st.booleans(),
        "lora_dropout": st.sampled_from((0.0, 0.1)),
    },
)


def by_peft(name: str, recipe: Recipe) -> int | None:
    """Trainable parameters as PEFT makes them; None where it refuses."""
    import torch
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                model = get_peft_model(small.build(name), lora_config(recipe))
        except Exception:
            return None
    return model.get_nb_trainable_parameters()[0]


def by_us(name: str, recipe: Recipe) -> int | None:
    try:
        return trainables(recipe, small.inventory(name)).parameters
    except Problem:
        return None


@pytest.mark.parametrize("name", small.CONFIGS)
@pytest.mark.parametrize("target_modules", ["all-linear", ("q_proj", "v_proj", "c_attn", "query_key_value", "qkv_proj")])
def test_trainable_count_is_pefts(name, target_modules):
    recipe = Recipe(model=name, method="lora", r=8, target_modules=target_modules)
    expected = by_peft(name, recipe)
    assert expected and by_us(name, recipe) == expected


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(small.CONFIGS)), fields=recipes)
def test_any_recipe_counts_as_peft_counts(name, fields):
    """Equal counts; and where we refuse, PEFT refuses too or would train something nobody asked for."""
    recipe = Recipe(model=name, method="lora", **fields)
    ours, theirs = by_us(name, recipe), by_peft(name, recipe)
    if ours is None:
        assert theirs is None or refused_on_purpose(name, recipe)
    else:
        assert ours == theirs


def refused_on_purpose(name: str, recipe: Recipe) -> bool:
    """`modules_to_save` that matches nothing or overlaps: PEFT goes on silently."""
    try:
        trainables(recipe, small.inventory(name))
    except Problem as problem:
        return problem.field == "modules_to_save"
    return False


def test_nothing_matched_names_what_there_is():
    with pytest.raises(Problem) as caught:
        trainables(Recipe(model="llama", target_modules=("q_porj",)), small.inventory("llama"))
    assert caught.value.field == "target_modules"
    assert "q_porj" in str(caught.value) and "q_proj, k_proj, v_proj, o_proj" in str(caught.value)


def test_rank_above_the_layer_warns_and_counts():
    made = trainables(Recipe(model="llama", r=70, target_modules=("q_proj",)), small.inventory("llama"))
    assert made.parameters == 3 * 70 * (64 + 64)
    assert [code for code, _ in made.warnings] == ["estimator.rank_over_layer"]


def test_full_training_trains_every_tensor_once():
    assert trainables(Recipe(model="gemma-tied", method="full"), small.inventory("gemma-tied")).parameters == small.inventory("gemma-tied").total_parameters
