"""Formulas: the terms of every component sum to it, and the components to the peak."""

from __future__ import annotations

import pytest

from estimator import Recipe, estimate, open_model
from estimator.formulas import formulas, moments
from estimator.parts import parts_of


@pytest.mark.parametrize("fields", [{"method": "full"}, {"method": "lora"}, {}, {"quantization": "int8"}, {"bias": "all", "attn_implementation": "eager"}, {"max_length": 8192}])
@pytest.mark.parametrize("id", ["meta-llama/Llama-3.1-8B", "openai-community/gpt2"])
def test_terms_sum_to_their_component(id: str, fields: dict) -> None:
    recipe = Recipe(model=id, **fields)
    made, found = estimate(recipe), formulas(recipe, parts_of(recipe, open_model(id), "trl", "cuda"))
    assert {formula.component: formula.bytes for formula in found} == {name: size for name, size in made.components.items() if size}
    for formula in found:
        assert sum(term.bytes for term in formula.terms) == pytest.approx(formula.bytes, abs=1, rel=1e-12)
        assert "{" not in str(formula.note)


def test_the_highest_moment_is_the_peak() -> None:
    recipe = Recipe(model="meta-llama/Llama-3.1-8B", method="lora")
    found = dict(moments(recipe, parts_of(recipe, open_model(recipe.model), "trl", "cuda")))
    made = estimate(recipe)
    assert max(sum(parts.values()) for parts in found.values()) == made.peak_allocated_bytes
    assert found[made.peak_moment] == made.components
