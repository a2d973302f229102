"""A file's shape is that of its first rows; what comes later in another shape is noticed, counted and never trained
unseen."""

from __future__ import annotations

import json

import pytest

from studio.datasets.command import main
from studio.datasets.ingest import PEEK_ROWS, ingest, run
from studio.datasets.store import DatasetStore
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


LATER = [
    (ALPACA, OPENAI, "openai"), (ALPACA, TEXT, "text"), (ALPACA, PREFERENCE, "preference"),
    (OPENAI, SHAREGPT, "sharegpt"),
    (OPENAI, ALPACA, "alpaca"), (SHAREGPT, ALPACA, "alpaca"), (TEXT, OPENAI, "openai"),
    (TEXT, PREFERENCE, "preference"),
    (ALPACA, BAD, "unpaired"), (ALPACA, BAD_TAG, "unpaired"), (OPENAI, BAD_TURNS, "unpaired"),
]  # fmt: skip


@pytest.mark.parametrize("first, later, shape", LATER)
def test_later_rows_of_another_shape_are_left_out_and_counted(bring, first, later, shape):
    info = bring([first] * (PEEK_ROWS + 5) + [later] * 7 + [first])
    assert info.other_shapes == {shape: 7} == {shape: info.reasons["other_shape"]}
    assert info.unused == {}
    assert (info.kept, info.dropped, info.dropped_rows()[0]["row"]) == (PEEK_ROWS + 6, 7, PEEK_ROWS + 6)


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


@pytest.mark.parametrize("lang, word", [("en", "OpenAI messages (7 rows)"), ("zh-CN", "7 行")])
def test_the_command_says_it_too(home, tmp_path, capsys, lang, word):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, [ALPACA] * 120 + [OPENAI] * 7)))
    assert main(["dataset", "check", str(file), "--lang", lang]) == 0
    said = capsys.readouterr().out
    assert word in said and "121" in said and "127" in said
    main(["dataset", "check", str(file), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["read"] == told["kept"] + told["dropped"] == 127 and told["other_shapes"] == {"openai": 7}
