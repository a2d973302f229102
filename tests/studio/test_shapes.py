"""Each shape: what it is told by, what becomes of its rows, and that nothing of them is lost unsaid."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.datasets.forms import FORMS, for_task, form_of
from studio.datasets.ingest import ingest, run
from studio.datasets.shapes.columns import COLUMNS
from studio.datasets.shapes.formats import SHAPES, alternatives, columns_read, normalise, recognise
from studio.datasets.source import RowError
from studio.datasets.store import DatasetStore
from studio.datasets.values import is_blank
from studio.datasets.words import PARTS, reason_text
from studio.i18n import LANGUAGES, strings

U, A, BAD = ({"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a"), ("assistant", "no")))
PAIR = {"prompt": [U], "chosen": [A], "rejected": [BAD]}
SQUAD = {"question": "When?", "context": "The mill was built in 1820."}
SPAN = {**SQUAD, "answers": {"text": ["1820"], "answer_start": [22]}}
READ = {
    "LLaMA-Factory's pairs": ({"conversations": [{"from": "human", "value": "q"}],
        "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "no"}}, "preference", PAIR),
    "TRL's explicit prompt": ({"prompt": "q", "chosen": "a", "rejected": "no"}, "preference", PAIR),
    "TRL's explicit prompt as messages": ({"prompt": [U], "chosen": [A], "rejected": [BAD]}, "preference", PAIR),
    "TRL's implicit prompt": ({"chosen": [U, A], "rejected": [U, BAD]}, "preference", PAIR),
    "an implicit prompt beside a text": ({"prompt": "q", "chosen": [U, A], "rejected": [U, BAD]}, "preference", PAIR),
    "one answer whole, one alone": ({"prompt": "q", "chosen": [U, A], "rejected": "no"}, "preference", PAIR),
    "one answer alone, one whole": ({"prompt": "q", "chosen": "a", "rejected": [U, BAD]}, "preference", PAIR),
    "the prompt of several turns": ({"chosen": [U, A, U, A], "rejected": [U, A, U, BAD]}, "preference",
        {"prompt": [U, A, U], "chosen": [A], "rejected": [BAD]}),
    "answers of several turns": ({"chosen": [U, A, U, A], "rejected": [U, BAD]}, "preference",
        {"prompt": [U], "chosen": [A, U, A], "rejected": [BAD]}),
    "a system column": ({"system": "s", "chosen": [U, A], "rejected": [U, BAD]}, "preference",
        {**PAIR, "prompt": [{"role": "system", "content": "s"}, U]}),
    "whole texts": ({"chosen": "H: q\nA: a", "rejected": "H: q\nA: no"}, "preference",
        {"prompt": [], "chosen": "H: q\nA: a", "rejected": "H: q\nA: no"}),
    "nothing in common": ({"chosen": [U, A], "rejected": [{**U, "content": "r"}, BAD]}, "preference",
        {"prompt": [], "chosen": [U, A], "rejected": [{**U, "content": "r"}, BAD]}),
    "OpenAI's pairs": ({"input": {"messages": [U]}, "preferred_output": [A], "non_preferred_output": [BAD]},
        "preference", PAIR),
    "ms-swift's": ({"messages": [U, A], "rejected_response": "no"}, "preference", PAIR),
    "ms-swift's messages": ({"messages": [U, A], "rejected_messages": [U, BAD]}, "preference", PAIR),
    "a pair without a rejected answer": ({"prompt": "q", "chosen": "a", "rejected": ""}, "preference",
        {"messages": [U, A]}),
    "a good answer": ({"prompt": "q", "completion": "a", "label": True}, "unpaired",
        {"prompt": [U], "completion": [A], "label": True}),
    "a bad answer": ({"messages": [U, A, U, BAD], "kto_tag": "false"}, "unpaired",
        {"prompt": [U, A, U], "completion": [BAD], "label": False}),
    "a class": ({"text": "t", "label": "spam"}, "labelled", {"text": "t", "label": "spam"}),
    "a number of a CSV": ({"sentence": "t", "label": "3"}, "labelled", {"text": "t", "label": 3}),
    "a score as label": ({"text": "t", "label": 0.5}, "labelled", {"text": "t", "label": 0.5}),
    "several labels": ({"text": "t", "labels": ["a", "b"]}, "labelled", {"text": "t", "label": ["a", "b"]}),
    "none of several labels": ({"text": "t", "labels": '["x"]'}, "labelled", {"text": "t", "label": ["x"]}),
    "a pair of texts": ({"premise": "p", "hypothesis": "h", "label": 0}, "labelled",
        {"text": "p", "text_pair": "h", "label": 0}),
    "words and numbers": ({"tokens": ["a", " "], "ner_tags": [0, 3]}, "tags", {"tokens": ["a", " "], "tags": [0, 3]}),
    "words and tags as JSON": ({"words": '["a"]', "labels": '["B-X"]'}, "tags", {"tokens": ["a"], "tags": ["B-X"]}),
    "SQuAD": (SPAN, "span", SPAN),
    "answers as objects": ({**SQUAD, "answers": [{"text": "1820", "answer_start": 22}]}, "span", SPAN),
    "an answer and its place": ({**SQUAD, "answer": "1820", "answer_start": "22"}, "span", SPAN),
    "answers without a place": ({**SQUAD, "answers": {"text": ["1820"]}}, "span", SPAN),
    "no answer": ({**SQUAD, "answers": {"text": [], "answer_start": []}}, "span",
        {**SQUAD, "answers": {"text": [], "answer_start": []}}),
    "debris before an answer": ({**SPAN, "context": "\x00The mill\r was built in 1820.",
        "answers": {"text": ["1820"], "answer_start": [24]}}, "span",
        {**SPAN, "context": "The mill\n was built in 1820.", "answers": {"text": ["1820"], "answer_start": [23]}}),
    "triplets": ({"anchor": "a", "positive": "b", "negative": "c"}, "pairs",
        {"anchor": "a", "positive": "b", "negatives": ["c"]}),
    "numbered negatives": ({"query": "a", "positive": "b", "negative_1": "c", "negative_2": "d"}, "pairs",
        {"anchor": "a", "positive": "b", "negatives": ["c", "d"]}),
    "FlagEmbedding's": ({"query": "a", "pos": ["b", "c"], "neg": ["d"]}, "pairs",
        {"anchor": "a", "positive": ["b", "c"], "negatives": ["d"]}),
    "scores": ({"sentence1": "a", "sentence2": "b", "score": "0.5"}, "pairs",
        {"anchor": "a", "positive": "b", "score": 0.5}),
    "a translation": ({"translation": {"en": "a", "zh": "b"}}, "seq2seq", {"source": "a", "target": "b"}),
    "source and target": ({"source": "a", "target": "b"}, "seq2seq", {"source": "a", "target": "b"}),
    "a context without a place": ({**SQUAD, "answer": "In 1820."}, "alpaca",
        {"messages": [{"role": "user", "content": "When?\n\nThe mill was built in 1820."},
            {"role": "assistant", "content": "In 1820."}]}),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_rows_of_this_kind_become_this(kind):
    row, shape, expected = READ[kind]
    unused: set[str] = set()
    assert recognise(row) == shape and alternatives(row)[0] == shape
    content, _ = normalise(shape, row, None, unused)
    assert form_of(content) in (SHAPES[shape].form, "chat", "text") and not unused
    assert content == expected
    assert content == json.loads(json.dumps(content, ensure_ascii=False))


BAD_ROWS = [
    ("span", {**SQUAD, "answers": {"text": ["1820"], "answer_start": [4]}}, "other_span", "mill"),
    ("span", {**SQUAD, "answers": {"text": ["1999"]}}, "no_such_span", "1999"),
    ("span", {**SQUAD, "answers": {"text": ["1820"], "answer_start": [1, 2]}}, "uneven_answers", "2"),
    ("span", {**SQUAD, "answers": {"text": ["1820"], "answer_start": ["x"]}}, "type", "x"),
    ("span", {**SQUAD, "answers": "{'text': ['1820'], 'answer_start': [22]}"}, "python_repr", "answers"),
    ("tags", {"tokens": ["a", "b"], "tags": ["X"]}, "uneven_tags", "2"),
    ("tags", {"tokens": ["a"], "tags": [1.5]}, "type", "tags"),
    ("tags", {"tokens": [], "tags": []}, "empty", "tokens"),
    ("labelled", {"text": "t", "label": ""}, "empty", "label"),
    ("labelled", {"text": "t", "label": {"a": 1}}, "type", "label"),
    ("pairs", {"sentence1": "a", "sentence2": "b", "score": "much"}, "type", "score"),
    ("pairs", {"anchor": "a", "positive": ""}, "empty", "positive"),
    ("seq2seq", {"source": "a", "target": ""}, "empty", "target"),
    ("preference", {"prompt": "q", "chosen": "", "rejected": "no"}, "empty", "chosen"),
    ("preference", {"prompt": "q", "chosen": "a", "rejected": [U]}, "no_answer", ""),
]  # fmt: skip


@pytest.mark.parametrize("shape, row, reason, word", BAD_ROWS)
def test_a_row_that_cannot_be_used_says_why(shape, row, reason, word):
    with pytest.raises(RowError) as caught:
        normalise(shape, row)
    assert caught.value.reason == reason
    for lang in LANGUAGES:
        sentence = reason_text(lang, {"reason": reason, "params": caught.value.params})
        assert word in sentence and "{" not in sentence.replace("{'", "")


def test_every_shape_has_its_words_and_parts_that_are_named():
    for lang in LANGUAGES:
        said = strings(lang)
        for name, shape in SHAPES.items():
            assert shape.form in FORMS and set(shape.parts) <= set(COLUMNS)
            assert {f"dataset.shape_{name}", f"dataset.why_{name}"} <= set(said), name
            assert all(f"dataset.part_{part}" in said for part in (*shape.parts, *PARTS)), name


def test_of_several_shapes_that_a_row_could_have_the_rule_says_which():
    assert alternatives({"text": "t", "label": 1}) == ["labelled", "text"]
    assert alternatives({**SPAN, "answer": "1820"}) == ["span", "alpaca"]
    assert alternatives({"instruction": "q", "output": "a", "label": True})[0] == "unpaired"
    assert alternatives({"messages": [U, A], "text": "q a"}) == ["openai", "text"]


def test_translations_go_one_way_whatever_the_order_of_an_object(tmp_path):
    rows = [
        {"translation": {"en": "a", "zh": "b"}},
        {"translation": {"zh": "d", "en": "c"}},
        {"translation": {"en": "e"}},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    info = run(ingest(DatasetStore(tmp_path / "datasets"), tmp_path / "rows.jsonl", eval_share=0))
    assert [(row["source"], row["target"]) for row in info.rows()] == [("a", "b"), ("c", "d")]
    assert info.columns == {"from": "translation.en", "to": "translation.zh"} and info.dropped == 1
    assert info.unused == {} and info.tasks["SEQ_2_SEQ_LM"] == 2


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8).filter(str.strip)
TURNS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3)


def messages_of(system, turns, flags):
    made = [{"role": "system", "content": system}] if system else []
    for (asked, said), flag in zip(turns, flags, strict=False):
        made += [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": said} | ({} if flag else {"trained": False}),
        ]
    return made


@settings(max_examples=60, deadline=None)
@given(st.none() | TEXT, TURNS, st.lists(st.booleans(), min_size=3, max_size=3))
def test_what_a_chat_shape_reads_and_writes_back_it_reads_again(system, turns, flags):
    """OpenAI with weights, ShareGPT with a system column, Alpaca with history."""
    row = {"messages": messages_of(system, turns, flags)}
    weights = [{"weight": 0} if "trained" in one else {} for one in row["messages"]]
    plain = [{key: one[key] for key in ("role", "content")} for one in row["messages"]]
    openai = [one | weight for one, weight in zip(plain, weights, strict=True)]
    assert normalise("openai", {"messages": openai})[0] == row
    names = {"user": "human", "assistant": "gpt"}
    talk = [{"from": names[one["role"]], "value": one["content"], "train": "trained" not in one}
            for one in row["messages"] if one["role"] != "system"]  # fmt: skip
    assert normalise("sharegpt", {"conversations": talk, "system": system})[0] == row
    alpaca = {"instruction": turns[-1][0], "output": turns[-1][1], "history": [list(one) for one in turns[:-1]]}
    plain = {"messages": messages_of(system, turns, [True] * 3)}
    assert normalise("alpaca", {**alpaca, "system": system})[0] == plain
    assert normalise("openai", normalise("openai", plain)[0])[0] == plain


NAMES = st.sampled_from(sorted({name for names in COLUMNS.values() for name in names}) + ["note", "Text ", "a.b"])
CELLS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4)
    | st.sampled_from([[U, A], {"text": ["a"], "answer_start": [0]}, '["a"]', "[{'a': 1}]", b"\xff", {"en": "a"}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "text"]), inner),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, CELLS, max_size=6), st.sampled_from(sorted(SHAPES)))
def test_any_row_is_recognised_or_not_and_all_its_columns_are_used_or_named(row, other):
    shape = recognise(row)
    assert shape in (*SHAPES, "message", None)
    for name in {shape, other} - {"message", None}:
        unused: set[str] = set()
        try:
            content, _ = normalise(name, row, None, unused)
        except RowError as error:
            assert all(reason_text(lang, {"reason": error.reason, "params": error.params}) for lang in LANGUAGES)
            continue
        form_of(content)
        for_task(content, "CAUSAL_LM")
        used = {column.split(".")[0] for column in columns_read(name, row).values()}
        named = {column.split(".")[0] for column in unused}
        media = {column for column in row if column.strip().lower() in COLUMNS["media"]}
        negatives = {column for column in row if column.strip().lower().startswith("neg")}
        there = {column for column, value in row.items() if not is_blank(value)}
        assert {column.split(".")[0] for column in there - media - negatives} <= used | named
