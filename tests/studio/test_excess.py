"""Rows that are too long: left out, cut or split, to the token, with the labels they would have had whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator.recipe.recipe import Recipe
from studio.rendering import excess, rendering
from studio.rendering.row_tokens import encode_whole
from tests.studio.dataset_helpers import CHATML, base_folder, chat

LENGTHS = st.integers(1, 400)
ENDS = st.lists(st.integers(1, 399), max_size=6).map(lambda found: tuple(sorted(set(found))))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return rendering.load_tokenizer(Path(base_folder(str(tmp_path_factory.mktemp("excess") / "base"), CHATML)))


@given(LENGTHS, ENDS, st.integers(8, 200))
def test_a_split_row_is_all_there_in_pieces_that_fit(length, ends, limit):
    found = excess.ranges(length, ends, limit, "split")
    assert [token for first, last in found for token in range(first, last)] == list(range(length))
    assert all(0 < last - first <= limit for first, last in found)
    for first, last in found[:-1]:
        if last not in ends:  # inside an answer only where none ends within the limit
            assert last - first == limit and not any(first < end <= last for end in ends)


@given(LENGTHS, ENDS, st.integers(8, 200))
def test_a_cut_row_is_its_beginning_and_one_that_fits_stays_whole(length, ends, limit):
    assert excess.ranges(length, ends, limit, "truncate") == [(0, min(length, limit))]
    assert excess.ranges(length, ends, limit, "drop") == ([(0, length)] if length <= limit else [])


@given(st.lists(st.sampled_from([-100, 7]), max_size=40))
def test_trained_ranges_are_the_trained_labels(labels):
    inside = {at for first, last in excess.trained_ranges(labels) for at in range(first, last)}
    assert inside == {at for at, label in enumerate(labels) if label != -100}


LONG = chat("What is it?", "A tale of Arlen. " * 30, "And then?", "No more. " * 9, "Sure?", "Yes. " * 12)
TEXT = {"text": "Arlen lies by the sea. " * 40}


@pytest.mark.parametrize("row", [LONG, TEXT], ids=["conversation", "text"])
@pytest.mark.parametrize("answers", [True, False])
def test_the_examples_of_a_row_are_slices_of_the_whole(tokenizer, row, answers):
    recipe = Recipe(model="x", max_length=48, excess_length_strategy="split", assistant_only_loss=answers)
    whole, made = encode_whole(tokenizer, row, recipe), excess.fitted(tokenizer, row, recipe)
    assert len(made) > 3 and all(len(one.input_ids) <= 48 for one in made)
    assert [id for one in made for id in one.input_ids] == whole.input_ids
    assert [label for one in made for label in one.labels] == whole.labels
    for one in made:
        assert one.part_of == len(whole.input_ids)
        assert tokenizer.decode(one.input_ids) == one.text
        assert all(0 <= start <= end <= len(one.text) for start, end in one.offsets)
    (cut,) = excess.fitted(tokenizer, row, recipe.replace(excess_length_strategy="truncate"))
    assert cut.input_ids == whole.input_ids[:48] and tokenizer.eos_token_id not in cut.input_ids[-1:]


def test_a_conversation_is_split_where_an_answer_ends(tokenizer):
    recipe = Recipe(model="x", max_length=600, excess_length_strategy="split")
    row = chat(*["Word. " * 40, "Answer. " * 40] * 6)
    made = excess.fitted(tokenizer, row, recipe)
    assert len(made) > 1 and all(one.text.rstrip().endswith("<|im_end|>") for one in made)
    assert all("user" in one.text[:20] for one in made)


def test_where_the_question_fills_the_length_nothing_is_trained(tokenizer):
    row = chat("word " * 200, "short")
    recipe = Recipe(model="x", max_length=32, excess_length_strategy="truncate")
    dropped = excess.fitted(tokenizer, row, recipe)
    assert dropped.reason == "cut_untrained" and dropped.params["limit"] == 32 < dropped.params["length"]
    (only,) = excess.fitted(tokenizer, row, recipe.replace(excess_length_strategy="split"))
    assert "short" in only.text and only.trained_tokens
