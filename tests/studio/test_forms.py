"""What a stored row is, which tasks it trains, and what of it each of them is given."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from estimator.recipe.recipe import Recipe
from studio.datasets import forms, versions
from studio.datasets.store import DatasetStore
from studio.datasets.words import reason_text
from studio.i18n import LANGUAGES, strings
from studio.rendering import rendering, untokenized
from tests.studio.dataset_helpers import CHATML, base_folder, chat

Q, A, BAD = ({"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a"), ("assistant", "no")))
TOOLS = [{"type": "function", "function": {"name": "w"}}]
ROWS = {
    "chat": {"messages": [Q, A], "tools": TOOLS},
    "preference": {"prompt": [Q], "chosen": [A], "rejected": [BAD], "tools": TOOLS},
    "unpaired": {"prompt": [Q], "completion": [BAD], "label": False},
    "labelled": {"text": "t", "text_pair": "u", "label": 1},
    "tags": {"tokens": ["a", "b"], "tags": ["X", "O"]},
    "span": {"question": "q", "context": "c a", "answers": {"text": ["a"], "answer_start": [2]}},
    "pairs": {"anchor": "a", "positive": "b"},
    "seq2seq": {"source": "s", "target": "t"},
    "text": {"text": "t"},
}


def said(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


@pytest.mark.parametrize("form", forms.FORMS)
def test_each_form_is_told_by_its_keys_and_named_in_both_languages(form):
    assert set(ROWS) == set(forms.FORMS) and forms.form_of({**ROWS[form], "row": 3}) == form
    assert all(f"dataset.form_{form}" in strings(lang) for lang in LANGUAGES)
    with pytest.raises(ValueError, match="other"):
        forms.form_of({"other": 1, "row": 1})


def test_tasks_are_named_as_the_libraries_name_them():
    """TRL's trainers are looked for by their folders: importing them takes six seconds."""
    peft, trl = pytest.importorskip("peft"), importlib.util.find_spec("trl")
    folders = {path.name for path in Path(trl.origin).parent.glob("**/*_trainer.py")}
    for task in forms.TASKS:
        assert task in peft.TaskType.__members__ or f"{task.lower()}_trainer.py" in folders, task
        assert any(task in forms.tasks_of(form) for form in forms.FORMS), task


@pytest.mark.parametrize("form, task", [(form, task) for form in forms.FORMS for task in forms.TASKS])
def test_a_row_is_given_to_the_tasks_of_its_form_alone_and_keeps_its_place(form, task):
    row = {**ROWS[form], "row": 7, "file": 1}
    made = forms.for_task(row, task)
    if task not in forms.tasks_of(form):
        assert made is None
    if made is None:
        reason, params = forms.why_not(row, task)
        for lang in LANGUAGES:
            sentence = reason_text(lang, {"reason": reason, "params": params})
            assert sentence != reason and "{" not in sentence
    else:
        assert (made["row"], made["file"]) == (7, 1)
    assert row == {**ROWS[form], "row": 7, "file": 1}


CAUSAL = {
    "chat": ROWS["chat"], "text": ROWS["text"], "unpaired": None, "tags": None, "pairs": None,
    "preference": {"messages": [Q, A], "tools": TOOLS},
    "labelled": said("t\n\nu", "1"), "span": said("q\n\nc a", "a"), "seq2seq": said("s", "t"),
}  # fmt: skip


@pytest.mark.parametrize("form", forms.FORMS)
def test_plain_training_takes_what_is_good(form):
    assert forms.for_task(ROWS[form], "CAUSAL_LM") == CAUSAL[form]


OTHERS = [
    ({**ROWS["unpaired"], "label": True}, "CAUSAL_LM", {"messages": [Q, BAD]}),
    ({"prompt": [], "chosen": "text a", "rejected": "text b"}, "CAUSAL_LM", {"text": "text a"}),
    ({"prompt": [], "chosen": "text a", "rejected": "text b"}, "DPO", {"chosen": "text a", "rejected": "text b"}),
    ({**ROWS["span"], "answers": {"text": [], "answer_start": []}}, "CAUSAL_LM", None),
    ({"text": "t", "label": ["x", "y"]}, "CAUSAL_LM", said("t", "x, y")),
    ({"text": "t", "label": []}, "CAUSAL_LM", None),
    ({"messages": [Q, A]}, "SEQ_2_SEQ_LM", {"source": "q", "target": "a"}),
    ({"messages": [Q, A, Q, A]}, "SEQ_2_SEQ_LM", None),
    ({"messages": [Q, A]}, "GRPO", {"prompt": [Q]}),
    ({"prompt": [Q, {**A, "trained": False}, Q], "chosen": [A], "rejected": [BAD]}, "DPO",
     {"prompt": [Q, A, Q], "chosen": [A], "rejected": [BAD]}),
]  # fmt: skip


@pytest.mark.parametrize("row, task, expected", OTHERS)
def test_a_row_as_a_task_takes_it(row, task, expected):
    assert forms.for_task(row, task) == expected


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(base_folder(str(tmp_path_factory.mktemp("forms") / "base"), CHATML))


def test_rows_of_every_form_are_encoded_as_they_are_trained_and_the_rest_counted(base):
    """Many at once, and one by one, as what `for_task` gives would be."""
    tokenizer, recipe = rendering.load_tokenizer(Path(base)), Recipe(model=base, max_length=64)
    rows = [{**{key: value for key, value in row.items() if key != "tools"}, "row": number}
            for number, row in enumerate(ROWS.values(), 1)]  # fmt: skip
    made, report = rendering.encode_rows(rows, tokenizer, recipe)
    trained = [one for row in rows if (one := forms.for_task(row, "CAUSAL_LM"))]
    assert made[:] == rendering.encode_rows(trained, tokenizer, recipe)[0][:] and len(made) == len(trained) == 6
    assert report["reasons"] == {"marked_bad": 1, "not_of_task": 2}
    alone = [rendering.encode_row(tokenizer, row, recipe) for row in rows]
    assert [one.input_ids for one in alone if isinstance(one, rendering.Encoded)] == made["input_ids"][:]


def test_a_dataset_says_which_tasks_its_rows_train_and_shows_all_they_say(tmp_path):
    store = DatasetStore(tmp_path / "datasets")
    info = store.add("x", [ROWS["preference"], ROWS["preference"], ROWS["chat"]], eval_share=0)
    assert info.forms == {"preference": 2, "chat": 1} and list(info.tasks)[0] == "CAUSAL_LM"
    assert info.tasks["DPO"] == 2 and info.tasks["CAUSAL_LM"] == 3 and "KTO" not in info.tasks
    assert store.add("x", [ROWS["tags"]]).tasks == {"TOKEN_CLS": 1}
    assert versions.derive(store, info.id, info.rows()).forms == info.forms
    info = store.add("x", [chat("Hello?", "Yes."), *ROWS.values()], eval_share=0)
    shown = untokenized.view(info, 0, 99)["rows"]
    assert [row["text"] for row in shown][:3] == ["user: Hello?\n\nassistant: Yes.", "user: q\n\nassistant: a",
        "user: q\n\nchosen:\nassistant: a\n\nrejected:\nassistant: no"]  # fmt: skip
    assert "tags: X, O" in shown[5]["text"] and all(row["text"] for row in shown)
