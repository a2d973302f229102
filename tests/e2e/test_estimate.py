"""The Estimate tab's controls in a real browser: six for a beginner, the bars as a choice, everything else folded away;
intents, pasted configurations, and a structure that is new. One studio and one page serve all tests of this file, in
order."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.chromium import launch
from tests.e2e.driving import choose, number, open_page, type_choice, unfold, wait_for_text
from tests.estimator.small import CONFIGS

pytestmark = pytest.mark.browser
VERDICT, PROBLEM, COUNTS = "#estimate-picture .ls-verdict", "#estimate-problem", "#estimate-counts"

WATCH_MARK = """() => {
  window.lsMarked = '';
  const look = () => {
    window.lsMarked = document.querySelector('#estimate-approximate')?.textContent || window.lsMarked;
  };
  new MutationObserver(look).observe(document.querySelector('#estimate-picture'), { childList: true, subtree: true });
}"""


@pytest.fixture(scope="module")
def page(studio):
    with launch() as browser:
        page = open_page(browser, studio.url)
        wait_for_text(page, VERDICT, "Fits on GeForce RTX 4090")
        yield page
        assert page.script_errors == []


def paste(page, text):
    unfold(page, "pasting")
    page.fill("#estimate-pasted textarea", text)
    page.click("#estimate-paste")


def test_a_beginner_sees_six_controls(page):
    labels = page.locator("#ls-tab-estimate .ls-left [data-testid='block-info']:visible")
    assert [text.strip() for text in labels.all_inner_texts()] == [
        "Base model",
        "GPU",
        "Rank r",
        "Target modules",
        "Batch size",
        "Sequence length",
    ]
    expect(page.locator("#estimate-advanced > button")).to_contain_text("Advanced (56)")


def test_the_bars_are_a_choice_for_the_keyboard_too(page):
    bars = page.get_by_role("radiogroup", name=re.compile("Method")).get_by_role("radio")
    expect(bars).to_have_count(4)
    page.locator("#estimate-max_length input[type=range]").focus()
    page.locator("#estimate-picture [role=radio][tabindex='0']").focus()
    page.keyboard.press("ArrowUp")
    wait_for_text(page, VERDICT, "Does not fit on GeForce RTX 4090 with Full")
    chosen = page.locator("#estimate-picture [role=radio][aria-checked=true]")
    expect(chosen).to_contain_text("Full")
    expect(chosen).to_be_focused()
    assert chosen.evaluate("(bar) => getComputedStyle(bar).outlineStyle") == "solid"
    page.keyboard.press("Home")
    wait_for_text(page, VERDICT, "Fits on GeForce RTX 4090 with QLoRA 4-bit")
    expect(chosen).to_be_focused()


def test_a_folded_field_changes_the_numbers_and_a_mistake_in_it_is_said(page):
    unfold(page, "advanced", "group-adapters", "group-data")
    box = page.locator("#estimate-rank_pattern").locator("input, textarea")
    box.fill("q_proj=64")
    wait_for_text(page, COUNTS, "54,525,952 of 8,030,261,248")
    box.fill("q_proj=many")
    wait_for_text(page, PROBLEM, "rank_pattern: q_proj=many is not")
    expect(page.locator(COUNTS)).to_contain_text("54,525,952")  # the last good answer stays
    box.fill("")
    wait_for_text(page, COUNTS, "41,943,040 of 8,030,261,248")
    choose(page, "estimate-system", "windows-desktop")
    wait_for_text(page, "#estimate-picture", "the driver moves memory to the host")
    choose(page, "estimate-system", "–")
    expect(page.locator("#estimate-picture")).not_to_contain_text("the driver moves memory to the host")


def test_a_number_beyond_the_slider_is_taken_and_one_beyond_the_field_is_said(page):
    number(page, "estimate-max_length", 65_536)
    wait_for_text(page, COUNTS, "2 × 65,536 tokens")
    expect(page.locator("#estimate-max_length input[type=number]")).to_have_value("65536")
    expect(page.locator(".ls-stale")).to_be_hidden()
    number(page, "estimate-max_length", 2_000_000)
    wait_for_text(page, PROBLEM, "2000000 is out of range. Allowed: 8 to 1,048,576")
    expect(page.locator(".ls-stale")).to_contain_text(
        "2 × 65,536 tokens"
    )  # the picture says that it is not of this number
    number(page, "estimate-max_length", 2048)
    expect(page.locator(PROBLEM)).to_be_empty()


def test_typing_into_a_list_replaces_what_stands_there(page):
    page.click("#estimate-gpu input")
    page.keyboard.type("3060 12")
    page.keyboard.press("Enter")
    wait_for_text(page, VERDICT, "GeForce RTX 3060 12GB")


def test_what_a_name_may_mean_is_chosen_at_its_field(page):
    """Said once where the field is in sight; the buttons at the field are those of the problem."""
    type_choice(page, "estimate-gpu", "3060")
    expect(page.locator("#estimate-gpu div.ls-fault").first).to_contain_text("which differ in memory")
    expect(page.locator("#estimate-problem .ls-choices")).to_be_hidden()
    page.locator("#estimate-gpu .ls-choices button", has_text="8GB").click()
    wait_for_text(page, VERDICT, "GeForce RTX 3060 8GB")
    expect(page.locator(".ls-fault")).to_have_count(0)
    choose(page, "estimate-gpu", "RTX 3060 12GB")
    wait_for_text(page, VERDICT, "GeForce RTX 3060 12GB")


def test_a_reload_and_the_other_language_keep_the_question(page):
    expect(page).to_have_url(re.compile("gpu=GeForce[+]RTX[+]3060[+]12GB"))
    page.click("[data-set-lang='zh-CN']")
    wait_for_text(page, VERDICT, "GeForce RTX 3060 12GB 装得下 QLoRA 4 位")
    expect(page.locator("[data-set-lang][aria-current]")).to_have_text("中文")
    page.click("[data-set-lang='en']")
    wait_for_text(page, VERDICT, "Fits on GeForce RTX 3060 12GB")
    choose(page, "estimate-gpu", "RTX 4090 · 24")
    wait_for_text(page, VERDICT, "Fits on GeForce RTX 4090")
    expect(page).not_to_have_url(re.compile("gpu="))  # what the page opens with needs no words


def test_what_is_wrong_in_a_link_is_said_and_the_rest_is_taken(page, studio):
    other = open_page(
        page.context.browser, f"{studio.url}/?tab=estimate&model=Qwen/Qwen2.5-0.5B&r=0&max_length=512&gpu=H100"
    )
    wait_for_text(other, "#estimate-link", "r: 0 is out of range. Allowed: 1 to 4,096.")
    expect(other.locator("#estimate-link")).to_contain_text(
        "gpu: H100 may be any of these, which differ in memory: H100 SXM5 80GB"
    )
    wait_for_text(other, COUNTS, "Qwen/Qwen2.5-0.5B · 2 × 512 tokens")
    other.click("#estimate-link button")
    expect(other.locator("#estimate-link")).to_be_empty()
    other.context.close()


def test_an_intent_sets_fields_and_says_why(page):
    page.click("#estimate-intents [data-intent=longest_context]")
    expect(page.locator("#estimate-intents [data-why=longest_context]")).to_contain_text(
        "the longest sequence that this card holds"
    )
    expect(page.locator("#estimate-per_device_train_batch_size input[type=number]")).to_have_value("1")
    tokens = page.locator("#estimate-max_length input[type=number]")
    expect(tokens).not_to_have_value("2048")
    assert int(tokens.input_value()) > 8192
    expect(page.locator(VERDICT)).not_to_contain_text("Does not fit")
    page.click("#estimate-intents [data-intent=small_data]")
    expect(page.locator("#estimate-r input[type=number]")).to_have_value("8")
    expect(tokens).to_have_value("2048")  # the longest context is taken back: the order of pressing does not matter
    expect(page.locator("#estimate-intents [aria-pressed=true]")).to_have_text(re.compile("Small data"))
    number(page, "estimate-max_length", 64)
    wait_for_text(page, COUNTS, "× 64 tokens")


def settled(page) -> str:
    """The verdict once the exact law has come."""
    expect(page.locator("#estimate-approximate")).to_have_count(0)
    return page.locator(VERDICT).inner_text()


def test_a_broken_or_unknown_model_is_said_and_the_last_answer_stays(page):
    before = settled(page)
    for text, said in (
        ("{", "is not valid JSON"),
        ("[1]", "not an object"),
        (json.dumps(CONFIGS["llama"] | {"hidden_size": 10**9}), "hidden_size"),
        ("[" * 5000, "is not valid JSON"),
    ):
        paste(page, text)
        wait_for_text(page, PROBLEM, said, seconds=10)
    type_choice(page, "estimate-model", "nobody/nothing")
    wait_for_text(page, PROBLEM, "HF_HUB_OFFLINE", seconds=10)
    assert page.locator(VERDICT).inner_text() == before
    expect(page.locator("#ls-tab-estimate .loader, #ls-tab-estimate .generating")).to_have_count(0)


def test_a_pasted_model_is_counted_marked_as_new_and_then_exact(page):
    page.evaluate(WATCH_MARK)
    paste(page, json.dumps(CONFIGS["llama"]))
    wait_for_text(page, COUNTS, "of 108,992 parameters")
    expect(page.locator("#estimate-model input")).to_have_value(re.compile("config:llama-"))
    expect(page.locator("#estimate-approximate")).to_have_count(0)
    expect(page.locator("#estimate-picture abbr")).to_have_count(0)  # the other bars follow
    assert "its exact memory is being traced" in page.evaluate("lsMarked").lower()
    expect(page.locator(PROBLEM)).to_be_empty()
