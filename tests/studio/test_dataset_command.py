"""`lora-studio dataset check` says what the page says, of files that it does not keep."""

from __future__ import annotations

import json
from pathlib import Path

from studio.__main__ import main
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
