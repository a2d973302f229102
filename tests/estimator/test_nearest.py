"""The nearest known law against the exact one, and where there is none to stand on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from estimator import Recipe, estimate
from estimator.estimates.parts import _closed_form, parts_of
from estimator.law.law import DYNAMIC
from estimator.law.question import Question
from estimator.model.catalog import load_preset
from estimator.shelf import laws
from estimator.shelf.nearest import RELATIVE_ERROR

DENSE, MOE, PARALLEL, LATENT = (
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen1.5-MoE-A2.7B",
    "EleutherAI/pythia-1.4b",
    "deepseek-ai/DeepSeek-V2-Lite",
)
QV, MLP = ["q_proj", "v_proj"], ["up_proj", "down_proj"]
NEW = [
    (DENSE, {"target_modules": QV, "lora_dropout": 0.1}),
    (DENSE, {"target_modules": MLP, "gradient_checkpointing": False}),
    (MOE, {"target_modules": QV, "lora_dropout": 0.1, "gradient_checkpointing": False}),
    (MOE, {"target_modules": ["q_proj"], "bias": "all"}),
    (PARALLEL, {"target_modules": ["dense_4h_to_h"], "lora_dropout": 0.05}),
    (LATENT, {"target_modules": ["q_proj", "kv_a_proj_with_mqa", "kv_b_proj"], "use_reentrant": True}),
]


@pytest.mark.parametrize(("id", "fields"), NEW)
def test_it_is_nearer_than_the_closed_form_or_within_one_percent_and_within_its_bar(id, fields):
    model, recipe = load_preset(id), Recipe(model=id, max_length=500, **fields)
    exact = laws.traced(Question(recipe, model))
    for sizes in ({}, {"per_device_train_batch_size": 8, "r": 64}, {"max_length": 1000}):
        one = recipe.replace(**sizes)
        parts = parts_of(Question(one, model))
        assert parts.law.engine == "nearest" and parts.law.relative_error == RELATIVE_ERROR
        closed = _closed_form(Question(one, model), parts.trained, parts.base, "cuda")
        true, near, far = (replace(parts, law=law).evaluate(one)[1] for law in (exact, parts.law, closed))
        dynamic = sum(true[name] for name in DYNAMIC)
        off, worse = (abs(sum(made.values()) - sum(true.values())) / dynamic for made in (near, far))
        assert off <= max(worse, 0.01) and off < RELATIVE_ERROR


def test_the_answer_says_which_law_it_stands_on():
    made = estimate(Recipe(model=MOE, target_modules=["q_proj"], lora_dropout=0.1))
    assert (made.engine, made.stands_on) == ("nearest", "lora_dropout 0.0, target_modules q_proj, v_proj")
    assert made.stands_on in str(made.uncertainty.why[0]) and made.to_dict()["stands_on"] == made.stands_on


@pytest.mark.parametrize(
    "fields",
    [
        {"use_dora": True},
        {"attn_implementation": "eager"},
        {"modules_to_save": ["lm_head"]},
        {"method": "qlora", "quantization": "int8"},
    ],
)
def test_what_changes_a_layer_itself_stands_on_no_other_law(fields):
    made = estimate(Recipe(model=DENSE, **{"method": "lora", **fields}))
    assert made.engine == "analytic" and made.stands_on is None


def test_a_law_at_hand_stands_on_itself():
    made = estimate(Recipe(model=DENSE, target_modules=QV))
    assert made.engine == "traced" and made.stands_on is None
