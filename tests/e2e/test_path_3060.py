"""Which model for the RTX 3060 that one owns: the card is asked for by what is printed on its box, on any screen, in
both languages."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from estimator import Recipe, estimate
from estimator.hub.sources import open_model
from tests.chromium import launch
from tests.e2e.driving import open_page, type_choice, unfold, wait_for_text

pytestmark = pytest.mark.browser
CARD = "GeForce RTX 3060 12GB"
FITS = {"en": "It fits", "zh-CN": "装得下"}


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.mark.parametrize("lang", ["en", "zh-CN"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_owner_of_a_3060_finds_a_model_by_keyboard_and_by_everyday_names(studio, browser, lang, width):
    page = open_page(browser, f"{studio.url}/?lang={lang}", width=width)
    wait_for_text(page, "#estimate-picture", "RTX 4090")

    # "3060" and Enter takes neither card: both are listed, the common one first
    type_choice(page, "estimate-gpu", "3060")
    offered = page.locator("#estimate-gpu [data-choose]")
    expect(offered).to_have_text([f"{CARD} · 12 GiB", "GeForce RTX 3060 8GB · 8 GiB"])
    expect(page.locator("#estimate-gpu input")).to_have_value("3060")
    assert "RTX 3060" not in page.locator("#estimate-picture").inner_text()
    offered.first.focus()
    page.keyboard.press("Enter")
    wait_for_text(page, "#estimate-picture", CARD)
    expect(offered).to_have_count(0)
    expect(page.locator("#estimate-gpu input")).to_have_value(re.compile("3060 12GB"))

    # which models it holds: what the list says is what the estimator says
    unfold(page, "panel-models")
    expect(page.locator("#estimate-models tbody tr")).not_to_have_count(0)
    for name in page.locator("#estimate-models tbody [data-apply]").all_inner_texts():
        assert estimate(Recipe(model=name, max_length=2048), CARD).fits, name

    # a name without owner, in whatever case, is read and said
    type_choice(page, "estimate-model", "qwen2.5 7b instruct")
    wait_for_text(page, "#estimate-picture", "Qwen/Qwen2.5-7B-Instruct")
    expect(page.locator("#estimate-picture")).to_contain_text("qwen2.5 7b instruct")
    made = estimate(Recipe(model="Qwen/Qwen2.5-7B-Instruct", max_length=2048), CARD)
    assert made.fits
    type_choice(page, "estimate-model", "meta-llama/Llama-3.2-3B-Instruct")
    wait_for_text(page, "#estimate-picture", "meta-llama/Llama-3.2-3B-Instruct")
    assert open_model("meta-llama/Llama-3.2-3B-Instruct").id in page.locator("#estimate-picture").inner_text()

    # what only looks like a preset is refused, and what may be meant is a press away
    type_choice(page, "estimate-model", "mistral 7b")
    meant = page.locator("#estimate-model [data-choose]")
    expect(meant.first).to_have_text("mistralai/Mistral-7B-v0.1")
    meant.last.click()
    wait_for_text(page, "#estimate-picture", "mistralai/Mistral-7B-v0.3")
    assert page.script_errors == [] and page.other_hosts == []
    page.context.close()
