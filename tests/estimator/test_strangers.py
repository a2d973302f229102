"""What strangers ask of the command: what they lose least by, what a run's hours are made of, which card a name is, in
their language."""

from __future__ import annotations

import json
import re

import pytest

from estimator import Recipe, estimate
from estimator.advice.advise import advise
from estimator.estimates.take_away import conditions_in, costing_in, from_query
from studio.__main__ import main

QWEN = "Qwen/Qwen2.5-7B"
LONG = ["--model", QWEN, "--max-length", "8192", "--per-device-train-batch-size", "4"]


def said(capsys, *words: str, code: int = 0) -> str:
    assert main([*words]) == code
    out, err = capsys.readouterr()
    return out + err


def test_of_long_rows_as_few_are_lost_as_a_batch_of_one_allows(capsys):
    recipe = Recipe(model=QWEN, max_length=8192, per_device_train_batch_size=4)
    surest = advise(recipe, "3060 12g").surest
    assert surest.values["per_device_train_batch_size"] == 1 and surest.values["gradient_accumulation_steps"] == 4
    alone = [p for p in advise(recipe, "3060 12g").singles if p.changes[0].kind == "length"]
    assert surest.recipe.max_length > 1.5 * alone[0].recipe.max_length and not surest.estimate.is_close
    shown = said(capsys, "advise", *LONG, "--gpu", "3060 12g", code=3)
    assert f"Less than asked: max_length {surest.recipe.max_length:,} / 8,192." in shown
    assert "gradient_accumulation_steps 4." in shown and "r 16, target_modules all-linear" in shown


@pytest.mark.parametrize(("model", "card"), [("Qwen/Qwen2.5-32B", "2x 4090"), ("meta-llama/Llama-3.1-70B", "4x4090")])
def test_several_cards_are_said_and_first_of_all_shared(model, card, capsys):
    shown = said(capsys, "advise", "--model", model, "--gpu", card, code=3)
    count = card[0]
    assert f"on {count} x GeForce RTX 4090 (ddp): does not fit" in shown and "distributed_type = fsdp" in shown
    estimated = said(capsys, "estimate", "--model", model, "--gpu", card)
    assert f"  {count} x GeForce RTX 4090 (ddp): does not fit" in estimated
    assert f"{count} devices, ddp: each holds the whole model" in estimated
    whole = Recipe(model=model, num_processes=int(count), per_device_train_batch_size=2)
    assert advise(whole, "RTX 4090").cheapest.values["distributed_type"] == "fsdp", "the best known way first"


def test_what_does_not_fit_when_the_run_is_over_stands_in_the_verdict(capsys):
    for command in ("estimate", "advise"):
        shown = said(capsys, command, "--model", QWEN, "--gpu", "3060 12g")
        assert re.search(r"fits.*; afterwards, merging \(16\.48 GiB\) does not fit", shown), command
        assert "afterwards" not in said(capsys, command, "--model", QWEN, "--gpu", "4090"), command


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "1,000 rows x 3 epochs (num_train_epochs) = 3,000 rows: 1,500 optimizer steps of 2 rows."),
        (["--max-steps", "100"], "max_steps 100 x 2 rows: 0.2 epochs of the 1,000 rows"),
        (["--num-processes", "2", "--num-train-epochs", "0.5"], "= 500 rows: 125 optimizer steps of 4 rows."),
    ],
)
def test_hours_say_of_how_many_rows_and_steps_they_are(words, told, capsys):
    asked = ["--model", QWEN, "--rows", "1000", *words]
    assert told in said(capsys, "estimate", *asked, "--gpu", "4090")
    assert told in said(capsys, "gpus", *asked, "--compare", "4090")
    data = json.loads(said(capsys, "estimate", *asked, "--gpu", "4090", "--json"))
    assert told in data["run"]["course"]["text"]


def test_a_comparison_stands_side_by_side_and_says_what_was_taken_for_what(capsys):
    asked = ["gpus", "--model", "Qwen/Qwen2.5-32B", "--compare", "3060 12g", "h100 80g"]
    shown = said(capsys, *asked)
    head = shown.splitlines()[0]
    assert "8 x GeForce RTX 3060 12GB" in head and "H100 PCIe 80GB" in head
    assert "One GeForce RTX 3060 12GB does not hold it" in shown and "so 8 are counted" in shown
    assert "h100 80g is read as H100 PCIe 80GB" in shown and "give --rows N" in shown
    assert "give --rows N" not in said(capsys, *asked, "--rows", "100")


def test_gpus_answers_for_one_card_and_the_readmes_recipe(capsys):
    asked = "--max-length 4096 --per-device-train-batch-size 1 --num-processes 6 --distributed-type fsdp"
    stored = ["--bnb-4bit-quant-storage", "bfloat16", "--rows", "100"]
    words = ["gpus", "--model", "meta-llama/Llama-3.1-70B", *asked.split(), *stored, "--gpu", "RTX 4090"]
    assert "6 x GeForce RTX 4090" in said(capsys, *words).splitlines()[0]


def test_cards_sorted_by_cost_show_the_cost_they_are_sorted_by(capsys):
    shown = said(capsys, "gpus", "--model", QWEN, "--rows", "1000", "--sort", "cost")
    likely = [float(usd) for usd in re.findall(r"  (\d+\.\d\d) \(\d+\.\d\d-\d+\.\d\d\)  \w", shown)]
    assert len(likely) == 15 and likely == sorted(likely)


def test_a_note_about_some_of_the_cards_names_them(capsys):
    shown = said(capsys, "gpus", "--model", QWEN, "--rows", "1000")
    speeds = [line for line in shown.splitlines() if "Speed: a share" in line]
    assert len(speeds) > 1 and all(line.endswith(")") for line in speeds)


@pytest.mark.parametrize(("command", "data"), [("estimate", {"rows": 100}), ("advise", {})])
def test_the_same_question_is_a_link(command, data, capsys):
    beside = [word for name, value in data.items() for word in (f"--{name}", str(value))]
    words = [command, *beside, "--model", QWEN, "--r", "8", "--gpu", "3060", "--gpu-memory", "12"]
    (link,) = re.findall(r"http://127\.0\.0\.1:7860/\?(\S+)", said(capsys, *words))
    fields, card = from_query(link)
    pairs = dict(pair.split("=") for pair in link.split("&"))
    assert Recipe(**fields) == Recipe(model=QWEN, r=8) and card == "3060"
    assert conditions_in(pairs) == {"gpu_memory": 12.0} and costing_in(pairs) == data


@pytest.mark.parametrize(
    "words", [["estimate", *LONG], ["advise", *LONG], ["gpus", *LONG], ["serving", "--model", QWEN]]
)
def test_commands_speak_chinese_where_they_are_asked_to(words, capsys):
    card = [] if words[0] == "gpus" else ["--gpu", "4090"]
    main([*words, *card, "--lang", "zh-CN"])
    shown = capsys.readouterr().out
    assert len(re.findall("[\u4e00-\u9fff]", shown)) > 20 and "装" in shown
    assert "lang: fr" in said(capsys, *words, *card, "--lang", "fr", code=2)
    assert "不是" in said(capsys, words[0], "--model", "no/such", "--lang", "zh-CN", *card, code=2)
    assert not re.findall("[\u4e00-\u9fff]", str(capsys.readouterr())), "English again"


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--lora-rank", "--r"),
        ("--batch-size", "--per-device-train-batch-size"),
        ("--lora_aplha", "--lora-alpha"),
        ("--cutoff_len", "--max-length"),
        ("--micro_batch_size=2", "--per-device-train-batch-size"),
        ("--num-gpus", "--num-processes"),
    ],
)
def test_a_flag_that_there_is_not_names_the_one_that_was_meant(flag, meant, capsys):
    assert f"Perhaps {meant} for --" in said(capsys, "estimate", "--model", QWEN, flag, "8", code=2)
    assert "Perhaps" not in said(capsys, "estimate", "--model", QWEN, "--foo", "8", code=2)


def test_choices_are_known_by_the_names_that_people_type(capsys):
    words = [
        "--dtype",
        "bf16",
        "--quantization",
        "4bit",
        "--attn-implementation",
        "fa2",
        "--mixed-precision",
        "bfloat16",
    ]
    fields = {
        "dtype": "bfloat16",
        "quantization": "nf4",
        "attn_implementation": "flash_attention_2",
        "mixed_precision": "bf16",
    }
    assert vars(Recipe(model=QWEN, **dict(zip(fields, words[1::2], strict=True)))) == vars(Recipe(model=QWEN, **fields))
    shown = said(capsys, "estimate", "--model", QWEN, "--method", "lora", "--quantization", "4bit")
    assert "quantization: nf4 says nothing with method lora" in shown
    sized = "serving", "--model", QWEN, "--dtype", "bf16", "--quantization", "4bit"
    assert "nf4; 1 users" in said(capsys, *sized)
    shown = said(capsys, "estimate", "--help")
    assert "adamw_8bit (adamw_bnb_8bit)" in " ".join(shown.split()) and ".yaml" in shown


def test_advice_asks_the_data_as_the_estimate_does(capsys):
    asked = ["--model", QWEN, "--gpu", "4090", "--padded", "--trained-share", "0.4", "--json"]
    made, advice = (json.loads(said(capsys, command, *asked)) for command in ("estimate", "advise"))
    assert advice["estimate"]["components"] == made["components"]
    assert {one["component"]: one["bytes"] for one in made["formulas"]} == {
        k: v for k, v in made["components"].items() if v
    }


@pytest.mark.parametrize(
    ("words", "found", "missing"),
    [
        (["--search", "qwen 32b"], "Qwen/Qwen2.5-32B", "Qwen/Qwen2.5-3B"),
        (["--search", "千问 7b"], "Qwen/Qwen2.5-7B", "llama"),
        (["--search", "llama3.1 8b"], "meta-llama/Llama-3.1-8B", "70B"),
        ([], "HuggingFaceTB/SmolLM2-135M", "no such"),
    ],
)
def test_models_are_listed_and_found_by_what_people_type(words, found, missing, capsys):
    shown = said(capsys, "models", *words)
    assert found in shown and missing not in shown
    assert "search: no model on board for foo" in said(capsys, "models", "--search", "foo", code=2)


def test_without_a_model_advice_names_those_that_suit_the_card(capsys):
    asked = said(capsys, "advise", "--gpu", "3060 12g")
    suiting = said(capsys, "models", "--gpu", "3060", "--gpu-memory", "12", "--json")
    assert asked.startswith("no model was given")
    for one in json.loads(suiting):
        assert one["id"] in asked and estimate(Recipe(model=one["id"]), "3060 12g").fits
    assert "may be any of these" in said(capsys, "advise", "--gpu", "3060", code=2)


def test_a_family_may_be_named_in_chinese(capsys):
    shown = said(capsys, "estimate", "--model", "千问2.5 7b")
    assert "千问2.5 7b is read as Qwen/Qwen2.5-7B" in shown
    assert "Close names: Qwen/" in said(capsys, "estimate", "--model", "千问 7b", code=2)


def test_a_file_on_this_machine_is_not_asked_to_be_uploaded(tmp_path, capsys):
    broken = tmp_path / "rows.jsonl"
    broken.write_text('{"instruction": "a",\n' * 3)
    for file, told in ((tmp_path / "none.jsonl", "Check its path"), (broken, "none of its rows is taken")):
        shown = said(capsys, "dataset", "check", str(file), code=2)
        assert told in shown and "pload" not in shown
