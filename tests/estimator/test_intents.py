"""Presets of intent: valid for every kind of model, and true to what they promise, by the estimate itself."""

from __future__ import annotations

import pytest

from estimator.advice.intents import intents, meet
from estimator.estimates.estimate import check, estimate
from estimator.hardware.cards import find_gpu
from estimator.model.catalog import load_preset
from estimator.recipe.recipe import Recipe

MODELS = (
    "meta-llama/Llama-3.1-8B",
    "Qwen/Qwen2.5-0.5B",
    "openai-community/gpt2",
    "microsoft/Phi-3-mini-4k-instruct",
    "google/gemma-2-2b",
)
BEFORE = (
    {},
    {"method": "full"},
    {"method": "lora", "init_lora_weights": "pissa", "per_device_train_batch_size": 8, "use_dora": True},
)


@pytest.mark.parametrize("id", MODELS)
@pytest.mark.parametrize("before", BEFORE, ids=str)
def test_every_intent_gives_a_recipe_that_its_model_takes_and_keeps_its_promise(id, before):
    model, gpu = load_preset(id), find_gpu("RTX 4090")
    recipe = Recipe(model=id, max_length=512, **before)
    made = {name: meet(intent, recipe, gpu, model) for name, intent in intents().items()}
    for name, then in made.items():
        assert not check(then, model=model) and then.has_adapters, name
        assert intents()[name].source
    size = lambda recipe: estimate(recipe, gpu, model=model).device_bytes  # noqa: E731
    assert size(made["tightest_memory"]) == min(
        size(then) for then in (recipe, *made.values()) if then.max_length == 512
    )
    batch = lambda recipe: recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps  # noqa: E731
    assert batch(made["tightest_memory"]) == batch(made["longest_context"]) == batch(recipe)
    longest = made["longest_context"]
    assert estimate(longest, gpu, model=model).fits
    limit = model.spec.max_position_embeddings
    if longest.max_length + 64 <= limit:
        assert not estimate(longest.replace(max_length=longest.max_length + 64), gpu, model=model).fits


def test_the_fastest_way_is_the_fastest_that_fits():
    model = load_preset("meta-llama/Llama-3.1-8B")
    recipe = Recipe(model=model.id, max_length=2048)
    large, small = (meet(intents()["fastest"], recipe, find_gpu(name), model) for name in ("H200 SXM", "RTX 4060"))
    assert (large.method, large.gradient_checkpointing) == ("lora", False)
    assert (small.method, small.gradient_checkpointing) == ("qlora", True)
