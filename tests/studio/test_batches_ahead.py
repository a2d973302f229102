"""What real lengths make of a run, and what is counted of the rows on the way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator.cost.rows import epoch
from estimator.estimates.estimate import estimate
from estimator.hardware.cards import find_gpu
from estimator.model.catalog import load_preset
from estimator.recipe.recipe import Recipe
from studio.outlook import batches
from studio.rendering.tallies import Tally
from studio.widgets.batches_view import batches_view
from studio.widgets.numbers_view import in_words, numbers_tables

MODEL = "Qwen/Qwen3-0.6B"
RECIPE = Recipe(model=MODEL, max_length=512, per_device_train_batch_size=4)
GPU = find_gpu("RTX 4090")


def test_the_memory_is_that_of_the_longest_row_and_packing_takes_fewer_steps():
    found = batches.ways(RECIPE, load_preset(MODEL), GPU, [(30, 400), (200, 8)], trained_share=0.5)
    padded, packed = found["padded"], found["packed"]
    assert (padded.longest, packed.longest) == (200, 512)
    alone = estimate(RECIPE.replace(max_length=200), GPU, trained_share=0.5, padded=True)
    assert padded.made.device_bytes == alone.device_bytes
    assert padded.steps == epoch([30] * 400 + [200] * 8, RECIPE).steps == 102 > packed.steps
    assert padded.computed_tokens > packed.computed_tokens and padded.hours[0] <= padded.hours[1]


@given(st.lists(st.tuples(st.integers(8, 500), st.integers(1, 30)), min_size=1, max_size=6), st.floats(0.05, 1))
@settings(max_examples=20, deadline=None)
def test_a_sample_stands_for_all_rows(lengths, share):
    some = batches.ways(RECIPE, load_preset(MODEL), None, lengths, rows_share=share)["padded"]
    whole = batches.ways(RECIPE, load_preset(MODEL), None, lengths)["padded"]
    assert some.steps == pytest.approx(whole.steps / share, rel=0.02, abs=1) and some.longest == whole.longest


def test_what_cannot_be_packed_says_why_and_the_other_way_stands():
    recipe = Recipe(model="Qwen/Qwen3.5-9B", max_length=64)
    found = batches.ways(recipe, load_preset("Qwen/Qwen3.5-9B"), GPU, [(30, 10)])
    shown = batches_view("en", recipe, found, GPU.name, True)
    assert found["padded"].made and ("✕" in shown or "✓" in shown)


def test_numbers_are_by_role_language_and_label():
    tally = Tally(3)
    for label in ("good", "good", "<b>"):
        turns = [
            {"role": "user", "content": "Where is the sea?"},
            {"role": "assistant", "content": "It is over there."},
        ]
        tally.see({"messages": turns, "label": label, "row": 1}, 20, 8)
    made = tally.result()
    assert made["role"]["user"] == {"turns": 3, "characters": 51} and list(made["label"]) == ["good", "<b>"]
    assert sum(one["rows"] for one in made["language"].values()) == 3
    assert made["label"]["good"] == {"rows": 2, "tokens": 40, "trained": 16}
    shown = numbers_tables("zh-CN", in_words("zh-CN", made))
    assert "&lt;b&gt;" in shown and "<b>" not in shown and "用户" in shown
    assert numbers_tables("en", Tally(0).result()) == ""
