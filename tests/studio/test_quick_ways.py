"""What is read a quick way is what the usual way reads, type by type; and the usual rows do go the quick way."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from studio.datasets.files.quick_json import quick
from studio.datasets.shapes import formats
from studio.datasets.source import RowError
from studio.datasets.values import DECODER

TEXT = st.text(max_size=8) | st.sampled_from(
    ["", " a", "a\n", "\n\n  x", 'say "no"', "back\\slash", '\\"', "\x00", "你好", "[1]", "{'a': 1}", "\ufeffx", "é",
     '[{"role": "user", "content": "x"}]']
)  # fmt: skip
LEAF = TEXT | st.none() | st.booleans() | st.integers() | st.floats()
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
TURN = st.dictionaries(
    st.sampled_from(["role", "content", "from", "value", "weight", "name"]),
    st.sampled_from(["user", "assistant", "human", "gpt", "system", "tool", "User"]) | TEXT | st.none(), max_size=3,
)  # fmt: skip
TURNS = st.lists(TURN | st.builds(lambda role, text: {"role": role, "content": text},
                                  st.sampled_from(["user", "assistant", "system"]), TEXT), max_size=4)  # fmt: skip
ROW = st.one_of(
    st.builds(
        lambda name, turns: {name: turns}, st.sampled_from(["messages", "conversations", "消息", "Messages"]), TURNS
    ),
    st.dictionaries(
        st.sampled_from(["instruction", "input", "output", "id", "system", "history"]), TEXT | st.none(), max_size=4
    ),
    st.dictionaries(st.sampled_from(["messages", "conversations", "tools", "output"]), TURNS | TEXT, max_size=3),
)


def typed(value):
    """With the types of its parts, which `==` does not see."""
    if isinstance(value, dict):
        return type(value).__name__, [(typed(key), typed(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return "list", [typed(inner) for inner in value]
    return type(value).__name__, value


def usual(line):
    try:
        return typed(DECODER.decode(line.strip()))
    except (ValueError, RecursionError):
        return None


@given(st.dictionaries(TEXT, JSON, max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_quick_value_is_the_usual_one(value, ascii_only):
    line = json.dumps(value, ensure_ascii=ascii_only) + "\n"
    found = quick(line)
    assert found is None or typed(found) == usual(line)


PIECES = [
    '{"', '"', ":", ", ", '"a"', '"a": "b"', "}", "{", "[", "]", "\\", "\\\\", '\\"', "1", "\\ud83d", "null",
    "NaN", "true", " ", "\t", '"\n"', "é", "\\u0041",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12))
@settings(max_examples=500, deadline=None)
@example(['{"a": "b", ', '"a": "c"}'])
@example(['{"a": "b", ', '"\\u0061": "c"}'])
@example(['{"a": 1, ', '"a": "c"}'])
@example(['{"a": {"x": 1}, ', '"a": "c"}'])
@example(['{"a": "\\\\", "b": "\\""}'])
def test_pieces_of_json_are_read_as_usual_or_not_at_all(pieces):
    line = "".join(pieces)
    found = quick(line)
    assert found is None or typed(found) == usual(line)


CLOSER = [
    '{"id": 100.10, "a": "b"}', '{"a": "b", "a": "c"}', '{"a": "\\ud83d"}', '{"a": NaN}', "[1]", '{"a": 007}',
    '{"a": "\n"}',
    '{"n": 123456789012345678901234567890}', "{" * 2000, '{"a":' * 1100 + '""' + "}" * 1100,
]  # fmt: skip


@pytest.mark.parametrize("line", CLOSER, ids=lambda line: line[:20])
def test_what_needs_a_closer_look_is_not_read_quickly(line):
    assert quick(line) is None


@pytest.mark.parametrize(
    "line", ['{"messages": [{"role": "user", "content": "say \\"no\\" \\\\"}]}', '{"a": null, "b": [true, "x"]}']
)
def test_what_is_text_is_read_quickly(line):
    assert quick(line) == json.loads(line)


def read(shape, row):
    unused = set()
    try:
        return typed(formats.normalise(shape, row, None, unused)), unused
    except RowError as error:
        return error.reason, error.params, unused


@given(ROW, st.sampled_from(["openai", "sharegpt", "alpaca"]))
@settings(max_examples=600, deadline=None)
def test_a_plain_row_is_read_as_its_shape_reads_it(row, shape):
    if formats.recognise(row) != shape:
        return
    found = read(shape, row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "SHAPES", {name: _slow(one) for name, one in formats.SHAPES.items()})
        assert found == read(shape, row)


def _slow(shape):
    import dataclasses

    return dataclasses.replace(shape, plain=None)


@pytest.mark.parametrize("shape, row", [
    ("openai", {"messages": [{"role": "system", "content": "s"}, {"role": "assistant", "content": "b"}]}),
    ("sharegpt", {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}),
    ("alpaca", {"instruction": "a", "input": "", "output": "b"}),
    ("alpaca", {"instruction": "a", "output": "b"}),
])  # fmt: skip
def test_the_usual_rows_are_plain(shape, row):
    assert formats.SHAPES[shape].plain(row) is not None
