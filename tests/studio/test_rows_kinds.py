"""More rows of each kind that people bring: what is read of them, and what is refused by its true reason."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal

import pytest

from estimator.core.problems import Problem
from studio.datasets.forms import for_task
from studio.datasets.ingest import ingest, run
from studio.datasets.store import DatasetStore
from studio.space import Space

Q, A = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
BAD = {"role": "assistant", "content": "bad"}
CALL = {"type": "function", "function": {"name": "w", "arguments": {"c": 1}}}
TOOL = {"type": "function", "function": {"name": "w"}}
WRITTEN = json.dumps({"name": "w", "arguments": {"c": 1}})


@pytest.fixture
def bring(home, tmp_path):
    """Ingest a file of that name: `(info, rows as plain training takes them, without their numbers)`."""

    def bring(name, data):
        (tmp_path / name).write_text(data, encoding="utf-8")
        info = run(ingest(DatasetStore(Space.default().datasets, Space.default().trash), tmp_path / name, eval_share=0))
        trained = [one for row in info.rows("train") if (one := for_task(row, "CAUSAL_LM"))]
        return info, [{key: value for key, value in row.items() if key != "row"} for row in trained]

    return bring


def lines(*rows):
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


def pair(question, answer, **more):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]}


QA = {"messages": [Q, A]}
READ = {
    "words that mean missing are text": ([{"question": "q", "answer": "nan"},
        {"question": "q", "input": "None", "answer": "NA"}], [pair("q", "nan"), pair("q\n\nNone", "NA")]),
    "a system turn without words is none": (['{"messages": [{"role": "system", "content": NaN}, {"role": "user", '
    '"content": "q"}, {"role": "assistant", "content": "a"}]}'], [QA]),
    "numbers as written": (['{"question": "q", "answer": 100.10}', '{"question": "q", "answer": 1E5}',
        '{"question": "q", "answer": [12345678901234567890, 0.30]}'],
        [pair("q", "100.10"), pair("q", "1E5"), pair("q", "[12345678901234567890, 0.30]")]),
    "article and highlights": ([{"article": "q", "highlights": "a"}], [QA]),
    "text and response": ([{"text": "q", "response": "a"}], [QA]),
    "chosen text": ([{"prompt": "q", "chosen": "a", "rejected": "bad"}], [QA]),
    "chosen messages after a prompt of messages": ([{"prompt": [Q], "chosen": [A], "rejected": [BAD]}], [QA]),
    "OpenAI's preference": ([{"input": {"messages": [Q], "tools": [TOOL]}, "preferred_output": [A],
        "non_preferred_output": [BAD]}], [{**QA, "tools": [TOOL]}]),
    "messages beside rejected messages": ([{"messages": [Q, A], "rejected_messages": [Q, BAD]}], [QA]),
    "kto_tag": ([{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": True},
        {**pair("q", "bad"), "conversations": [Q, BAD], "kto_tag": False}], [QA]),
    "TRL's unpaired": ([{"prompt": [Q], "completion": [BAD], "label": "false"},
        {"prompt": [Q], "completion": [A], "label": "true"}], [QA]),
    "a label that is a class": ([{"question": "q", "answer": "a", "label": 1},
        {"question": "q", "answer": "a", "label": 2}], [QA, QA]),
    "the prompt of a completion is read": ([{"prompt": [Q, A, Q], "completion": [A]}],
        [{"messages": [Q, {**A, "trained": False}, Q, A]}]),
    "flags": ([{"messages": [{**Q, "weight": 0.0}, {**A, "masked": True}, Q, {**A, "trainable": True, "loss": None}]}],
        [{"messages": [{**Q, "trained": False}, {**A, "trained": False}, Q, A]}]),
    "reasoning in a column": ([{"question": "q", "reasoning": "because", "answer": "a"}],
        [pair("q", "a", reasoning_content="because")]),
    "calls in ShareGPT's words": ([{"conversations": [{"from": "human", "value": "q"},
        {"from": "function_call", "value": WRITTEN}, {"from": "observation", "value": "4"},
        {"from": "gpt", "value": "a"}], "tools": json.dumps([TOOL["function"]])}],
        [{"messages": [Q, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "4"},
            A], "tools": [TOOL]}]),
    "calls in parallel": ([{"messages": [Q, {"role": "tool_call", "content": WRITTEN},
        {"role": "tool_call", "content": WRITTEN}, {"role": "tool_response", "content": {"t": 4}}, A]}],
        [{"messages": [Q, {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
            {"role": "tool", "content": '{"t": 4}'}, A]}]),
    "OpenAI's old call": ([{"messages": [Q, {"role": "assistant", "content": None,
        "function_call": {"name": "w", "arguments": '{"c": 1}'}}, {"role": "function", "name": "w", "content": "4"}, A],
        "functions": [{"name": "w"}]}], [{"messages": [Q, {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "4", "name": "w"}, A], "tools": [TOOL]}]),
    "a label of words or decimals": (['{"prompt": "q", "completion": "a", "label": 1.0}', '{"prompt": "q", '
    '"completion": "bad", "label": 0.0}'], [QA]),
    "a mark that the first row has not": ([{**QA, "label": None}, {"messages": [Q, BAD], "label": False},
        {**QA, "label": True}], [QA]),
    "is_chosen": ([{"prompt": "q", "response": "bad", "is_chosen": False},
        {"prompt": "q", "response": "a", "is_chosen": True}], [QA]),
    "content and abstract": ([{"content": "q", "abstract": "a"}], [QA]),
    "XTuner's turns": ([{"conversation": [{"system": "s", "input": "q", "output": "a"},
        {"input": "q", "output": "a"}]}], [{"messages": [{"role": "system", "content": "s"}, Q, A, Q, A]}]),
    "pairs as turns": ([{"conversation": [{"human": "q", "assistant": "a"}, {"human": "q", "assistant": "a"}]}],
        [{"messages": [Q, A, Q, A]}]),
    "messages by conversation": ([{"conversation_id": "x", **Q}, {"conversation_id": "y", **Q},
        {"conversation_id": "x", **A}], [QA]),
    "a tree trains each answer once": ([{"id": 1, "parent_id": None, "role": "prompter", "text": "q"},
        {"id": 2, "parent_id": 1, "role": "assistant", "text": "a"}, {"id": 3, "parent_id": 2, **Q},
        {"id": 4, "parent_id": 3, **A}, {"id": 5, "parent_id": 3, **A}],
        [{"messages": [Q, A, Q, A]}, {"messages": [Q, {**A, "trained": False}, Q, A]}]),
    "JSON text as an answer stays text": ([{"question": "q", "answer": '[{"role": "x"}]'}],
        [pair("q", '[{"role": "x"}]')]),
    "code": ([{"prompt": "\n \n  if x:\n", "completion": "\n\tpass  \n\n"}], [pair("  if x:", "\tpass  ")]),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_rows_of_this_kind_are_read(bring, kind):
    rows, expected = READ[kind]
    assert bring("rows.jsonl", lines(*rows))[1] == expected


FILES = {
    "train.json": {"train": [{"question": "q", "answer": "a"}], "info": [{"x": 1}]},
    "nested.json": {"data": {"rows": [{"question": "q", "answer": "a"}]}},
    "lists.json": {"question": ["q"], "answer": ["a"]},
    "split.json": {"columns": ["question", "answer"], "index": [0], "data": [["q", "a"]]},
    "index.json": {"0": {"question": "q", "answer": "a"}},
    "table.json": {"schema": {"fields": []}, "data": [{"index": 0, "question": "q", "answer": "a"}]},
    "one.json": {"messages": [Q, A]},
    "column.json": {"messages": [[Q, A]]},
    "line.jsonl": {"data": [{"question": "q", "answer": "a"}]},
}


@pytest.mark.parametrize("name", FILES)
def test_one_object_that_holds_the_rows_is_unfolded(bring, name):
    assert bring(name, json.dumps(FILES[name]))[1] == [QA]


def test_half_characters_in_names_and_values_are_replaced_everywhere(bring):
    """JSON may hold them, escaped; nothing that is written, sent or shown may."""
    half = r'"\ud800"'
    tool = f'{{"name": "w", "arguments": {{{half}: {half}}}, "id": {half}}}'
    messages = f'[{{"role": "user", "content": {half}, {half}: 1}}, {{"role": "assistant", "tool_calls": [{tool}]}}]'
    bad = f'{{{half}: 1, "messages": [{{"role": {half}, "content": "x"}}]}}'
    info, rows = bring("rows.jsonl", f'{{"messages": {messages}, {half}: 2}}\n{bad}')
    assert rows[0]["messages"][0]["content"] == "\ufffd" and info.dropped == 1
    assert info.unused == {"\ufffd": 2, "messages.\ufffd": 1}
    json.dumps([rows, info.dropped_rows(), info.unused], ensure_ascii=False).encode()
    with pytest.raises(Problem) as caught:
        bring("none.jsonl", f"{{{half}: 1}}")
    str(caught.value).encode()


def test_excels_line_with_the_separator_is_no_header(bring):
    info, rows = bring("rows.csv", "sep=;\nquestion;answer;#\nq;a;007\n")
    assert rows == [QA] and info.unused == {"#": 1}
    assert bring("empty.csv", "question,answer,,\nq,a,,\n")[0].unused == {}


DROPPED = [
    (['{"question": "q", "question": "r", "answer": "a"}', {"question": "q", "answer": "a"}], "doubled"),
    (['{"question": "q", "answer": {"n": ' + "1" * 5000 + "}}", {"question": "q", "answer": "a"}], "number"),
    ([{"image": "a.jpg", **QA}, QA], "images"),
    ([{"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, A]}, QA], "images"),
    ([{"messages": [{"who": "user", "what": "q"}]}, QA], "no_role"),
    (
        ['{"question": "q", "answer": ' + '{"a": ' * 900 + "1" + "}" * 900 + "}", {"question": "q", "answer": "a"}],
        "deep",
    ),
]


@pytest.mark.parametrize("rows, reason", DROPPED, ids=[reason for _, reason in DROPPED])
def test_a_row_that_cannot_be_used_is_dropped_by_its_reason(bring, rows, reason):
    info, kept = bring("rows.jsonl", lines(*rows))
    assert kept == [QA] and [(one["row"], one["reason"]) for one in info.dropped_rows()] == [(1, reason)]


REFUSED = [
    (
        "a.jsonl",
        lines({"instruction": "q", "response_a": "x", "response_b": "y", "preferred": "a"}),
        "dataset.missing_column",
    ),
    ("a.jsonl", lines({"translation": {"en": "hello"}}), "dataset.unknown_columns"),
    ("a.csv", "1,2\n3,4\n", "dataset.no_header"),
    ("a.jsonl.gz", "{", "dataset.broken_json"),
]


@pytest.mark.parametrize("name, data, code", REFUSED)
def test_what_is_not_plain_is_asked_for(bring, name, data, code):
    with pytest.raises(Problem) as caught:
        bring(name, data)
    assert caught.value.code == code


def test_cells_of_a_table_are_read_by_their_type(home, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    moment = datetime.datetime(2020, 1, 2, 3, 4, 5)
    answers = [
        (pa.array([0.1, float("nan")], pa.float32()), "0.1"),
        (pa.array([moment, None], pa.timestamp("ns")), "2020-01-02 03:04:05"),
        (pa.array([Decimal("12.50"), None]), "12.50"),
        (pa.array([{"name": "Lena", "age": 31}, None]), '{"name": "Lena", "age": 31}'),
        (pa.array([b"bytes", None]), "bytes"),
        (pa.array([True, None]), "true"),
        (pa.array([1.5, None]).dictionary_encode(), "1.5"),
    ]
    image = pa.array([{"bytes": b"\xff"}, None])
    store = DatasetStore(Space.default().datasets, Space.default().trash)
    for column, expected in answers:
        table = pa.table({"question": ["q", "q"], "answer": column, "picture": image, "embedding": [[0.1], []]})
        parquet.write_table(table, tmp_path / "rows.parquet")
        info = run(ingest(store, tmp_path / "rows.parquet", eval_share=0))
        (row,) = info.rows("train")
        assert row["messages"][1]["content"] == expected and info.reasons == {"empty": 1}
        assert info.unused == {"picture": 1, "embedding": 1}
