"""Counts of rows add up wherever they are told: every row is kept, left out for one reason, or joined to one that is
kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator.recipe.recipe import EXCESS_LENGTH_STRATEGIES, Recipe
from studio.datasets.counts import of_file, of_preview, scaled
from studio.datasets.ingest import ingest, run
from studio.datasets.store import DatasetStore
from studio.rendering import preview, rendering
from studio.space import Space
from studio.workers import data
from tests.studio.dataset_helpers import CHATML, base_folder, chat

WORDS = st.integers(0, 60).map(lambda count: "word " * count)
ALPACA = st.fixed_dictionaries({"instruction": WORDS, "output": WORDS})
OPENAI = st.builds(lambda asked, said: {"messages": chat(asked, said)["messages"]}, WORDS, WORDS)
MARKED = st.builds(lambda row, label: {**row, "label": label}, ALPACA, st.sampled_from([True, False, 3, None]))
PREFERRED = st.fixed_dictionaries({"prompt": WORDS, "chosen": WORDS, "rejected": WORDS})
MESSAGE = st.builds(
    lambda id, parent, role, text: {"message_id": id, "parent_id": parent, "role": role, "text": text},
    st.integers(0, 9).map(str), st.none() | st.integers(0, 9).map(str), st.sampled_from(["prompter", "assistant"]),
    WORDS,
)  # fmt: skip
ODD = st.one_of(st.just({"text": "word"}), st.just({"note": 1}), st.just([1]), st.just("x"))
FILES = st.one_of(
    st.lists(ALPACA | ODD, min_size=1, max_size=14), st.lists(OPENAI | ALPACA | ODD, min_size=1, max_size=14),
    st.lists(MARKED | ALPACA, min_size=1, max_size=14), st.lists(PREFERRED | ALPACA, min_size=1, max_size=14),
    st.lists(MESSAGE, min_size=1, max_size=14),
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = base_folder(str(tmp_path_factory.mktemp("counts-base") / "base"), CHATML)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return str(folder)


def stored(rows, tmp_path):
    from estimator.core.problems import Problem

    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    try:
        return run(ingest(DatasetStore(Space.default().datasets), file, eval_share=0.3))
    except Problem:
        return None  # nothing to be used in it: refused as a whole


@given(rows=FILES, limit=st.integers(8, 80), strategy=st.sampled_from(EXCESS_LENGTH_STRATEGIES), answers=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_page_and_run_count_the_same_rows_and_they_add_up(home, base, tmp_path, rows, limit, strategy, answers):
    info = stored(rows, tmp_path)
    if info is None:
        return
    assert info.read == len(rows) == of_file(info).read
    assert sum(info.reasons.values()) == info.dropped and info.kept == info.train_rows + info.eval_rows
    how = {"max_length": limit, "excess_length_strategy": strategy, "assistant_only_loss": answers}
    counts = of_preview(info, data.preview({"dataset_id": info.id, "model": base, **how, "count": 2}, None))
    assert counts.exact and counts.read == len(rows) and counts.kept == counts.train + counts.eval

    tokenizer, recipe = rendering.load_tokenizer(Path(base)), Recipe(model=base, **how)
    for split, of, kept in (("train", info.train_rows, counts.train), ("eval", info.eval_rows, counts.eval)):
        if of:
            examples, report = rendering.encode_rows(info.rows(split), tokenizer, recipe)
            assert report["kept"] == kept and report["kept"] + report["dropped"] == of
            assert report["examples"] == len(examples) and sum(report["reasons"].values()) == report["dropped"]
            assert report["longest"] <= limit


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50)), st.integers(0, 50), st.integers(0, 100_000))
def test_counts_of_a_sample_scaled_up_stay_whole(reasons, fitting, more):
    measured = sum(reasons.values()) + fitting
    of = measured + more if measured else 0
    made = scaled(reasons, measured, of)
    lost = sum(reasons.values())
    assert sum(made.values()) <= of and set(made) == set(reasons)
    assert sum(made.values()) == (round(lost * of / measured) if measured else 0)
    assert all(abs(made[name] - reasons[name] * of / measured) < len(reasons) + 1 for name in reasons if measured)


def test_a_sample_counts_as_all_and_says_that_it_is_one(home, base, monkeypatch):
    monkeypatch.setattr(preview, "MEASURED_ROWS", 12)
    info = DatasetStore(Space.default().datasets).add(
        "x", [{"messages": chat("q", "Arlen " * (i // 2))["messages"]} for i in range(1, 61)]
    )
    seen = data.preview({"dataset_id": info.id, "model": base, "max_length": 40, "count": 1}, None)
    counts = of_preview(info, seen)
    assert not counts.exact and seen["measured"] < 20
    assert counts.read == 60 and 0 < counts.dropped < 60 and counts.eval <= info.eval_rows


def test_a_record_of_an_older_version_adds_up_too(home):
    info = replace(DatasetStore(Space.default().datasets).add("x", [{"text": "a"}] * 5), read=0)
    assert (of_file(info).read, of_file(info).joined) == (5, 0)
