"""A file's shape is that of most of its first rows; what else is in it is read by its own shape, or named and counted;
no bad answer is trained."""

from __future__ import annotations

import json

import pytest

from studio.datasets.command import main
from studio.datasets.forms import for_task
from studio.datasets.ingest import PEEK_ROWS, ingest, run
from studio.datasets.store import DatasetStore
from studio.datasets.words import mixed_text
from studio.i18n import LANGUAGES
from studio.space import Space
from tests.studio.dataset_helpers import chat

ALPACA = {"instruction": "a", "output": "b"}
OPENAI = {"messages": chat("a", "b")["messages"]}
SHAREGPT = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
TEXT = {"text": "a"}
PREFERENCE = {"prompt": "a", "chosen": "b", "rejected": "c"}
GOOD, BAD = {**ALPACA, "label": True}, {**ALPACA, "label": False}
BAD_TAG, BAD_TURNS = {**ALPACA, "kto_tag": False}, {**OPENAI, "is_chosen": 0}


@pytest.fixture
def bring(home, tmp_path):
    def bring(rows):
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))
        return run(ingest(DatasetStore(Space.default().datasets, Space.default().trash), file))

    return bring


TAGS = {"tokens": ["a"], "tags": ["X"]}
OUT = [
    (ALPACA, TEXT, "text"), (TEXT, OPENAI, "openai"), (TEXT, PREFERENCE, "preference"), (ALPACA, TAGS, "tags"),
    (TAGS, OPENAI, None), ({"text": "a", "label": 1}, OPENAI, None),
]  # fmt: skip
TAKEN = [
    (ALPACA, OPENAI, "openai"), (OPENAI, SHAREGPT, "sharegpt"), (OPENAI, ALPACA, "alpaca"),
    (SHAREGPT, ALPACA, "alpaca"), (ALPACA, PREFERENCE, "preference"), (ALPACA, BAD, "unpaired"),
    (ALPACA, BAD_TAG, "unpaired"), (OPENAI, BAD_TURNS, "unpaired"), (PREFERENCE, ALPACA, "alpaca"),
]  # fmt: skip


@pytest.mark.parametrize("first, later, shape", OUT)
def test_rows_that_cannot_be_trained_with_the_rest_are_left_out_and_counted(bring, first, later, shape):
    info = bring([first] * (PEEK_ROWS + 5) + [later] * 7 + [first])
    if shape:
        assert info.other_shapes == {shape: 7} == {shape: info.reasons["other_shape"]} and info.unused == {}
    assert (info.kept, info.dropped, info.dropped_rows()[0]["row"]) == (PEEK_ROWS + 6, 7, PEEK_ROWS + 6)


@pytest.mark.parametrize("first, later, shape", TAKEN)
def test_conversations_are_read_each_by_its_own_shape_and_no_bad_answer_is_trained(bring, first, later, shape):
    info = bring([first] * (PEEK_ROWS + 5) + [later] * 7 + [first])
    assert info.other_shapes == {} == info.unused and info.dropped == 0
    assert sorted(info.shapes.items()) == sorted({info.shape: PEEK_ROWS + 6, shape: 7}.items())
    trained = [one for row in info.rows() if (one := for_task(row, "CAUSAL_LM"))]
    assert {row["messages"][-1]["content"] for row in trained} == {"b"}
    assert len(trained) == info.kept - 7 * (shape == "unpaired")
    for lang in LANGUAGES:
        assert "7" in mixed_text(lang, info) and f"{PEEK_ROWS + 6}" in mixed_text(lang, info)


@pytest.mark.parametrize("rows, shape, kept", [
    ([TEXT, *[ALPACA] * 3], "alpaca", 3),
    ([OPENAI, ALPACA, ALPACA, TEXT, TEXT, TEXT], "alpaca", 3),
    ([BAD, *[ALPACA] * 9], "alpaca", 10),
    ([GOOD, BAD, {**ALPACA, "label": None}], "unpaired", 2),
])  # fmt: skip
def test_most_of_the_first_rows_say_what_a_file_is(bring, rows, shape, kept):
    info = bring(rows)
    assert (info.shape, info.kept) == (shape, kept)


@pytest.mark.parametrize("first, later", [(ALPACA, {**ALPACA, "label": 3}), (ALPACA, {**ALPACA, "messages": ""}),
    (ALPACA, {**ALPACA, "text": "x"}),
                                          (GOOD, ALPACA), (ALPACA, {"instruction": "a"}), (ALPACA, {"note": 1}),
                                          (PREFERENCE, ALPACA)])  # fmt: skip
def test_what_is_read_as_before_is_no_other_shape(bring, first, later):
    assert bring([first] * (PEEK_ROWS + 1) + [later] * 3).other_shapes == {}


def test_a_class_that_looked_like_a_mark_in_one_row_is_none(bring):
    """A label of 0 beside labels of 2: the first rows showed that it is a class."""
    rows = [{**ALPACA, "label": number % 3} for number in range(PEEK_ROWS + 30)]
    info = bring(rows)
    assert (info.shape, info.kept, info.other_shapes) == ("alpaca", len(rows), {})


@pytest.mark.parametrize("lang, word", [("en", "Plain text (7 rows)"), ("zh-CN", "7 行")])
def test_the_command_says_it_too(home, tmp_path, capsys, lang, word):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, [ALPACA] * 121 + [TEXT] * 7)))
    assert main(["dataset", "check", str(file), "--lang", lang]) == 0
    said = capsys.readouterr().out
    assert word in said and "122" in said and "128" in said
    main(["dataset", "check", str(file), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["read"] == told["kept"] + told["dropped"] == 128 and told["other_shapes"] == {"text": 7}
    assert told["forms"] == {"chat": 121} and told["tasks"]["CAUSAL_LM"] == 121
