"""Files that come with LLaMA-Factory's `dataset_info.json` or axolotl's `datasets:` are read as those say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estimator.core.problems import Problem
from studio.datasets import command
from studio.datasets.asked import asked_of
from studio.datasets.entries import axolotl, llamafactory
from studio.datasets.files.opening import Given
from studio.datasets.ingest import ingest, run
from studio.datasets.store import DatasetStore
from studio.datasets.words import left_text, problem_text, unused_text
from studio.i18n import LANGUAGES
from studio.space import Space
from tests.studio import file_helpers as made

ALPACA = [{"frage": "q", "dazu": "more", "antwort": "a", "rolle": "be kind", "input": "never"}] * 4
TURNS = [{"talk": [{"wer": "Kunde", "was": "hi"}, {"wer": "Agent", "was": "hello"}], "sys": "be kind"}] * 3
PREFERRED = [{"conversations": [{"from": "human", "value": "q"}], "good": {"from": "gpt", "value": "yes"},
              "bad": {"from": "gpt", "value": "no"}}] * 3  # fmt: skip
MARKED = [{"instruction": "q", "output": "a", "mark": True}, {"instruction": "q", "output": "b", "mark": False}]
INFO = {
    "questions": {"file_name": "a.json", "columns": {"prompt": "frage", "query": "dazu", "response": "antwort",
                                                    "system": "rolle"}, "num_samples": 2, "file_sha1": "0"},
    "talks": {"file_name": "t.json", "formatting": "sharegpt", "columns": {"messages": "talk", "system": "sys"},
              "tags": {"role_tag": "wer", "content_tag": "was", "user_tag": "Kunde", "assistant_tag": "Agent"}},
    "pairs": {"file_name": "p.json", "formatting": "sharegpt", "ranking": True,
              "columns": {"messages": "conversations", "chosen": "good", "rejected": "bad"}},
    "marks": {"file_name": "k.json", "columns": {"prompt": "instruction", "response": "output", "kto_tag": "mark"}},
    "pretrain": {"file_name": "w.json", "columns": {"prompt": "words"}},
    "plain": {"file_name": "d.json"},
    "scripted": {"script_url": "folder"},
    "remote": {"hf_hub_url": "org/data", "subset": "s", "split": "train_sft", "folder": "f"},
    "odd": {"file_name": "o.json", "formatting": "mine", "subset": "x"},
}  # fmt: skip
FILES = {
    "a.json": ALPACA, "t.json": TURNS, "p.json": PREFERRED, "k.json": MARKED, "w.json": [{"words": "long ago"}] * 3,
    "d.json": [{"instruction": "q", "output": "a", "system": "unread"}] * 3, "o.json": [{"text": "x"}],
}  # fmt: skip


@pytest.fixture
def store(home):
    return DatasetStore(Space.default().datasets, Space.default().trash)


@pytest.fixture
def bring(store, tmp_path):
    def bring(files: dict[str, object], **how):
        given = []
        for name, content in files.items():
            file = tmp_path / "given" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
            given.append(Given(file, file.name))
        return run(ingest(store, given, eval_share=0, **how))

    return bring


def refused(bring, files: dict[str, object], **how) -> Problem:
    with pytest.raises(Problem) as caught:
        bring(files, **how)
    for lang in LANGUAGES:
        assert "{" not in problem_text(lang, caught.value)
    return caught.value


def first(info) -> dict:
    row = info.rows()[0]
    return {key: value for key, value in row.items() if key not in ("row", "file")}


def test_columns_of_an_entry_are_read_as_it_says(bring):
    info = bring({"dataset_info.json": INFO, "a.json": ALPACA})
    assert info.name == "questions" and info.kept == 4
    assert [one["content"] for one in first(info)["messages"]] == ["be kind", "q\n\nmore", "a"]
    said = " ".join(left_text("en", info))
    assert "num_samples = 2" in said and "8 other entries" in said and "input" in unused_text("en", info)
    assert not info.files  # the description is no data


@pytest.mark.parametrize(
    ("entry", "row"),
    [
        ("talks", {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"},
                                {"role": "assistant", "content": "hello"}]}),
        ("pairs", {"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": "yes"}],
                   "rejected": [{"role": "assistant", "content": "no"}]}),
        ("marks", {"prompt": [{"role": "user", "content": "q"}], "label": True,
                   "completion": [{"role": "assistant", "content": "a"}]}),
        ("pretrain", {"text": "long ago"}),
        ("plain", {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True], ids=["files", "archive"])
def test_an_entry_is_chosen_of_several(bring, entry, row, packed):
    files: dict[str, object] = {"dataset_info.json": INFO, **FILES}
    if packed:
        files = {"data.zip": made.zipped({f"data/{name}": json.dumps(one) for name, one in files.items()})}
    info = bring(files, entry=entry)
    assert first(info) == row and info.name == entry
    assert sum(one["problem"]["code"] == "dataset.entry_others" for one in info.left_files) == len(FILES) - 1


def test_of_several_entries_one_has_to_be_chosen(bring):
    problem = refused(bring, {"dataset_info.json": INFO, **FILES})
    assert problem.code == "dataset.entry_choose" and "questions, talks" in str(problem)
    assert refused(bring, {"dataset_info.json": INFO, **FILES}, entry="none").code == "dataset.entry_unknown"
    assert refused(bring, {"dataset_info.json": INFO}).code == "dataset.entry_files"
    assert refused(bring, {"a.json": ALPACA}, entry="questions").code == "dataset.entry_none"


@pytest.mark.parametrize(
    ("entry", "code", "word"),
    [("scripted", "refused", "script_url: folder"), ("remote", "of_a_hub", "org/data"), ("talks", "absent", "t.json")],
)
def test_an_entry_that_cannot_be_taken_is_refused_by_key_and_value(bring, entry, code, word):
    problem = refused(bring, {"dataset_info.json": INFO, "d.json": FILES["d.json"]}, entry=entry)
    assert problem.code == f"dataset.entry_{code}" and word in str(problem)


def test_what_is_not_honoured_is_named_and_what_is_said_by_hand_goes_before(bring):
    odd = bring({"dataset_info.json": INFO, "o.json": FILES["o.json"]})
    said = " ".join(left_text("en", odd))
    assert "formatting = mine" in said and "subset = x" in said
    info = bring({"dataset_info.json": INFO, "a.json": ALPACA}, mapping={"output": "rolle", "system": None})
    assert [one["content"] for one in first(info)["messages"]] == ["q\n\nmore", "be kind"]


def test_the_file_of_that_name_that_datasets_writes_describes_nothing(bring):
    theirs = {"builder_name": "json", "features": {"question": {"dtype": "string"}}, "splits": {"train": {"name": "x"}}}
    assert llamafactory.entries(theirs) is None
    folder = {"data.zip": made.zipped({"dataset_info.json": json.dumps(theirs), "a.jsonl": '{"text": "x"}'})}
    assert bring(folder).kept == 1


def test_files_lie_beside_a_description_and_never_outside_its_folder(store, tmp_path, home):
    (tmp_path / "d").mkdir()
    (tmp_path / "secret.json").write_text(json.dumps(FILES["d.json"]))
    (tmp_path / "d" / "d.json").write_text(json.dumps(FILES["d.json"]))
    outside = {"a": {"file_name": "../secret.json"}, "b": {"file_name": str(tmp_path / "secret.json")},
               "c": {"file_name": "d.json"}, "link": {"file_name": "l.json"}}  # fmt: skip
    (tmp_path / "d" / "dataset_info.json").write_text(json.dumps(outside))
    (tmp_path / "d" / "l.json").symlink_to(tmp_path / "secret.json")
    file = tmp_path / "d" / "dataset_info.json"
    assert run(ingest(store, file, beside=True, entry="c")).kept == 3
    for name in ("a", "b", "link"):
        with pytest.raises(Problem, match="was not given"):
            run(ingest(store, file, beside=True, entry=name))
    with pytest.raises(Problem, match="was not given"):
        run(ingest(store, file, entry="c"))


AXOLOTL = {
    "alpaca": ("type: alpaca", [{"instruction": "q", "input": "", "output": "a"}]),
    "qa": ("type: alpaca_chat.load_qa", [{"question": "q", "answer": "a"}]),
    "orca": ("type: alpaca_w_system.load_open_orca", [{"system_prompt": "s", "question": "q", "response": "a"}]),
    "gpteacher": ("type: gpteacher", [{"instruction": "q", "input": "", "response": "a"}]),
    "sharegpt": ("type: sharegpt", [{"conversations": [{"from": "human", "value": "q"},
                                                       {"from": "gpt", "value": "a"}]}]),
    "turns": (
        "type: chat_template\n    field_messages: talk\n    message_property_mappings: {role: wer, content: was}\n"
        "    roles: {user: [Kunde], assistant: [Agent]}\n    roles_to_train: [assistant]\n    chat_template: chatml",
        [{"talk": [{"wer": "Kunde", "was": "q"}, {"wer": "Agent", "was": "a"}]}],
    ),
    "old keys": (
        "type: chat_template\n    message_field_role: wer\n    message_field_content: was\n    train_on_eos: turn",
        [{"messages": [{"wer": "user", "was": "q"}, {"wer": "assistant", "was": "a"}]}],
    ),
    "custom": (
        "type:\n      field_instruction: ask\n      field_output: say\n      format: '[INST] {instruction}'",
        [{"ask": "q", "say": "a"}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AXOLOTL)
def test_a_type_of_axolotl_is_read_so(bring, name):
    said, rows = AXOLOTL[name]
    config = f"base_model: x\ndatasets:\n  - path: /workspace/data/rows.json\n    ds_type: json\n    {said}\n"
    info = bring({"config.yml": config, "rows.json": rows})
    messages = [one["content"] for one in first(info)["messages"] if one["role"] != "system"]
    assert messages == ["q", "a"] and info.kept == 1
    unread = " ".join(left_text("en", info))
    assert ("chat_template = chatml" in unread) is (name == "turns")
    assert ("type.format = [INST] {instruction}" in unread) is (name == "custom")


def test_datasets_of_axolotl_are_trained_together_each_as_it_says(bring):
    config = """
datasets:
  - {path: a.jsonl, type: completion, field: body}
  - {path: ./b.json, type: alpaca, shards: 4}
  - {path: org/elsewhere, type: sharegpt}
test_datasets:
  - {path: c.json, type: alpaca, split: train}
"""
    row = [{"instruction": "q", "output": "a"}]
    info = bring({"x.yaml": config, "a.jsonl": '{"body": "words", "text": "no"}', "b.json": row * 2, "c.json": row,
                  "d.json": row})  # fmt: skip
    assert (info.kept, info.train_rows, info.eval_rows) == (4, 3, 1) and info.shapes == {"text": 1, "alpaca": 3}
    said = " ".join(left_text("en", info))
    assert "shards = 4" in said and "org/elsewhere" in said and "d.json is not of the chosen" in said


@pytest.mark.parametrize(
    ("rl", "said", "row", "form"),
    [
        ("dpo", "type: chatml.intel", {"system": "s", "question": "q", "chosen": "a", "rejected": "b"}, "preference"),
        ("dpo", "type: {field_prompt: ask, field_chosen: yes_, field_rejected: no_}",
         {"ask": "q", "yes_": "a", "no_": "b"}, "preference"),
        ("dpo", "type: chat_template.default\n    field_messages: m\n    field_chosen: c\n    field_rejected: r",
         {"m": [{"role": "user", "content": "q"}], "c": {"role": "assistant", "content": "a"},
          "r": {"role": "assistant", "content": "b"}}, "preference"),
        ("kto", "type: {field_prompt: ask, field_completion: say, field_label: ok}",
         {"ask": "q", "say": "a", "ok": True}, "unpaired"),
    ],
)  # fmt: skip
def test_preferences_of_axolotl_are_read_so(bring, rl, said, row, form):
    config = f"rl: {rl}\ndatasets:\n  - path: r.json\n    {said}\n"
    assert bring({"c.yml": config, "r.json": [row]}).forms == {form: 1}


@pytest.mark.parametrize("said", ["type: input_output", "type:"])
def test_what_axolotl_trains_and_we_do_not_is_refused_by_key_and_value(bring, said):
    config = f"datasets:\n  - path: r.json\n    {said}\n"
    problem = refused(bring, {"c.yml": config, "r.json": [{"segments": []}]})
    assert problem.code == "dataset.entry_refused" and "type: " in str(problem)


def test_settings_of_trainings_among_code_are_code(bring):
    code = made.zipped({"a.py": "print(1)", "examples/x.yml": "datasets:\n  - {path: org/data, type: alpaca}\n"})
    assert bring({"code.zip": code}).kept == 2


@pytest.mark.parametrize("text", ["", "[", "datasets: 3", "datasets: [3]", "datasets: [{path: 3}]", "a: &x [*x]",
                                  "!!python/object:os.system {}", "datasets: [{path: x, type: {a: [1]}}]"])  # fmt: skip
def test_a_description_that_is_none_is_no_crash(bring, text):
    try:
        bring({"c.yml": text, "a.jsonl": '{"text": "x"}'})
    except Problem as problem:
        assert problem.code.startswith("dataset.")


def test_every_entry_says_what_ingest_takes():
    odd = {"x": {"file_name": 3}, "y": {"file_name": "a", "columns": 3, "tags": 4, "formatting": "sharegpt"},
           "z": {"hf_hub_url": "not an id"}, "w": {"ms_hub_url": "a/b", "columns": {"prompt": 3}}}  # fmt: skip
    types = (None, 3, "sharegpt", "chat_template", {"field_input": 4}, "x.argilla")
    config = {"datasets": [{"path": "a.json", "type": one, "roles": {"x": 3}, "field_messages": 3} for one in types]}
    for entry in [*llamafactory.entries(INFO | odd), *axolotl.entries(config)]:
        asked_of(entry.shape, entry.mapping)
        assert entry.files or entry.reference or entry.refused


def test_the_command_takes_a_description_alone_and_an_entry_of_it(home, tmp_path: Path, capsys):
    (tmp_path / "a.json").write_text(json.dumps(ALPACA))
    (tmp_path / "dataset_info.json").write_text(json.dumps(INFO))
    asked = ["dataset", "check", str(tmp_path / "dataset_info.json"), "--entry", "questions", "--json"]
    assert command.main(asked) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 4
