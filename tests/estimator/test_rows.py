"""Batches, padding and packing of rows by their lengths: properties over any lengths, and small cases by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator.core.problems import Problem
from estimator.cost.rows import epoch, packed, read_lengths, uniform
from estimator.law.law import Law
from estimator.recipe.recipe import Recipe

LAW = Law((), 4096, "traced", 0.0)
LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


def recipe(**fields) -> Recipe:
    return Recipe(model="any", **{"max_length": 200, "per_device_train_batch_size": 4, **fields})


@given(LENGTHS, st.integers(1, 8), st.integers(1, 5))
def test_every_row_is_trained_once_or_dropped_for_its_length(lengths, batch, passes):
    asked = recipe(per_device_train_batch_size=batch, gradient_accumulation_steps=passes)
    if min(lengths) > 200:
        with pytest.raises(Problem, match="lengths"):
            epoch(lengths, asked)
        return
    for made in (epoch(lengths, asked), epoch(lengths, asked, "length"), packed(lengths, asked)):
        assert made.dropped_rows == sum(length > 200 for length in lengths)
        assert made.rows + made.dropped_rows == len(lengths)
        assert made.tokens == sum(length for length in lengths if length <= 200) <= made.padded_tokens
        assert made.padded_tokens == sum(rows * length * times for (rows, length), times in made.batches.items())
        assert made.steps == -(-sum(made.batches.values()) // passes)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_sorting_never_pads_more_and_packing_never_wastes_more_than_half(lengths):
    asked, lengths = recipe(), 4 * lengths  # whole batches: a last, smaller one may be the better place for a long row
    random.Random(len(lengths)).shuffle(lengths)
    assert epoch(lengths, asked, "length").padded_tokens <= epoch(lengths, asked).padded_tokens
    rows = packed(lengths, asked).padded_tokens // 200
    assert rows < 2 * sum(lengths) / 200 + 1  # two rows of which each is under half full would have been one


def test_batches_by_hand():
    made = epoch([10, 20, 30, 40, 50], recipe(per_device_train_batch_size=2), "length")
    assert made.batches == {(2, 50): 1, (2, 30): 1, (1, 10): 1}
    assert made.padded_tokens == 170 and made.wasted == pytest.approx(20 / 170)
    assert packed([150, 120, 80, 50], recipe()).padded_tokens == 2 * 200


def test_an_epoch_of_equal_rows_is_its_steps():
    same = uniform(10, 100, recipe())
    assert epoch([100] * 10, recipe()) == same and same.wasted == 0
    assert same.phi(LAW, recipe()) == [2 * a + b for a, b in zip(LAW.phi(4, 100, 16), LAW.phi(2, 100, 16), strict=True)]


def test_a_packed_batch_is_one_row_for_the_model():
    asked = recipe(packing=True, r=8)
    made = epoch([100] * 16, asked)
    assert made == packed([100] * 16, asked) == uniform(16, 100, asked) and made.batches == {(4, 200): 2}
    assert uniform(7, 90, asked) == packed([90] * 7, asked)
    assert made.phi(LAW, asked) == [2 * value for value in LAW.phi(1, 800, 8)]
    apart = recipe(packing=True, packing_strategy="wrapped", r=8)
    assert made.phi(LAW, apart) == [2 * value for value in LAW.phi(4, 200, 8)]


@pytest.mark.parametrize(
    ("rows", "tokens", "field"), [(0, 10, "rows"), (10, 0, "tokens_per_row"), (10, 201, "tokens_per_row")]
)
def test_a_dataset_out_of_range_names_its_field(rows, tokens, field):
    with pytest.raises(Problem) as caught:
        uniform(rows, tokens, recipe())
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "said"), [("12\n3.5\n", "line 2"), ("0\n", "line 1"), ("x\n", "line 1"), ("", "0 rows")]
)
def test_a_bad_file_of_lengths_names_the_line(text, said, tmp_path):
    path = tmp_path / "lengths.txt"
    path.write_text(text)
    with pytest.raises(Problem, match=said):
        read_lengths(str(path))
    with pytest.raises(Problem, match="cannot be read"):
        read_lengths(str(tmp_path / "none.txt"))
    path.write_text("12\n\n7\n")
    assert read_lengths(str(path)) == [12, 7]


def test_cards_that_work_together_wait_for_the_longest_row():
    one = recipe(per_device_train_batch_size=1)
    made = epoch([10, 20, 30], one).shared_by(2, one)
    # of three pairs two have the longest; two turns, the second with a batch drawn again
    assert {size: pytest.approx(times) for size, times in made.batches.items()} == {
        (1, 10): 0,
        (1, 20): 2 / 3,
        (1, 30): 4 / 3,
    }
    assert made.steps == 2


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(1, 9))
def test_shared_work_is_no_less_than_its_part_and_no_more_than_the_longest_each_time(lengths, devices):
    asked = recipe(per_device_train_batch_size=1)
    whole = epoch(lengths, asked)
    made = whole.shared_by(devices, asked)
    turns = -(-len(lengths) // devices)
    assert sum(made.batches.values()) == pytest.approx(turns)
    waited = sum(length * times for (_, length), times in made.batches.items())
    assert sum(lengths) / devices <= waited * (1 + 1e-9) and waited <= turns * max(lengths) * (1 + 1e-9)
    assert sum(length * times for (_, length), times in whole.shared_by(1, asked).batches.items()) == pytest.approx(
        whole.padded_tokens
    )
