"""The command: flags are the recipe's fields, bad input is one line and exit code 2."""

import json

import pytest

from estimator.cli import build_parser, main
from estimator.recipe import FIELDS

LLAMA = ["--model", "meta-llama/Llama-3.1-8B"]


def test_every_recipe_field_is_a_flag_of_the_same_name():
    flags = {option for action in build_parser()._actions for option in action.option_strings}
    assert {"--" + name.replace("_", "-") for name in FIELDS} <= flags


def test_the_example_of_the_readme(capsys):
    words = "--method qlora --r 16 --target-modules all-linear --per-device-train-batch-size 2 --max-length 2048 --json".split()
    assert main(["estimate", *LLAMA, *words, "--gpu", "RTX 4090"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["total_parameters"], data["trainable_parameters"]) == (8_030_261_248, 41_943_040)
    assert sum(data["components"].values()) == data["peak_allocated_bytes"]


def test_lists_tables_and_switches(capsys):
    words = ["--method", "lora", "--target-modules", "q_proj,v_proj", "--layers-to-transform", "0", "1", "--rank-pattern", "q_proj=4", "--use-dora", "--json"]
    assert main([*LLAMA, *words]) == 0
    expected = 2 * (4 * (4096 + 4096) + 4096 + 16 * (4096 + 1024) + 1024)
    assert json.loads(capsys.readouterr().out)["trainable_parameters"] == expected


@pytest.mark.parametrize(("method", "code"), [("qlora", 0), ("full", 3)])
def test_check_answers_with_the_exit_code(method, code, capsys):
    assert main([*LLAMA, "--method", method, "--gpu", "RTX 4090", "--check"]) == code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--r", "0"], ("r:", "0", "1 to 4,096")),
        (["--r", "x"], ("r:", "x", "a whole number")),
        (["--r", "-5"], ("r:", "-5", "1 to 4,096")),
        (["--max-length", "9" * 40], ("max_length:", "out of range")),
        (["--rank-pattern", "q_proj=a"], ("rank_pattern:", "q_proj=a")),
        (["--use-dora", "maybe"], ("use_dora:", "maybe", "true or false")),
        (["--learning-rate", "nan"], ("learning_rate:", "NaN")),
        (["--gpu", "A100"], ("gpu:", "A100 PCIe 40GB", "A100 SXM4 80GB")),
        (["--gpu", ""], ("gpu:",)),
        (["--model", "no/such"], ("model:", "no/such")),
        (["--target-modules", "q_porj"], ("target_modules:", "q_porj", "q_proj")),
        (["--unknown", "1"], ("--unknown",)),
        (["--check"], ("gpu:",)),
    ],
)
def test_bad_input_is_one_line_that_names_field_value_and_what_is_allowed(words, said, capsys):
    assert main([*LLAMA, *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert all(word in captured.err for word in said)


def test_the_table_is_for_readers(capsys):
    assert main([*LLAMA, "--gpu", "RTX 4090"]) == 0
    shown = capsys.readouterr().out
    assert "8,030,261,248" in shown and "GeForce RTX 4090: fits" in shown
