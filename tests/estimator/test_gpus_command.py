"""`lora-studio gpus`: all cards, equal to single estimates, in the order asked for; bad input is one line and exit code
2."""

from __future__ import annotations

import json

import pytest

from estimator import estimate, gpus
from estimator.advice.ranking import ORDERS, SORTS, rank
from estimator.cli.gpus_command import main
from estimator.cost.rows import uniform
from estimator.estimates.conditions import Conditions
from estimator.recipe.recipe import Recipe

ID = "meta-llama/Llama-3.2-3B"
FLAGS = ["--model", ID, "--method", "full", "--max-length", "1000", "--per-device-train-batch-size", "4"]
DATA = ["--rows", "20,000", "--tokens-per-row", "1000"]
RECIPE = Recipe(model=ID, method="full", max_length=1000, per_device_train_batch_size=4)


def asked(capsys, *words: str) -> tuple[int, dict]:
    code = main(["gpus", *FLAGS, "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_every_card_is_ranked_as_it_is_estimated_alone():
    made = rank(RECIPE, uniform(100, 1000, RECIPE))
    assert {one.gpu.name for one in made} == set(gpus())
    for one in made:
        assert one.estimate.to_dict() == estimate(RECIPE, one.gpu).to_dict()


@pytest.mark.parametrize("sort", SORTS)
def test_the_order_is_the_one_asked_for_and_what_does_not_fit_comes_last(sort):
    recipe = RECIPE.replace(method="full", max_length=4096)  # too much for one of most cards
    made = rank(recipe, uniform(100, 1000, recipe), sort=sort)
    keys = [ORDERS[sort](one) for one in made]
    assert keys == sorted(keys)
    fits = [one.devices is not None for one in made]
    assert fits == sorted(fits, reverse=True) and {True, False} == set(fits)


def test_json_gives_every_figure_with_its_range_and_why(capsys):
    code, data = asked(capsys, *DATA)
    assert code == 0 and len(data["gpus"]) == len(gpus())
    assert data["dataset"]["as_trained"] == {
        "rows": 20_000,
        "dropped_rows": 0,
        "tokens": 20_000_000,
        "padded_tokens": 20_000_000,
        "steps": 5000,
        "wasted": 0,
    }
    first = data["gpus"][0]
    assert first["memory"]["fits"] and first["devices"] == 1
    hours, rent = first["throughput"]["hours"], first["cost"]["rents"][0]
    assert hours["low"] < hours["central"] < hours["high"] and rent["usd"]["high"] == pytest.approx(
        hours["high"] * rent["usd_per_hour"]
    )
    assert rent["as_of_date"] and all(note["text"] for note in first["throughput"]["why"] + first["cost"]["why"])


def test_budget_rent_and_buy_filter(capsys):
    _, everything = asked(capsys, *DATA)
    price = sorted(
        one["cost"]["rents"][0]["usd"]["central"]
        for one in everything["gpus"]
        if one["cost"]["rents"] and one["throughput"]["hours"]
    )[3]
    _, within = asked(capsys, *DATA, "--budget", f"{price + 1e-9}", "--rent")
    assert within["gpus"] and all(one["cost"]["rents"][0]["usd"]["central"] <= price + 1e-9 for one in within["gpus"])
    _, bought = asked(capsys, "--budget", "5000", "--buy")
    assert bought["gpus"] and all(one["cost"]["purchase_usd"] <= 5000 for one in bought["gpus"])
    code, nothing = asked(capsys, "--budget", "1", "--buy")
    assert code == 3 and nothing["gpus"] == []


def test_lengths_show_what_order_and_packing_would_change(capsys, tmp_path):
    path = tmp_path / "lengths"
    path.write_text("\n".join(["100", "900", "500", "1500"] * 50))
    _, data = asked(capsys, "--lengths", str(path))
    ways = data["dataset"]
    assert ways["as_trained"]["dropped_rows"] == 50
    assert ways["packed"]["padded_tokens"] < ways["by_length"]["padded_tokens"] < ways["as_trained"]["padded_tokens"]
    assert main(["gpus", *FLAGS, "--lengths", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "50 longer rows dropped" in shown and "packed" in shown


def test_a_recipe_file_is_what_for_reads(capsys, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(f'model = "{ID}"\nmethod = "lora"\nmax_length = 512\n')
    assert main(["gpus", "--for", str(path), "--rows", "100", "--hours-per-month", "40", "--usd-per-kwh", "0.3"]) == 0
    shown = capsys.readouterr().out
    assert "512 tokens" in shown and "cards fit" in shown and "Electricity is not counted" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "0"], ("rows:", "0", "1 to")),
        (["--rows", "many"], ("rows:", "many", "a whole number")),
        (["--rows", "10", "--tokens-per-row", "2000"], ("tokens_per_row:", "2,000", "1,000")),
        (["--tokens-per-row", "10"], ("rows:", "a value is needed")),
        (["--lengths", "/no/such"], ("lengths:", "/no/such")),
        (["--lengths", __file__, "--rows", "5"], ("lengths:", "line 1")),
        (["--budget", "-1"], ("budget:", "-1", "above 0")),
        (["--budget", "x"], ("budget:", "x", "a number")),
        (["--budget", "5"], ("rows:", "--buy")),
        (["--usd-per-kwh", "nan"], ("usd_per_kwh:", "nan")),
        (["--rent", "--buy"], ("--buy", "--rent")),
        (["--sort", "colour"], ("--sort", "colour")),
        (["--gpu", "RTX 4090", "--compare", "RTX 5090"], ("gpu:", "RTX 4090")),
        (["--r", "0"], ("r:", "0")),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line(words, said, capsys):
    assert main(["gpus", *FLAGS, *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(part in error for part in said)


def test_a_card_that_is_too_small_alone_is_counted_in_several():
    recipe = Recipe(model="meta-llama/Llama-3.1-70B", max_length=4096, per_device_train_batch_size=1)
    found = {one.gpu.name: one for one in rank(recipe)}
    card = found["GeForce RTX 4090"]
    spread = recipe.replace(num_processes=card.devices, distributed_type="fsdp", bnb_4bit_quant_storage=recipe.dtype)
    assert card.devices > 1 and not card.estimate.fits
    assert estimate(spread, card.gpu).device_bytes == card.sharded.device_bytes
    assert not estimate(spread.replace(num_processes=card.devices // 2), card.gpu).fits
    assert found["A100 SXM4 80GB"].devices == 1 and found["A100 SXM4 80GB"].sharded is None
    assert {one.devices for one in found.values() if one.gpu.vendor == "Apple" or one.gpu.is_laptop} <= {1, None}


def test_what_has_no_kernels_on_a_card_does_not_fit_it():
    for method, fits in (("qlora", False), ("lora", True)):
        found = next(one for one in rank(RECIPE.replace(method=method)) if one.gpu.name == "Apple M1 Max")
        assert found.estimate.fits is fits and bool(found.devices) is fits


@pytest.mark.parametrize(
    "conditions", [{"system": "windows-desktop"}, {"mig": "3g.40gb"}, {"system": "macos"}, {"gpu_memory": 80.0}]
)
def test_cards_under_a_system_and_slices_of_them_are_ranked_as_they_are_estimated_alone(conditions):
    recipe = Recipe(model=ID, method="lora")
    made, stated = rank(recipe, conditions=Conditions(**conditions)), Conditions(**conditions)
    assert 0 < len(made) < len(gpus())
    for one in made[:: max(1, len(made) // 10)]:
        whole = one.gpu.name.partition(" MIG ")[0]
        assert one.estimate.to_dict() == estimate(recipe, whole, **stated.options).to_dict()
        assert one.devices in (None, 1) or stated.system is None
        assert not stated.mig or one.throughput.tokens_per_second is None


def test_a_system_a_slice_or_a_size_that_no_card_has_is_refused_by_name(capsys):
    for flag, value in (("--system", "beos"), ("--mig", "9g.9gb"), ("--gpu-memory", "7.5"), ("--gpu-memory", "much")):
        assert main(["gpus", *FLAGS, flag, value]) == 2
        assert flag.removeprefix("--").replace("-", "_") + ":" in capsys.readouterr().err
    code, said = asked(capsys, "--mig", "3g.40gb")
    assert code in (0, 3) and said["mig"] == "3g.40gb" and all("MIG 3g.40gb" in card["gpu"] for card in said["gpus"])
