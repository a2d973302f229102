"""`lora-studio dataset check` says what the page says, of files that it does not keep."""

from __future__ import annotations

import json
from pathlib import Path

from studio.__main__ import main
from studio.datasets.store import DatasetStore
from studio.datasets.words import recognised_text
from studio.space import Space

CASES = Path(__file__).parent / "cases"


def test_what_is_read_left_out_and_not_used_is_said(home, capsys):
    assert main(["dataset", "check", str(CASES / "trl_pref.jsonl"), str(CASES / "nan_input.jsonl")]) == 0
    said = capsys.readouterr().out
    for words in (
        "1 kept",
        "score_chosen (1 row)",
        "the rejected ones never",
        "2 kept · 1 dropped",
        "Row 3: output is empty",
    ):
        assert words in said
    assert list(Space.default().datasets.iterdir()) == []


def test_as_json_and_in_chinese(home, capsys):
    assert main(["dataset", "check", "--json", "--lang", "zh-CN", str(CASES / "pretrain_content.jsonl")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["kept"] == 1 and answer["unused"] == {"path": 1, "repo": 1} and "path（1 行）" in answer["text"]


def test_a_file_that_cannot_be_used_is_an_error_and_the_others_are_checked(home, capsys):
    assert main(["dataset", "check", str(CASES / "no_header.csv"), str(CASES / "dolly.jsonl")]) == 2
    shown = capsys.readouterr()
    assert "no header" in shown.err and "dolly.jsonl" in shown.out and "category (2 rows)" in shown.out
    assert main(["dataset", "check", "--json", str(CASES / "dup_header.csv")]) == 2
    assert json.loads(capsys.readouterr().out)["problem"]["code"] == "dataset.doubled_column"


def test_rows_are_built_as_the_user_maps_and_splits_them(home, tmp_path, capsys):
    file = tmp_path / "mine.csv"
    file.write_text("ask,reply,note\n" + "".join(f"q{n},a{n},x\n" for n in range(20)), encoding="utf-8")
    mapped = ["--column", "instruction=ask", "--column", "output=reply"]
    shares = ["--eval-share", "0.2", "--test-share", "0.1", "--name", "mine"]
    assert main(["dataset", "build", str(file), *mapped, *shares, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (info,) = DatasetStore(Space.default().datasets).list()
    assert info.id == told["id"] and info.name == "mine" and info.unused == {"note": 20}
    assert (info.train_rows, info.eval_rows, info.test_rows) == (14, 4, 2)
    assert info.rows()[0]["messages"][0]["content"] == "q0"
    assert main(["dataset", "show", info.id, "--rows", "2"]) == 0 and "q1" in capsys.readouterr().out
    assert main(["dataset", "check", info.id]) == 0 and main(["dataset", "show", "20200101-000000-abcdef"]) == 2
    for unknown in (["card", "nothing"], ["advise", "nothing"], ["mix", "nothing=1", "--name", "m"]):
        capsys.readouterr()
        assert main(["dataset", *unknown]) == 2 and "No stored dataset has the id nothing" in capsys.readouterr().err
    assert recognised_text("en", info).endswith("CSV"), "the name that it was given is no file's"


def test_several_files_are_built_as_one_dataset(home, tmp_path, capsys):
    files = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for file in files:
        file.write_text('{"text": "hello"}\n')
    assert main(["dataset", "build", *map(str, files), "--data-dir", str(tmp_path / "data"), "--lang", "zh-CN"]) == 0
    (info,) = DatasetStore(tmp_path / "data" / "datasets").list()
    assert info.kept == 2 and info.files == ["a.jsonl", "b.jsonl"] and "已存为" in capsys.readouterr().out


def test_rows_are_shown_and_a_gate_fails_where_a_task_can_train_none(home, capsys):
    file = str(CASES / "trl_pref.jsonl")
    assert main(["dataset", "show", file, "--rows", "1", "--task", "DPO"]) == 0
    assert json.loads(capsys.readouterr().out).keys() >= {"prompt", "chosen", "rejected"}
    assert main(["dataset", "check", file, "--task", "TOKEN_CLS"]) == 1
    assert "TOKEN_CLS can train 0 of them" in capsys.readouterr().out
    for wrong in (["--shape", "x"], ["--column", "output"], ["--column", "nothing=a"], ["--column", "output=none"]):
        assert main(["dataset", "check", file, *wrong]) == 2
        assert "llowed" in (said := capsys.readouterr().err) or "trl_pref" in said
    assert list(Space.default().datasets.iterdir()) == []
