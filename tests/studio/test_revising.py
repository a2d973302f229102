"""Rows looked for, and changed by hand: what is written is read as a file's row is, and each change is a version."""

from __future__ import annotations

import json

import pytest

from estimator.core.problems import Problem
from studio.datasets import sources
from studio.datasets.forms import FORMS, form_of
from studio.datasets.ingest import ingest, run
from studio.datasets.looking import look
from studio.datasets.revising import checked, decoded, revise
from studio.datasets.rows import at_places, page_places
from studio.datasets.searching import Query, found, query_of, texts
from studio.datasets.store import DatasetStore
from studio.datasets.versions import derive, mix, resplit, rows_of_mix, versions
from studio.rendering.finding import find
from tests.studio.dataset_helpers import chat

TOOL = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
ROWS = {
    "chat": chat("Hi", "Hello", system="Be kind"),
    "chat with tools": {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "", "tool_calls": [TOOL]},
            {"role": "tool", "name": "f", "content": "x"},
            {"role": "assistant", "reasoning_content": "hm", "content": "b", "trained": False},
            {"role": "assistant", "content": "c"},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    },
    "text": {"text": "  kept to the letter\n"},
    "preference": {
        "prompt": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "trained": False}],
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    },
    "preference in whole texts": {"prompt": [], "chosen": "q a", "rejected": "q b"},
    "unpaired": {
        "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
        "completion": [{"role": "assistant", "content": "a"}],
        "label": False,
    },
    "labelled": {"text": "t", "text_pair": "u", "label": 3},
    "several labels": {"text": "t", "label": ["a", "b"]},
    "tags": {"tokens": ["a", " "], "tags": [0, "X"]},
    "span": {"question": "q", "context": "in Arlen now", "answers": {"text": ["Arlen"], "answer_start": [3]}},
    "no answer": {"question": "q", "context": "c", "answers": {"text": [], "answer_start": []}},
    "pairs": {"anchor": "a", "positive": ["b", "x"], "negatives": ["c", "d"], "score": 0.5},
    "seq2seq": {"source": "a", "target": "b"},
}


@pytest.fixture
def store(home):
    return DatasetStore(home / "datasets")


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_stored_row_of_each_form_reads_as_itself(row):
    content = {key: value for key, value in row.items() if key != "row"}
    assert checked(decoded(json.dumps(content), 1), 1) == content


def test_every_form_is_among_them():
    assert {form_of(row) for row in ROWS.values()} == set(FORMS)


BAD = {
    "no object": ([1], "row_form"),
    "nothing": ({}, "row_form"),
    "of no form": ({"colour": "red"}, "row_form"),
    "no answer": ({"messages": [{"role": "user", "content": "a"}]}, "row_unfit"),
    "an unanswered question": (chat("a", "b", "c"), "row_unfit"),
    "an unknown role": ({"messages": [{"role": "king", "content": "a"}]}, "row_unfit"),
    "messages that are none": ({"messages": 7}, "row_unfit"),
    "an empty text": ({"text": " "}, "row_unfit"),
    "uneven tags": ({"tokens": ["a"], "tags": []}, "row_unfit"),
    "an answer elsewhere": ({**ROWS["span"], "context": "elsewhere"}, "row_unfit"),
    "a column nobody reads": ({"text": "a", "colour": "red"}, "row_unused"),
    "a key nobody reads": ({"messages": [{"role": "assistant", "content": "a", "mood": "good"}]}, "row_unused"),
}  # fmt: skip


@pytest.mark.parametrize("written, code", BAD.values(), ids=BAD)
def test_what_is_no_row_is_refused_in_words(written, code):
    with pytest.raises(Problem) as caught:
        checked(decoded(json.dumps(written), 4), 4)
    assert caught.value.code == f"dataset.{code}" and caught.value.params["row"] == 4 and str(caught.value)


def test_text_that_is_no_json_is_refused_with_its_place():
    with pytest.raises(Problem) as caught:
        decoded('{"text": \n oops}', 3)
    assert (caught.value.code, caught.value.params["line"]) == ("dataset.row_json", 2)


@pytest.fixture
def info(store):
    rows = [{"text": f"row {n} of Arlen" if n % 3 else f"Zeile {n}\tthere"} for n in range(20)]
    return store.add("rows", rows, shape="text", eval_share=0.2, seed=1)


def test_edit_remove_and_add_make_a_version_and_leave_the_one_before(store, info):
    held_out = {row["row"] for row in info.rows("eval")}
    made = revise(store, info.id, {0: {"text": "another"}}, [5, 19], [{"text": "new"}])
    assert [row["text"] for row in made.rows()][0] == "another" and len(made.rows()) == 19
    assert [row["row"] for row in made.rows()] == [*range(1, 6), *range(7, 20), 21]
    assert {row["row"] for row in made.rows("eval")} == held_out - {6, 20}
    assert made.changes == [{"step": "edit", "options": {}, "counts": {"edited": 1, "removed": 2, "added": 1}}]
    assert (made.parent, made.first, made.changed, made.reasons) == (info.id, info.id, 1, {"removed": 2})
    assert made.changed_places().tolist() == [0] and [one["row"] for one in made.dropped_rows()] == [6, 20]
    assert store.get(info.id) == info and [one.id for one in versions(store, made.id)] == [made.id, info.id]


@pytest.mark.parametrize("place", [-1, 20, True, "0", 1.0, None])
def test_a_row_that_is_not_there_is_refused(store, info, place):
    with pytest.raises(Problem, match="no row at place"):
        revise(store, info.id, removed=[place])
    assert len(store.list()) == 1


def test_a_cancelled_version_leaves_nothing(store, info):
    def stop():
        raise Problem("dataset.cancelled", file="rows")

    with pytest.raises(Problem):
        revise(store, info.id, removed=[1], stop=stop)
    assert [one.name for one in store.root.iterdir()] == [info.id]


def rows_found(info, **said):
    return [info.rows()[at]["row"] for at in found(info, query_of(said)).tolist()]


def test_a_text_is_found_in_any_case_and_where_it_stands(store, info):
    arlen = [row["row"] for split in ("train", "eval") for row in info.rows(split) if "Arlen" in row["text"]]
    assert rows_found(info, text="aRLEN") == arlen
    assert rows_found(info, text="row 19") == [20] and rows_found(info, text="nowhere") == []
    # `\there` in the file's JSON is a tab and `here`: who looks for `there` means the word
    assert len(rows_found(info, text="there")) == 7 and rows_found(info, text="tthere") == []
    assert rows_found(info, text="text") == [] == rows_found(info, text='": "')


def test_notation_is_not_what_rows_say_and_all_that_they_say_is_found(store):
    said = {name: store.add(name, [{**row, "row": 1}]) for name, row in ROWS.items()}
    for name, row in ROWS.items():
        for text in texts({key: value for key, value in row.items() if key != "row"}):
            if text.strip():
                assert rows_found(said[name], text=text) == [1], (name, text)
    assert rows_found(said["chat"], text="role") == [] == rows_found(said["chat"], text="assistant")
    assert rows_found(said["chat"], text="content") == []


def test_rows_by_split_form_file_and_change(store, tmp_path):
    rows = {
        "a.jsonl": [{"instruction": "q", "output": "a\u0000"}],
        "b.jsonl": [{"instruction": "q", "output": "b"}] * 3,
    }
    for name, those in rows.items():
        (tmp_path / name).write_text("\n".join(map(json.dumps, those)))
    info = run(ingest(store, [(tmp_path / name, name) for name in rows], eval_share=0.25))
    assert rows_found(info, problem="changed") == [1]
    assert sorted(rows_found(info, file="0")) == [1] and sorted(rows_found(info, file="1")) == [1, 2, 3]
    assert len(rows_found(info, split="eval")) == info.eval_rows == 1
    pair = {**ROWS["preference"], "row": 1}
    both = store.add("both", [pair, {**ROWS["chat"], "row": 2}], shape="preference", eval_share=0)
    assert rows_found(both, form="preference") == [1] and rows_found(both, form="chat") == [2]


@pytest.mark.parametrize(
    "said", [None, 7, "x", [], {"problem": "<b>", "split": "x", "form": {}, "file": "-1"}, {"file": "9" * 40}]
)
def test_what_is_no_query_looks_for_nothing(said):
    assert not query_of(said) and query_of({"text": "x" * 5000}) == Query(text="x" * 1000)


def test_what_a_cleaning_step_doubts_is_found(store):
    texts = [f"A sentence of its own about town {n} and its harbour, long enough to say so." for n in range(9)]
    for n in (2, 5):
        texts[n] += f" Write to someone{n}@mail.arlen-town.com."
    info = store.add("mails", [{"text": text} for text in texts], shape="text", eval_share=0)
    query = query_of({"problem": "step:emails"})
    assert [info.rows()[at]["row"] for at in find(info, query).tolist()] == [3, 6] and not query.needs_base
    with pytest.raises(Problem):
        find(info, query_of({"problem": "step:no_such_step"}))
    with pytest.raises(Problem, match="cancelled"):
        find(info, query, cancelled=lambda: True)
    with pytest.raises(Problem, match="tokenizer"):
        find(info, query_of({"problem": "too_long"}))


def test_a_search_can_be_ended(store, info):
    with pytest.raises(Problem, match="cancelled"):
        found(info, Query(text="row"), cancelled=lambda: True)


def test_pages_go_split_after_split(info):
    places = page_places(info, 0, 20)
    assert sorted(places) == list(range(20)) and page_places(info, 14, 4) == places[14:18]
    shown = list(at_places(info, places))
    assert [split for _, split, _ in shown] == ["train"] * 16 + ["eval"] * 4
    assert all(row["row"] == at + 1 for at, _, row in shown)


def test_a_stored_dataset_is_split_anew(store, info):
    made = resplit(store, info.id, 0.1, 0.5, 7)
    assert (made.train_rows, made.eval_rows, made.test_rows) == (9, 2, 9) and made.parent == info.id
    assert made.fingerprint == info.fingerprint and made.changes[0]["step"] == "split"
    labelled = store.add("labels", [{"text": f"t{n}", "label": "ab"[n > 14]} for n in range(20)], shape="labelled")
    by_label = resplit(store, labelled.id, 0.2, 0, 1, stratify=True)
    assert sorted(row["label"] for row in by_label.rows("eval")) == ["a", "a", "a", "b"]
    for share, seed in ((0.6, 1), ("x", 1), (0.1, -1), (0.1, 1.5), (float("nan"), 1)):
        with pytest.raises(Problem):
            resplit(store, info.id, share, 0, seed)


def test_a_mix_says_its_rows_before_it_is_made(store, info):
    other = store.add("other", [{"text": f"o{n}"} for n in range(10)], shape="text", eval_share=0)
    parts = [(info.id, 2), (other.id, 1)]
    told, made = rows_of_mix(store, parts), mix(store, parts, "both", 3)
    assert told == {"train": made.train_rows, "eval": made.eval_rows, "test": made.test_rows} == {
        "train": 42, "eval": 4, "test": 0,
    }  # fmt: skip
    for bad in ([], [(info.id, 0)], [(info.id, "2")], [(info.id, float("nan"))]):
        with pytest.raises(Problem):
            rows_of_mix(store, bad)


def test_files_stay_beside_the_rows_and_go_with_them(store, tmp_path):
    file = tmp_path / "good.jsonl"
    file.write_text('{"text": "a"}\n{"text": "b"}')
    info = run(ingest(store, file))
    sources.keep(info, [(file, "good.jsonl")])
    file.unlink()
    made = derive(store, info.id, list(info.rows())[:1])
    ((kept, name),) = sources.kept(store, made)
    assert name == "good.jsonl" and kept.read_text().startswith('{"text": "a"}')
    store.delete(info.id)
    with pytest.raises(Problem, match="no longer here"):
        sources.kept(store, made)


@pytest.fixture
def strange(tmp_path):
    file = tmp_path / "strange.jsonl"
    rows = [{"frage": f"Frage {n}?", "antwort": "Arlen", "note": "x" if n % 2 else ""} for n in range(8)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def test_columns_are_shown_with_values_and_can_be_told(store, strange):
    seen = look([(strange, strange.name)], store.root)
    assert seen["shape"] == "" and seen["problem"]["code"] == "dataset.unknown_columns"
    assert [(one["name"], one["rows"]) for one in seen["columns"]] == [("frage", 8), ("antwort", 8), ("note", 4)]
    assert seen["columns"][0]["examples"] == ["Frage 0?", "Frage 1?", "Frage 2?"]
    told = {"instruction": "frage", "output": "antwort"}
    seen = look([(strange, strange.name)], store.root, "alpaca", told)
    assert (seen["shape"], seen["parts"], seen["problem"]) == ("alpaca", told, None)
    info = run(ingest(store, strange, shape="alpaca", mapping=told))
    assert info.unused == {"note": 4} and info.changes[0]["options"] == {"shape": "alpaca", "mapping": told}
    again = run(ingest(store, strange, shape="text", mapping={"text": "antwort"}, parent=info))
    assert (again.parent, again.first, again.shape) == (info.id, info.id, "text")
    assert not [one for one in store.root.iterdir() if one.name.startswith(".")]


def test_words_for_speakers_that_nobody_knows_are_asked_about(store, tmp_path):
    file = tmp_path / "turns.json"
    file.write_text(json.dumps([{"talk": [{"wer": "Kunde", "was": "a"}, {"wer": "Berater", "was": "b"}]}] * 3))
    told = {"conversations": "talk", "turn_role": "wer", "turn_content": "was"}
    seen = look([(file, file.name)], store.root, "sharegpt", told)
    assert seen["words"] == ["Kunde", "Berater"] and seen["turn_keys"] == ["wer", "was"]
    info = run(
        ingest(store, file, shape="sharegpt", mapping=told | {"role:Kunde": "user", "role:Berater": "assistant"})
    )
    assert info.kept == 3
