"""A row that is as plain as most is read as its shape reads it, type by type; and the usual rows are such."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.datasets.shapes import formats
from studio.datasets.source import RowError

TEXT = st.text(max_size=8) | st.sampled_from(
    ["", " a", "a\n", "\n\n  x", 'say "no"', "back\\slash", '\\"', "\x00", "你好", "[1]", "{'a': 1}", "\ufeffx", "é",
     '[{"role": "user", "content": "x"}]']
)  # fmt: skip
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
