"""Rows as people write them, and what they become; each way a row can be wrong has its reason."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.datasets.shapes.formats import normalise, recognise
from studio.datasets.source import RowError
from studio.datasets.values import Number
from studio.datasets.words import reason_text
from studio.i18n import LANGUAGES

ALPACA = {"instruction": "Name the town.", "input": "It lies by the sea.", "output": "Arlen."}
SHAREGPT = {"conversations": [{"from": "human", "value": "Name?"}, {"from": "gpt", "value": "Arlen."}]}
OPENAI = {"messages": [{"role": "user", "content": "Name?"}, {"role": "assistant", "content": "Arlen."}]}
PAIR = [{"role": "user", "content": "Name?"}, {"role": "assistant", "content": "Arlen."}]


def messages(shape, row):
    content, _ = normalise(shape, row)
    return content["messages"]


@pytest.mark.parametrize(
    "row, shape",
    [
        (ALPACA, "alpaca"),
        (SHAREGPT, "sharegpt"),
        (OPENAI, "openai"),
        ({"text": "x"}, "text"),
        ({"Prompt": "x", "Response": "y"}, "alpaca"),
        ({"question": "x", "answer": "y", "id": 1}, "alpaca"),
        ({"input": "x", "output": "y"}, "alpaca"),
        ({"指令": "x", "输出": "y"}, "alpaca"),
        ({"conversation": []}, "sharegpt"),
        ({"text": "x", "messages": []}, "openai"),
        ({"instruction": "x"}, None),
        ({"a": 1}, None),
        ({}, None),
    ],
)
def test_shapes_are_recognised_by_their_columns(row, shape):
    assert recognise(row) == shape


def test_alpaca_joins_input_to_the_instruction():
    user, assistant = messages("alpaca", ALPACA)
    assert user == {"role": "user", "content": "Name the town.\n\nIt lies by the sea."}
    assert assistant == {"role": "assistant", "content": "Arlen."}
    assert messages("alpaca", {**ALPACA, "input": ""})[0]["content"] == "Name the town."
    assert messages("alpaca", {**ALPACA, "input": None})[0]["content"] == "Name the town."
    assert messages("alpaca", {"input": "Name?", "output": "Arlen."}) == PAIR


def test_alpaca_system_and_history_come_first():
    row = {**ALPACA, "input": "", "system": "Be brief.", "history": [["Hi", "Hello"]]}
    assert [m["role"] for m in messages("alpaca", row)] == ["system", "user", "assistant", "user", "assistant"]
    assert [m["content"] for m in messages("alpaca", row)] == ["Be brief.", "Hi", "Hello", "Name the town.", "Arlen."]


@pytest.mark.parametrize("turns", [SHAREGPT["conversations"], OPENAI["messages"]])
@pytest.mark.parametrize("shape, column", [("sharegpt", "conversations"), ("openai", "messages")])
def test_both_ways_of_writing_turns_are_read_under_both_names(turns, shape, column):
    assert messages(shape, {column: turns}) == PAIR
    assert messages(shape, {column: json.dumps(turns)}) == PAIR


def test_text_parts_are_joined_and_a_system_column_is_put_first():
    parts = [{"type": "text", "text": "Name"}, {"type": "text", "text": "please"}]
    row = {"messages": [{"role": "user", "content": parts}, PAIR[1]], "system": "Be brief."}
    assert [m["content"] for m in messages("openai", row)] == ["Be brief.", "Name\nplease", "Arlen."]


def test_a_last_turn_without_an_answer_is_cut_and_counted_as_changed():
    content, changed = normalise("openai", {"messages": [*PAIR, {"role": "user", "content": "And?"}]})
    assert content["messages"] == PAIR and changed


@pytest.mark.parametrize(
    "value, clean",
    [
        ("a\r\nb", "a\nb"),
        ("a\x00b", "ab"),
        ("\ufeffa", "a"),
        ("a\ud800b", "a\ufffdb"),
        ("\n \n  a \n\n", "  a "),
        (42, "42"),
        (True, "true"),
        ({"a": 1, "b": None}, '{"a": 1, "b": null}'),
    ],
)
def test_text_is_cleaned_and_that_is_counted(value, clean):
    content, changed = normalise("alpaca", {"instruction": "q", "output": value})
    assert content["messages"][1]["content"] == clean and changed


def test_plain_text_keeps_its_blanks():
    assert normalise("text", {"text": "  def f():\n\tpass\n"}) == ({"text": "  def f():\n\tpass\n"}, False)


@given(st.text(), st.text())
def test_any_text_becomes_clean_utf8_or_is_refused_as_empty(question, answer):
    try:
        content, changed = normalise("alpaca", {"instruction": question, "output": answer})
    except RowError as error:
        assert error.reason == "empty"
        return
    texts = [m["content"] for m in content["messages"]]
    assert changed == (texts != [question, answer])
    assert normalise("openai", content) == (content, False)
    json.dumps(content, ensure_ascii=False).encode("utf-8")


BAD = [
    ("alpaca", [1], "not_object"),
    ("alpaca", "text", "not_object"),
    ("alpaca", {"instruction": "x"}, "missing"),
    ("alpaca", {"instruction": "x", "output": " "}, "empty"),
    ("alpaca", {"instruction": None, "output": "x"}, "empty"),
    ("alpaca", {"instruction": "x", "output": float("nan")}, "empty"),
    ("alpaca", {"instruction": "x", "output": b"\xff"}, "bytes"),
    ("alpaca", {"instruction": "x", "output": object()}, "type"),
    ("alpaca", {"instruction": "x", "output": Number("1" * 5000)}, "number"),
    ("alpaca", {"instruction": "x", "output": "y", "images": ["a.jpg"]}, "images"),
    ("alpaca", {"instruction": "x", "output": "y", "tools": "see below"}, "tool"),
    ("alpaca", {"instruction": "x", "output": "y", "history": [["a"]]}, "type"),
    ("sharegpt", {"conversations": "no json"}, "type"),
    ("sharegpt", {"conversations": ["hello"]}, "type"),
    ("sharegpt", {"conversations": [{"from": "critic", "value": "x"}]}, "role"),
    ("sharegpt", {"conversations": [{"value": "x"}]}, "no_role"),
    ("sharegpt", {"conversations": "[{'from': 'human', 'value': 'x'}]"}, "python_repr"),
    ("sharegpt", {"conversations": [{"from": "function_call", "value": "{}"}]}, "call"),
    ("openai", {"messages": [{**PAIR[1], "weight": 0.5}]}, "weight"),
    (
        "openai",
        {"messages": [{**PAIR[1], "tool_calls": [{"function": {"name": "f", "arguments": "no json"}}]}]},
        "arguments",
    ),
    ("unpaired", {**OPENAI, "label": None}, "empty"),
    ("unpaired", {**OPENAI, "label": "perhaps"}, "verdict"),
    ("sharegpt", {"conversations": [{"from": "human", "value": "x"}]}, "no_answer"),
    ("sharegpt", {"conversations": []}, "no_answer"),
    ("openai", {"messages": None}, "type"),
    ("openai", {"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, "call"),
    ("openai", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "images"),
    ("openai", {"messages": [{"role": "user", "content": ["a", "b"]}]}, "not_text"),
    ("openai", {"messages": [PAIR[0], {"role": "assistant", "content": ""}]}, "empty"),
    ("text", {"text": ""}, "empty"),
    ("text", {"other": "x"}, "missing"),
]


@pytest.mark.parametrize("shape, row, reason", BAD)
def test_each_bad_row_has_its_reason_in_both_languages(shape, row, reason):
    with pytest.raises(RowError) as caught:
        normalise(shape, row)
    assert caught.value.reason == reason
    for lang in LANGUAGES:
        sentence = reason_text(lang, {"reason": reason, "params": caught.value.params})
        assert sentence and not re.search(r"\{\w+\}", sentence)
