"""One RTX 5090, two RTX 4090 or a rented H100 for a 32B model and 50,000 rows: hours and money on the page, in a file
and behind a link, the same everywhere. A stranger comes by a link that names the model alone."""

from __future__ import annotations

import csv
import io
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from estimator import Recipe, open_model
from estimator.advice.priced import compared
from estimator.advice.rank_table import figures
from estimator.recipe.costing import Costing
from studio.i18n import t
from tests.chromium import launch
from tests.e2e.driving import open_page, unfold, wait_for_text

pytestmark = pytest.mark.browser
MODEL = "Qwen/Qwen2.5-32B"
OPTIONS = ("RTX 5090", "2 x RTX 4090", "H100 SXM5")
ASKED = Costing(rows=50_000, tokens_per_row=512, usd_per_kwh=0.3, owned=("RTX 5090",), compare=OPTIONS)
RECIPE = Recipe(model=MODEL, num_train_epochs=1, max_length=1024)
ARRIVAL = "tab=estimate&model=Qwen%2FQwen2.5-32B&num_train_epochs=1&max_length=1024"
BESIDE = "#estimate-cards .ls-beside"


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def options():
    """What the estimator itself says."""
    return compared(RECIPE, ASKED, model=open_model(MODEL))


def fill(page, name: str, text: str) -> None:
    page.locator(f"#estimate-{name}").locator("input, textarea").fill(text)


def shown(page) -> dict[str, list[str]]:
    """The comparison's figures as they stand on the page."""
    rows = page.locator(f"{BESIDE} tbody tr").all()
    return {row.locator("td").first.get_attribute("data-figure"): row.locator("td").all_inner_texts() for row in rows}


def download(page, name: str) -> str:
    with page.expect_download() as coming:
        page.click(f"#ls-tab-estimate a[download='{name}']")
    return coming.value.path().read_text("utf-8")


@pytest.mark.parametrize("lang", ["en", "zh-CN"])
@pytest.mark.parametrize("width", [1440, 390])
def test_two_cards_one_or_a_rented_one(browser, studio, options, width, lang):
    page = open_page(browser, f"{studio.url}/?{ARRIVAL}&lang={lang}", width=width)
    wait_for_text(page, "#estimate-counts", MODEL)
    unfold(page, "panel-cards")
    fill(page, "rows", "50,000")
    fill(page, "tokens_per_row", "512")
    fill(page, "usd_per_kwh", "0.3")
    fill(page, "owned", "RTX 5090")
    fill(page, "compare", ", ".join(OPTIONS))
    expect(page.locator(f"{BESIDE} thead th")).to_have_count(3)
    wait_for_text(page, f"{BESIDE} [data-figure=total]:nth-child(2)", t(lang, "estimate.beside_way_own"))
    on_page = shown(page)
    for index, one in enumerate(options):
        for name, value in (
            ("hours", one.throughput.hours),
            ("energy", one.throughput.energy_kwh),
            ("total", one.cost.run_usd),
        ):
            for figure in (value.central, value.low, value.high):
                assert f"{figure:,.2f}" in on_page[name][index]
        assert f"{one.cost.cheapest.offer.usd_per_hour:,.2f}" in on_page["price"][index]
        assert f"{one.runs.device_bytes / 2**30:,.2f} GiB" in on_page["memory"][index]
    assert [one.count for one in options] == [1, 2, 1] and all(one.runs.fits for one in options)
    assert "FSDP2" in on_page["fits"][1] and [one.cost.way for one in options] == ["own", "rent", "rent"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing hangs over the side"

    wanted = [figures(one) for one in options]
    table = list(csv.DictReader(io.StringIO(download(page, "compared.csv"))))
    assert [row["hours"] for row in table] == [str(one["hours"]) for one in wanted]
    assert [row["run_usd_high"] for row in table] == [str(one["run_usd_high"]) for one in wanted]
    unfold(page, "panel-take")
    expect(page.locator("#estimate-take [data-copy=link]")).to_be_visible()
    kept = json.loads(download(page, "estimate.json"))
    assert kept["compared"] == wanted and kept["costing"] == ASKED.stated()
    report = download(page, "estimate.md")
    assert all(
        f"{one['run_usd']:,.2f} ({one['run_usd_low']:,.2f} – {one['run_usd_high']:,.2f})" in report for one in wanted
    )

    link = page.locator("#estimate-take [data-copy=link]").get_attribute("data-text")
    assert page.script_errors == [] and page.other_hosts == []
    page.context.close()
    again = open_page(browser, f"{studio.url}/?{link}&lang={lang}", width=width)
    expect(again.locator(f"{BESIDE} thead th")).to_have_count(3)
    assert shown(again) == on_page
    for name, text in (("rows", "50,000"), ("compare", ", ".join(OPTIONS)), ("owned", "RTX 5090")):
        expect(again.locator(f"#estimate-{name}").locator("input, textarea")).to_have_value(text)
    own = parse_qs(urlsplit(again.url).query)  # the address of the page itself is such a link
    assert {name: own[name] for name in parse_qs(link)} == parse_qs(link) and again.script_errors == []
    again.context.close()
