"""What a dataset asks of a run: more rows never ask for less, and every proposal is one that the recipe takes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator.estimates.estimate import check
from estimator.model.catalog import load_preset
from estimator.recipe.recipe import FIELDS, Recipe
from studio.__main__ import main
from studio.i18n import LANGUAGES
from studio.models.find import EMBEDDED_ID, STARTS
from studio.outlook import advisor
from studio.outlook.advisor import Known, advise, known_of
from studio.tabs.controls import values_of
from studio.tabs.train_form import NAMES, on_advice
from studio.widgets.advice_view import advice_view
from studio.widgets.swapped import swapped

MODELS = ("Qwen/Qwen3-0.6B", "meta-llama/Llama-3.1-8B", "Qwen/Qwen2.5-72B", EMBEDDED_ID)
LENGTHS = st.lists(st.tuples(st.integers(1, 300_000), st.integers(1, 400)), max_size=6)
ROWS = st.integers(1, 2_000_000)


def begun(model: str = MODELS[0], **changes: object) -> Recipe:
    return Recipe(**{"model": model, **STARTS.get(model, {}), **changes})


def known(rows: int = 1_000, lengths=((100, 1_000),), **more) -> Known:
    counted = sum(times for _, times in lengths)
    return Known(rows, more.pop("eval_rows", 10), list(lengths), min(1.0, counted / rows) if counted else 1.0, **more)


@given(st.sampled_from(MODELS), st.sampled_from(("full", "lora", "qlora")), ROWS, LENGTHS, st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_every_proposal_is_within_the_limits_and_the_recipe_takes_all_of_them(model, method, rows, lengths, thinking):
    recipe, base = begun(model, method=method), load_preset(model)
    made = advise(recipe, base, known(rows, lengths, thinking=thinking))
    assert (
        Recipe.from_dict(recipe.to_dict() | made.values) == made.recipe and list(check(made.recipe, model=base)) == []
    )
    for one in made.proposals:
        limits = FIELDS[one.field].limits
        assert limits.get("low", one.value) <= one.value <= limits.get("high", one.value)
    assert made.refused == () and ("r" in made.values) == recipe.has_adapters


@given(ROWS, ROWS, st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_more_rows_never_lower_the_rank_nor_raise_the_passes(one, other, thinking):
    few, many = (advise(begun(), None, known(rows, (), thinking=thinking)).values for rows in sorted((one, other)))
    assert few["r"] <= many["r"] and few["num_train_epochs"] >= many["num_train_epochs"]


@given(LENGTHS.filter(bool))
@settings(max_examples=60, deadline=None)
def test_at_most_the_stated_share_is_longer_unless_the_base_reads_no_more(lengths):
    base = load_preset(MODELS[0])
    made = advise(begun(), base, known(10, lengths))
    length = made.values["max_length"]
    over = sum(times for tokens, times in lengths if tokens > length) / sum(times for _, times in lengths)
    [said] = [one for one in made.proposals if one.field == "max_length"]
    assert over <= advisor.CUT_SHARE or (said.why, length) == ("length_base", base.spec.max_position_embeddings)
    assert (over == 0) == (said.why == "length_all")


@pytest.mark.parametrize(("rows", "rank"), [(4_999, 8), (5_001, 16), (50_000, 16), (50_001, 32), (600_000, 64)])
def test_the_ranks_by_rows_and_their_scale(rows, rank):
    made = advise(begun(), None, known(rows)).recipe
    assert (made.r, made.use_rslora) == (rank, rank >= 32) and 1.9 < made.scaling < 3


def test_rows_that_reason_take_a_higher_rank_than_their_number_asks_for():
    assert advise(begun(), None, known(thinking=0.9)).values["r"] == 32
    assert advise(begun(), None, known(600_000, thinking=0.9)).values["r"] == 64


@pytest.mark.parametrize(
    ("model", "method", "rate"),
    [(MODELS[0], "lora", 2e-4), (MODELS[2], "qlora", 1e-4), (MODELS[1], "full", 2e-5), (EMBEDDED_ID, "lora", 2e-3)],
)
def test_the_rate_follows_base_and_method(model, method, rate):
    assert advise(begun(model, method=method), load_preset(model), known()).values["learning_rate"] == pytest.approx(
        rate
    )


def test_short_rows_are_packed_and_rows_as_long_as_the_length_are_not():
    short = advise(begun(), None, known(2_000, [(60, 1_900), (1_000, 100)]))
    assert short.values["packing"] and short.values["max_length"] == 1_024
    even = advise(begun(), None, known(2_000, [(1_000, 2_000)]))
    assert not even.values["packing"]


def test_few_rows_are_passed_over_more_often_and_said_to_be_few():
    few, many = advise(begun(), None, known(40, [(100, 40)])), advise(begun(), None, known(4_000, [(100, 4_000)]))
    assert 3 < few.values["num_train_epochs"] <= advisor.MOST_EPOCHS and many.values["num_train_epochs"] == 3
    assert [key for key, _ in few.notes] == ["tiny"] and many.notes == ()
    assert [key for key, _ in advise(begun(), None, known(eval_rows=0)).notes] == ["no_validation"]


def test_rows_that_the_task_cannot_train_count_as_none():
    seen = {"whole": [[30, 5], [40, 5]], "measured": 20, "of": 2_000, "eval_rows": 3, "thinking": 0.1}
    found = known_of(seen)
    assert (found.train_rows, found.share, found.lengths) == (1_000, 0.01, [(30, 5), (40, 5)])
    nothing = advise(begun(), None, known_of(seen | {"whole": []}))
    assert nothing.proposals == () and [key for key, _ in nothing.notes] == ["untrained"]
    assert advice_view("en", nothing, 0).count("<dt>") == 0


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_reason_has_a_sentence_and_what_it_changes_can_be_undone(lang):
    few, some, many = ((40, 60),), ((100, 9), (9_000, 1)), ((2**21, 5),)
    rows = ((60, few, 0), (20_000, some, 0), (60_000, many, 1), (900, ((2_000, 900),), 0), (3, ((10, 3),), 0))
    cases = [known(count, lengths, thinking=thinking, eval_rows=0) for count, lengths, thinking in rows]
    for model in MODELS:
        for method in ("full", "qlora"):
            for one in cases:
                recipe = begun(model, method=method)
                made = advise(recipe, load_preset(model), one)
                html = advice_view(lang, made, one.train_rows)
                assert "{" not in html and html.count("<dt>") >= 4
    page = dict(zip(NAMES, values_of(begun(), NAMES), strict=True)) | {"lora_dropout": 0.1}
    swap = on_advice({"model": MODELS[1], "values": made.values | {"r": 8}}, page, begun().to_dict())
    changed = {name: (old, new) for name, old, new in swap.changed}
    assert changed["r"] == ("16", "8") and swap.after["model"] == MODELS[1] and swap.before == page
    assert swap.after["lora_dropout"] == 0.1 and "16" in swapped(lang, swap)


def test_the_command_says_what_the_page_says(tmp_path, home, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(json.dumps({"instruction": f"Question {i}?", "output": "word " * i}) + "\n" for i in range(40))
    )
    assert main(["dataset", "advise", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["values"]["r"] == 8 and told["values"]["max_length"] % 64 == 0
    assert {one["field"] for one in told["proposals"]} == set(told["values"])
    assert main(["dataset", "advise", str(file), "--lang", "zh-CN"]) == 0 and "经验值" in capsys.readouterr().out
    assert main(["dataset", "advise", "20990101-000000-ffffff"]) == 2
