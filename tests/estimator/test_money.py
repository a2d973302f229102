"""Money: offers as the file says, the break-even as its definition, unknown as None."""

from __future__ import annotations

from dataclasses import replace

import pytest

from estimator.cost.money import cost, offers
from estimator.cost.throughput import Range
from estimator.hardware.cards import find_gpu, gpus

HOURS, SPEED = Range(8.0, 10.0, 13.0), Range(900.0, 1000.0, 1200.0)
RTX4090, A100 = find_gpu("RTX 4090"), find_gpu("A100 SXM4 80GB")


def test_every_offer_is_dated_sourced_and_of_a_known_card():
    for name, rows in offers().items():
        assert name in gpus()
        for offer in rows:
            assert offer.as_of_date.startswith("20") and offer.source_url.startswith("http") and offer.gpu_count >= 1
            assert offer.usd_per_hour is not None or offer.spot_usd_per_hour is not None


def test_rents_are_the_offers_cheapest_first_for_the_whole_instance():
    made = cost(A100, hours=HOURS, tokens_per_second=SPEED, hours_per_month=100)
    prices = [rent.offer.usd_per_hour for rent in made.rents]
    assert prices == sorted(prices) and len(prices) == sum(
        offer.usd_per_hour is not None for offer in offers()[A100.name]
    )
    rent = made.cheapest
    price = rent.offer.usd_per_hour
    assert rent.usd == Range(8 * price, 10 * price, 13 * price) and rent.usd_per_month == 100 * price
    assert rent.usd_per_million_tokens == pytest.approx(price / 3.6)
    four = cost(A100, 4, hours=HOURS)
    assert {rent.offer.gpu_count for rent in four.rents} <= {4, 8} and four.rents[
        0
    ].usd_per_used_gpu_hour == four.rents[0].offer.usd_per_hour / 4


def test_what_cannot_hold_a_run_is_no_offer():
    named = [gpu for gpu in gpus().values() if "ZeroGPU" in gpu.name]
    assert named and all(not cost(gpu).rents for gpu in named)


def test_break_even_is_where_both_have_cost_the_same():
    made = cost(RTX4090, hours=HOURS, hours_per_month=160, usd_per_kwh=0.30)
    rent = made.cheapest.offer.usd_per_hour
    power = RTX4090.tdp_w / 1000 * 0.30
    assert made.break_even_hours * rent == pytest.approx(made.purchase_usd + made.break_even_hours * power)
    assert made.break_even_months == made.break_even_hours / 160
    assert made.electricity_usd == pytest.approx(power * HOURS.high)
    assert (
        cost(RTX4090).break_even_hours == pytest.approx(made.purchase_usd / rent)
        and cost(RTX4090).break_even_months is None
    )
    assert cost(RTX4090, usd_per_kwh=100.0).break_even_hours is None  # one's own electricity costs more than renting


def test_unknown_stays_none_and_says_so():
    nobody = replace(RTX4090, name="No such card", launch_msrp_usd=None, tdp_w=None)
    made = cost(nobody, hours=HOURS, usd_per_kwh=0.3)
    assert (made.cheapest, made.purchase_usd, made.electricity_usd, made.break_even_hours) == (None,) * 4
    assert {note.code for note in made.why} == {"money.no_offer", "money.no_purchase"}
    assert cost(A100).cheapest.usd is None and cost(A100).cheapest.usd_per_month is None
    assert "money.no_electricity" in {note.code for note in cost(A100).why}


def test_a_market_estimate_is_marked():
    marked = [gpu for gpu in gpus().values() if gpu.launch_msrp_usd and "market estimate" in gpu.notes]
    assert marked and all(cost(gpu).purchase_is_estimate for gpu in marked) and not cost(RTX4090).purchase_is_estimate
    data = cost(RTX4090, hours=HOURS).to_dict()
    assert data["rents"][0]["usd"]["central"] == 10 * data["rents"][0]["usd_per_hour"] and data["why"][0]["text"]
