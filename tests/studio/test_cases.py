"""Small files as people bring them (`cases/`), each with what becomes of it (`cases/expected.json`): nothing is lost
unsaid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estimator.core.problems import Problem
from studio.datasets.ingest import ingest, run
from studio.datasets.store import DatasetStore
from studio.datasets.words import problem_text, reason_text, unused_text
from studio.i18n import LANGUAGES
from studio.space import Space

CASES = Path(__file__).parent / "cases"
EXPECTED = json.loads((CASES / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def store(home):
    return DatasetStore(Space.default().datasets, Space.default().trash)


def test_every_case_has_its_expectation():
    assert {file.name for file in CASES.iterdir()} == {*EXPECTED, "expected.json"}


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if "rows" in expected])
def test_rows_are_read_as_they_are_and_what_is_left_out_is_said(store, name):
    expected = EXPECTED[name]
    info = run(ingest(store, CASES / name, eval_share=0))
    rows = list(info.rows("train"))
    assert [{key: value for key, value in row.items() if key != "row"} for row in rows] == expected["rows"]
    assert [row["row"] for row in rows] == expected["kept"] and info.shape == expected["shape"]
    dropped = info.dropped_rows()
    assert [[one["row"], one["reason"], one["params"]] for one in dropped] == expected.get("dropped", [])
    assert info.unused == expected.get("unused", {})
    for lang in LANGUAGES:
        assert all(reason_text(lang, one) for one in dropped)
        said = unused_text(lang, info)
        assert all(name in said for name in info.unused) and bool(said) == bool(info.unused)


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if "problem" in expected])
def test_what_is_refused_names_the_cause_in_the_users_words(store, name):
    with pytest.raises(Problem) as caught:
        run(ingest(store, CASES / name, eval_share=0))
    assert caught.value.code == EXPECTED[name]["problem"]
    sentence = problem_text("en", caught.value)
    assert EXPECTED[name]["says"] and all(word in sentence for word in [name, *EXPECTED[name]["says"]]), sentence
    assert name in problem_text("zh-CN", caught.value) and list(store.root.iterdir()) == []
