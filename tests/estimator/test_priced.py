"""Time and money: a chosen number of cards under every strategy, own or rent, what the command line says of them."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from estimator import Problem, Recipe, estimate, find_gpu
from estimator.advice.priced import compared, counted, owned_counts, priced, ranked
from estimator.advice.rank_table import Filter, figures, to_csv, vendors
from estimator.advice.recommend import Wish, recommend
from estimator.advice.together import spread
from estimator.cli import cli, gpus_command
from estimator.cost.efficiency import efficiency_of
from estimator.cost.money import offers
from estimator.recipe.costing import Costing
from estimator.recipe.distributed import DISTRIBUTED_TYPES

ID = "Qwen/Qwen2.5-32B"
RECIPE = Recipe(model=ID, num_train_epochs=1, max_length=1024)
COSTING = Costing(rows=50_000, tokens_per_row=600)
CARDS = ("GeForce RTX 5090", "GeForce RTX 4090", "H100 SXM5 80GB", "Apple M2 Ultra")


@pytest.mark.parametrize("kind", DISTRIBUTED_TYPES)
def test_every_strategy_of_a_recipe_has_hours_and_money(kind):
    method = "lora" if kind == "tp" else "qlora"
    recipe = spread(RECIPE.replace(method=method, gradient_accumulation_steps=4), 4, kind)
    for card in CARDS[:3]:
        made = priced(recipe, card, COSTING)
        assert made.estimate.to_dict() == estimate(recipe, card).to_dict()
        hours, usd = made.throughput.hours, made.cost.run_usd
        assert 0 < hours.low <= hours.central <= hours.high and usd.central > 0 and made.count == 4
        assert made.devices == (4 if made.estimate.fits else None) and made.recipe == recipe
        alone = priced(recipe.replace(num_processes=1), card, COSTING).throughput.hours
        assert hours.low > alone.low / 4 * 0.99, "four cards are no more than four times as fast"
        assert hours.central < alone.central or kind in ("fsdp", "zero3", "tp"), "and sending takes less than it saves"


@pytest.mark.parametrize("count", range(1, 9))
def test_a_chosen_count_is_the_estimate_and_the_price_of_that_many(count):
    for card in CARDS[:3]:
        made = priced(RECIPE, card, Costing(rows=50_000, devices=count))
        assert made.recipe.num_processes == made.count == count
        assert made.estimate.to_dict() == estimate(made.recipe, card).to_dict()
        assert made.cost.purchase_usd == (
            count * find_gpu(card).launch_msrp_usd if find_gpu(card).launch_msrp_usd else None
        )
        assert made.cost.run_usd.central == pytest.approx(
            made.throughput.hours.central * made.cost.cheapest.offer.usd_per_hour
        )
        energy, hours = made.throughput.energy_kwh, made.throughput.hours
        assert energy.low == pytest.approx(hours.low * count * find_gpu(card).tdp_w / 1000)


def test_the_way_is_the_first_that_fits_and_says_why():
    two = Costing(rows=1000, devices=2)
    assert priced(RECIPE, "RTX 5090", two).recipe.distributed_type == "ddp"
    small = priced(RECIPE, "RTX 4090", two)
    assert not estimate(spread(RECIPE, 2, "ddp"), "RTX 4090").fits and small.estimate.fits
    assert small.recipe == spread(RECIPE, 2, "fsdp") and small.strategy.code == "why.several_fsdp"
    eight_bit = RECIPE.replace(method="full", optim="adamw_bnb_8bit")
    assert priced(eight_bit, "H100 SXM5", Costing(devices=8)).strategy.code == "why.several_zero3"
    assert priced(RECIPE.replace(quantization="int8"), "RTX 4090", two).strategy.code == "why.several_pp"
    asked = priced(spread(RECIPE, 2, "zero3"), "RTX 4090", Costing(rows=1000))
    assert asked.strategy.code == "why.several_asked" and asked.recipe.distributed_type == "zero3"


def test_what_has_no_answer_is_refused_by_name():
    alone = priced(RECIPE, "Apple M2 Ultra", Costing(rows=1000, devices=2))
    assert alone.devices is None and alone.throughput.hours is None
    assert "gpu.alone" in {note.code for note in alone.estimate.warnings}
    offloaded = spread(RECIPE, 2, "fsdp").replace(offload_param_device="cpu")
    made = priced(offloaded, "RTX 4090", Costing(rows=1000))
    assert made.throughput.hours is None and made.throughput.why[0].code == "time.offloaded"
    assert made.estimate.to_dict() == estimate(offloaded, "RTX 4090").to_dict()
    for costing, field in (({"devices": 9}, "devices"), ({"devices": 0}, "devices"), ({"rows": 0}, "rows"),
                           ({"tokens_per_row": 5}, "rows"), ({"owned": ["no such"]}, "owned"),
                           ({"owned": ["9 x RTX 4090"]}, "owned"),
                           ({"compare": ["a", "b", "c", "d"]}, "compare")):  # fmt: skip
        with pytest.raises(Problem) as said:
            priced(RECIPE, "RTX 4090", Costing(**costing))
        assert said.value.field == field
    with pytest.raises(Problem) as said:  # 40 heads over 3 devices
        priced(RECIPE.replace(method="lora", num_processes=3, distributed_type="tp"), "H100 SXM5", COSTING)
    assert said.value.field == "num_processes"


def test_several_cards_are_rented_by_the_card_only_where_a_provider_does():
    made = priced(RECIPE, "RTX 4090", Costing(rows=1000, devices=2)).cost
    single = {offer.provider: offer for offer in offers()["GeForce RTX 4090"] if offer.gpu_count == 1}
    assert {rent.offer.provider for rent in made.rents} == {"RunPod", "Akash"}, "OpenRelay is not known to rent two"
    for rent in made.rents:
        assert rent.offer.by_the_card and rent.offer.usd_per_hour in {
            2 * offer.usd_per_hour for offer in offers()["GeForce RTX 4090"] if offer.provider == rent.offer.provider
        }
    assert "OpenRelay" in single and "money.by_the_card" in {note.code for note in made.why}


def test_own_buy_or_rent_is_said_plainly():
    owned = Costing(rows=50_000, owned=["RTX 3090"], usd_per_kwh=0.3)
    card = find_gpu("RTX 3090")
    mine = priced(RECIPE.replace(model="meta-llama/Llama-3.1-8B"), card, owned)
    assert mine.cost.way == "own" and [said.code for said in mine.cost.answer] == ["answer.own"]
    assert mine.cost.run_usd.central == pytest.approx(mine.throughput.hours.central * card.tdp_w / 1000 * 0.3)
    unpriced = priced(RECIPE, card, Costing(rows=50_000, owned=["RTX 3090"]))
    assert unpriced.cost.run_usd is None and unpriced.cost.answer[0].code == "answer.own_unpriced"
    two = priced(RECIPE, card, Costing(rows=50_000, owned=["RTX 3090"], devices=2))
    assert two.cost.way == "rent", "one card is not two"
    assert priced(RECIPE, card, Costing(rows=50_000, owned=["2 x RTX 3090"], devices=2)).cost.way == "own"
    rented = priced(RECIPE, card, Costing(rows=50_000))
    assert [said.code for said in rented.cost.answer] == ["answer.rent", "answer.even_runs"]
    assert rented.cost.run_usd == rented.cost.cheapest.usd
    long = priced(RECIPE, card, Costing(rows=100_000_000))
    assert long.cost.way == "buy" and long.throughput.hours.central > long.cost.break_even_hours


def test_where_in_its_range_a_time_lies_is_that_of_the_table():
    kinds = {"RTX 4090": "card", "RTX 5090": "family", "RTX A6000": None, "Apple M2 Ultra": "rated"}
    for name, kind in kinds.items():
        share = efficiency_of(find_gpu(name))
        assert kind is None or share.basis == kind
        hours = priced(RECIPE.replace(model="meta-llama/Llama-3.1-8B", method="lora"), name, COSTING).throughput
        if hours.hours:
            place = (hours.hours.central - hours.hours.low) / (hours.hours.high - hours.hours.low)
            assert hours.place.params["place"] == f"{place:.0%}" and hours.place.code == f"why.place_{share.basis}"
    assert efficiency_of(find_gpu("RTX 4090")).basis_cards == "GeForce RTX 4090"


@pytest.mark.parametrize(
    "text",
    [
        "2 x RTX 4090",
        "2xRTX 4090",
        "2 × RTX 4090",
        "RTX 4090 x2",
        "2* RTX 4090",
        "2张 RTX 4090",
        " RTX 4090×2 ",
        "两张RTX 4090",
        "dual 4090",
    ],
)
def test_a_count_stands_before_or_behind_a_name(text):
    assert counted(text, "compare") == (2, find_gpu("RTX 4090"))
    assert counted("RTX 4090", "compare")[0] is None and owned_counts(["RTX 4090", text]) == {"GeForce RTX 4090": 2}


def test_three_options_stand_side_by_side_in_their_order():
    asked = Costing(rows=50_000, compare=("1 x RTX 5090", "2 x RTX 4090", "H100 SXM5"))
    made = compared(RECIPE, asked)
    assert [(one.gpu.name, one.count) for one in made] == [(CARDS[0], 1), (CARDS[1], 2), (CARDS[2], 1)]
    for one in made:
        alone = priced(RECIPE, one.gpu, Costing(rows=50_000, devices=one.count))
        assert figures(one) == figures(alone)


def test_the_table_holds_every_figure_of_the_answer():
    made = ranked(RECIPE, COSTING)[:20]
    rows = list(csv.DictReader(io.StringIO(to_csv(made))))
    assert [row["card"] for row in rows] == [one.gpu.name for one in made]
    for row, one in zip(rows, made, strict=True):
        assert (
            float(row["hours_high"]) == one.throughput.hours.high and int(row["device_bytes"]) == one.runs.device_bytes
        )
        assert row["run_usd"] == ("" if one.cost.run_usd is None else str(one.cost.run_usd.central))
        energy = one.throughput.energy_kwh
        assert row["energy_kwh_low"] == ("" if energy is None else str(energy.low)) and row["answer"]


def test_filters_are_the_words_makers_kinds_and_prices():
    everything = ranked(RECIPE, Costing(rows=1000, owned=["RTX 3060 12GB"]))
    kept = lambda **said: [one for one in everything if Filter(**said).takes(one)]  # noqa: E731
    assert {one.gpu.name for one in kept(search="rtx 409")} == {
        "GeForce RTX 4090",
        "GeForce RTX 4090 D",
        "GeForce RTX 4090 Laptop GPU",
    } & {one.gpu.name for one in everything}
    assert {one.gpu.vendor for one in kept(vendors=("amd",))} == {"AMD"} and "AMD" in vendors()
    assert [one.gpu.name for one in kept(way="owned")] == ["GeForce RTX 3060 12GB"]
    assert all(one.gpu.memory_gib >= 80 for one in kept(least_gib=80))
    assert all(one.cost.cheapest.offer.usd_per_hour <= 0.3 for one in kept(most_usd_per_hour=0.3))


FLAGS = ["--model", ID, "--max-length", "1024", "--num-train-epochs", "1"]


def told(capsys, main, *words: str) -> dict:
    assert main([*words, "--json"]) in (0, 3)
    return json.loads(capsys.readouterr().out)


def test_the_command_prices_a_chosen_count_and_says_how(capsys):
    data = told(
        capsys, gpus_command.main, "gpus", *FLAGS, "--rows", "50,000", "--num-processes", "2", "--search", "4090"
    )
    card = next(one for one in data["gpus"] if one["gpu"] == "GeForce RTX 4090")
    assert card["count"] == card["devices"] == 2 and card["strategy"]["distributed_type"] == "fsdp"
    made = priced(RECIPE, "RTX 4090", Costing(rows=50_000, devices=2))
    assert card["throughput"]["hours"] == vars(made.throughput.hours)
    assert card["cost"]["run_usd"] == vars(made.cost.run_usd)
    said = told(capsys, gpus_command.main, "gpus", *FLAGS, "--rows", "50000", "--num-processes", "2",
                "--distributed-type", "ddp", "--search", "4090")  # fmt: skip
    assert next(one for one in said["gpus"] if one["gpu"] == "GeForce RTX 4090")["devices"] is None


def test_the_command_compares_and_writes_a_table(capsys):
    words = [
        "gpus",
        *FLAGS,
        "--rows",
        "50000",
        "--compare",
        "RTX 5090",
        "2 x RTX 4090",
        "H100 SXM5",
        "--owned",
        "RTX 5090",
    ]
    assert gpus_command.main([*words, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["card"], row["cards"], row["way"]) for row in rows] == [
        (CARDS[0], "1", "own"), (CARDS[1], "2", "rent"), (CARDS[2], "1", "rent"),
    ]  # fmt: skip
    assert gpus_command.main(words) == 0
    shown = capsys.readouterr().out
    assert "Own: electricity alone" in shown and "Left out of hours and cost" in shown and "FSDP2" in shown


def test_an_estimate_with_rows_says_time_and_money(capsys, tmp_path):
    words = ["estimate", *FLAGS, "--gpu", "RTX 5090", "--rows", "50000", "--usd-per-kwh", "0.3", "--owned", "RTX 5090"]
    run = told(capsys, cli.main, *words)["run"]
    made = priced(RECIPE, "RTX 5090", Costing(rows=50_000, usd_per_kwh=0.3, owned=["RTX 5090"]))
    assert run["cost"]["run_usd"] == vars(made.cost.run_usd) and run["cost"]["way"] == "own"
    assert cli.main(words) == 0
    assert f"{made.throughput.hours.central:,.2f}" in capsys.readouterr().out
    file = tmp_path / "recipe.toml"
    file.write_text(
        f'model = "{ID}"\nmax_length = 1024\nnum_train_epochs = 1\ngpu = "RTX 5090"\nrows = 50000\nusd_per_kwh = '
        f'0.3\nowned = ["RTX 5090"]\n'
    )
    assert told(capsys, cli.main, "estimate", "--recipe", str(file))["run"] == run
    assert cli.main(["estimate", *FLAGS, "--rows", "10"]) == 2
    assert "gpu:" in capsys.readouterr().err


def test_a_recommendation_takes_a_count_and_what_one_owns():
    fields = {"model": ID, "method": "qlora", "max_length": 1024, "num_train_epochs": 1}
    plans = recommend(fields | {"num_processes": 2}, Wish(rows=50_000, plans=100)).plans
    assert plans and {plan.candidate.count for plan in plans} == {2} == {plan.recipe.num_processes for plan in plans}
    again = recommend(fields, Wish(rows=50_000, devices=2, plans=100)).plans
    assert [plan.to_dict() for plan in again] == [plan.to_dict() for plan in plans]
    mine = recommend(fields, Wish(rows=50_000, owned=["RTX 5090"], usd_per_kwh=0.01, plans=100)).plans
    assert mine[0].candidate.gpu.name == "GeForce RTX 5090" and mine[0].candidate.cost.way == "own"
    for wrong in ({"devices": 9}, {"owned": ["no card"]}, {"usd_per_kwh": -1}):
        with pytest.raises(Problem) as said:
            Wish(rows=5, **wrong)
        assert said.value.field == next(iter(wrong))


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readmes_three_options_are_what_its_command_says(readme, capsys):
    text = (Path(__file__).parent.parent.parent / readme).read_text("utf-8")
    (command,) = re.findall(r"`lora-studio (gpus --model Qwen/Qwen2.5-32B[^`]*)`", text)
    assert gpus_command.main(shlex.split(command)) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    lines = [line for line in text.partition(command)[2].splitlines() if line.startswith("|")][2:5]
    for row, line in zip(rows, lines, strict=True):
        assert row["card"].removeprefix("GeForce ").removesuffix(" 80GB") in line
        for name in ("hours", "hours_low", "hours_high", "run_usd", "run_usd_low", "run_usd_high"):
            assert f"{float(row[name]):.2f}" in line, (name, line)
        assert f"{int(row['device_bytes']) / 2**30:.2f} GiB" in line
