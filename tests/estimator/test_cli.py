"""The command: flags are the recipe's fields, bad input is one line and exit code 2."""

import json

import pytest

from estimator.cli.cli import build_parser, main
from estimator.recipe.recipe import FIELDS

LLAMA = ["--model", "meta-llama/Llama-3.1-8B"]


def test_every_recipe_field_is_a_flag_of_the_same_name():
    flags = {option for action in build_parser()._actions for option in action.option_strings}
    assert {"--" + name.replace("_", "-") for name in FIELDS} <= flags


def test_the_example_of_the_readme(capsys):
    words = "--method qlora --r 16 --target-modules all-linear --per-device-train-batch-size 2 --max-length 2048"
    words = [*words.split(), "--json"]
    assert main(["estimate", *LLAMA, *words, "--gpu", "RTX 4090"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["total_parameters"], data["trainable_parameters"]) == (8_030_261_248, 41_943_040)
    assert sum(data["components"].values()) == data["peak_allocated_bytes"]


def test_lists_tables_and_switches(capsys):
    words = [
        "--method",
        "lora",
        "--target-modules",
        "q_proj,v_proj",
        "--layers-to-transform",
        "0",
        "1",
        "--rank-pattern",
        "q_proj=4",
        "--use-dora",
        "--json",
    ]
    assert main([*LLAMA, *words]) == 0
    expected = 2 * (4 * (4096 + 4096) + 4096 + 16 * (4096 + 1024) + 1024)
    assert json.loads(capsys.readouterr().out)["trainable_parameters"] == expected


def test_peft_s_own_targets_are_said_by_a_word(capsys, tmp_path):
    """TOML has no null, and a flag no nothing."""
    file = tmp_path / "recipe.toml"
    file.write_text('model = "meta-llama/Llama-3.1-8B"\ntarget_modules = "default"\n')
    for words in (
        [*LLAMA, "--target-modules", "default"],
        ["--recipe", str(file)],
        [*LLAMA, "--target-modules", "q_proj,v_proj"],
    ):
        assert main([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["trainable_parameters"] == 32 * 16 * (4096 + 4096 + 4096 + 1024)


def test_what_the_data_do_to_a_batch(capsys):
    def peak(*words: str) -> int:
        assert main([*LLAMA, "--per-device-train-batch-size", "4", "--max-length", "4096", "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)["peak_allocated_bytes"]

    assert peak("--padded") == peak("--padded", "true") > peak() == peak("--padded", "false", "--trained-share", "1")


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
        (["--trained-share", "1.5"], ("trained_share:", "1.5", "at most 1")),
        (["--trained-share", "some"], ("trained_share:", "some", "a number")),
        (["--padded", "maybe"], ("padded:", "maybe", "true or false")),
        (["--packing-strategy", "best"], ("packing_strategy:", "best", "bfd")),
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


RECIPE = """
model = "meta-llama/Llama-3.1-8B"
method = "lora"
r = 8
target_modules = ["q_proj", "v_proj"]
gpu = "RTX 4090"
loop = "plain"
[rank_pattern]
"layers.0.self_attn.q_proj" = 4
[trainable_token_indices]
embed_tokens = [128000, 128001]
"""


def test_a_recipe_file_says_the_same_as_flags_and_flags_go_before_it(tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text(RECIPE)
    flags = [
        "--method",
        "lora",
        "--r",
        "8",
        "--target-modules",
        "q_proj,v_proj",
        "--gpu",
        "RTX 4090",
        "--loop",
        "plain",
        "--json",
    ]
    tables = [
        "--rank-pattern",
        '{"layers.0.self_attn.q_proj": 4}',
        "--trainable-token-indices",
        '{"embed_tokens": [128000, 128001]}',
    ]
    outputs = []
    for words in (["--recipe", str(file), "--json"], [*LLAMA, *flags, *tables]):
        assert main(words) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0] == outputs[1]
    assert outputs[0]["trainable_parameters"] == 32 * 8 * (8192 + 5120) - 4 * 8192 + 2 * 4096
    assert main(["--recipe", str(file), "--r", "16", "--gpu", "H100 SXM5 80GB", "--json"]) == 0
    changed = json.loads(capsys.readouterr().out)
    assert "H100" in changed["gpu"] and changed["trainable_parameters"] > outputs[0]["trainable_parameters"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RECIPE.replace("r = 8", "r = 0"), ("mine.toml: r: 0 is out of range", "1 to 4,096")),
        (RECIPE.replace("r = 8", "rank = 8"), ("mine.toml: rank:", "8", "lora_alpha")),
        (RECIPE.replace("r = 8", "r = 2024-01-01"), ("mine.toml: r:", "2024-01-01", "a whole number")),
        (RECIPE.replace('"plain"', '"mine"'), ("mine.toml: loop: mine", "trl, trainer, plain")),
        (RECIPE.replace('"RTX 4090"', "4090"), ("mine.toml: gpu: 4090",)),
        (RECIPE.replace('"RTX 4090"', '"A100"'), ("mine.toml: gpu: A100", "A100 SXM4 80GB")),
        (RECIPE.replace("128001", "128256"), ("mine.toml: trainable_token_indices:", "128256", "0 to 128,255")),
        (RECIPE.replace('"q_proj", "v_proj"', '"q_porj"'), ("mine.toml: target_modules:", "q_porj", "q_proj")),
        (RECIPE.replace("r = 8", "r = "), ("recipe: ", "mine.toml", "not valid TOML", "line 4")),
        ("\x00", ("recipe: ", "mine.toml", "not valid TOML")),
        ("a = " + "[" * 100_000, ("recipe: ", "mine.toml", "not valid TOML")),
        ("r = 8", ("model: a value is needed",)),
        (None, ("recipe: ", "mine.toml", "cannot be read", "No such file")),
    ],
)  # fmt: skip
def test_a_bad_recipe_file_is_one_line(text, said, tmp_path, capsys):
    file = tmp_path / "mine.toml"
    if text is not None:
        file.write_text(text)
    assert main(["--recipe", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert all(word in captured.err for word in said), captured.err


def test_a_folder_is_no_recipe_file(tmp_path, capsys):
    assert main(["--recipe", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_table_is_for_readers(capsys):
    assert main([*LLAMA, "--gpu", "RTX 4090"]) == 0
    shown = capsys.readouterr().out
    assert "8,030,261,248" in shown and "GeForce RTX 4090: fits" in shown
