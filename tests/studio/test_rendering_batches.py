"""Many rows at once become, to the token, what each becomes alone."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.core.problems import Problem
from estimator.recipe.recipe import EXCESS_LENGTH_STRATEGIES, Recipe
from studio import shipped
from studio.rendering import batches, excess, rendering, row_tokens, template_runs, token_places
from tests.studio.dataset_helpers import chat
from tests.studio.template_helpers import OWN, SHIPPED, tokenizer
from tests.studio.test_templates import ROWS, TOOLS

RECIPE = Recipe(model="test", max_length=512)
TEXT = st.text(max_size=12) | st.sampled_from(
    [
        " a",
        "a ",
        "\n\n    x = 1",
        "你好。",
        "🏙️🏙️",
        "<think>\nso\n</think>\n\nyes",
        "<s>",
        "word " * 30,
        "</s>",
        "e\u0301",
    ]
)
MESSAGE = st.builds(
    lambda role, text, more: {"role": role, "content": text, **(more if role == "assistant" else {})},
    st.sampled_from(["user", "assistant", "assistant", "system"]),
    TEXT,
    st.sampled_from([{}, {}, {"trained": False}, {"reasoning_content": "A thought."}]),
)
ROW = st.one_of(
    st.builds(lambda turns: {"messages": turns}, st.lists(MESSAGE, min_size=1, max_size=5)),
    st.builds(lambda turns: chat(*turns[: len(turns) // 2 * 2]), st.lists(TEXT, min_size=2, max_size=6)),
    st.builds(lambda text: {"text": text}, TEXT),
    st.just(TOOLS),
)
cached = functools.cache(tokenizer)


def plain(result):
    """What of a result is trained; of an example made at once there are no places."""
    if isinstance(result, rendering.Dropped):
        return result
    return [
        (list(map(int, one.input_ids)), list(map(int, one.labels)), one.notes, one.part_of, one.trained_tokens)
        for one in result
    ]


def ends_of(result):
    return [] if isinstance(result, rendering.Dropped) else [one.ends for one in result if not one.part_of]


def same(made, rows, recipe):
    rows = [{**row, "row": number} for number, row in enumerate(rows, start=1) if _answered(row)]
    together = list(batches.fitted_rows(made, rows, recipe))
    assert [row for row, _ in together] == rows
    for row, result in together:
        alone = excess.fitted(made, row, recipe)
        assert plain(result) == plain(alone) and ends_of(result) == ends_of(alone), row


def _answered(row):
    """Every stored conversation has an answer."""
    return "text" in row or any(one["role"] == "assistant" for one in row["messages"])


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("name", [*SHIPPED, *OWN])
def test_rows_of_every_template(name, answers):
    same(cached(name), [*ROWS, TOOLS, {"text": "x"}, {"text": ""}], RECIPE.replace(assistant_only_loss=answers))


@given(
    st.lists(ROW, max_size=8), st.sampled_from(["chatml", *SHIPPED[::3], "plain", "blank_before_answer", "alternates"]),
    st.booleans(), st.sampled_from(EXCESS_LENGTH_STRATEGIES), st.sampled_from([8, 24, 512]),
)  # fmt: skip
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_rows(rows, name, answers, strategy, limit):
    made = cached(name) if name != "chatml" else embedded()
    recipe = RECIPE.replace(assistant_only_loss=answers, excess_length_strategy=strategy, max_length=limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "ROWS_AT_ONCE", 3)
        patch.setattr(batches, "CHARACTERS_AT_ONCE", 60)
        patch.setattr(template_runs, "AT_ONCE", 2)
        same(made, rows, recipe)


@pytest.mark.parametrize("name", ["chatml", "blank_before_answer", *SHIPPED[::4]])
def test_a_tokenizer_whose_tokens_have_no_certain_width_is_asked_for_their_places(name, monkeypatch):
    made = cached(name) if name != "chatml" else embedded()
    assert token_places.widths_of(made) is not None
    monkeypatch.setattr(token_places, "widths_of", lambda tokenizer: None)
    same(made, [*ROWS, chat("  你好 🏙️", " é\n"), TOOLS, {"text": "x"}], RECIPE)


@given(st.lists(st.text(max_size=20) | TEXT, max_size=4), st.data())
@settings(max_examples=150, deadline=None)
def test_places_by_bytes_are_those_the_tokenizer_says(texts, data):
    texts = [text.encode("utf-8", "replace").decode() + "." for text in texts]
    made = embedded()
    spans = [
        (at, *sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))) for at, text in enumerate(texts)
    ]  # fmt: skip
    tokens = token_places.Tokens(made, texts)
    assert not tokens.irregular
    for (text, *span), *found in zip(spans, *(one.tolist() for one in tokens.between(spans))):
        asked = made(texts[text], add_special_tokens=False, return_offsets_mapping=True)
        begin, end = tokens.firsts[text : text + 2].tolist()
        assert tokens.ids[begin:end].tolist() == asked["input_ids"]
        first, last, reaches_in, reaches_out = found
        inside = [first <= at < last for at in range(begin, end)]
        if span[0] < span[1] and not reaches_in and not reaches_out:
            assert inside == row_tokens._inside(asked["offset_mapping"], [tuple(span)]), (texts[text], span)


@functools.cache
def embedded():
    return rendering.load_tokenizer(shipped.embedded_base())


def test_a_row_that_its_template_refuses_costs_the_others_nothing():
    rows = [ROWS[0], {"messages": [{"role": "assistant", "content": "first"}]}, ROWS[1]]
    results = [result for _, result in batches.fitted_rows(cached("alternates"), rows, RECIPE)]
    assert [isinstance(one, rendering.Dropped) for one in results] == [False, True, False]
    assert results[1].params["detail"] == "Roles must alternate"


def test_a_cancelled_reading_ends_at_once():
    asked = iter([False, True])
    with pytest.raises(Problem, match="cancelled"):
        list(batches.fitted_rows(embedded(), [ROWS[0]] * 5_000, RECIPE, lambda: next(asked)))


def test_ids_take_four_bytes_each():
    made, _ = rendering.encode_rows([{**ROWS[0], "row": 1}], embedded(), RECIPE)
    assert made.data.column("input_ids").type.value_type.bit_width == 32 and made.column_names == [
        "input_ids",
        "labels",
    ]
    assert np.asarray(made["labels"][0]).min() == rendering.IGNORED
