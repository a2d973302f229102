"""`python -m tests.pictures [tabs] [questions]`: retake the README's pictures: of the tabs, from a real run on the
sample data, and of its three questions answered on the Estimate tab, each in a fresh browser, with the time that it
took."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from studio import shipped
from tests.chromium import launch
from tests.e2e.driving import choose, number, open_page, open_tab, unfold, wait_for_text
from tests.serving import Studio

TARGET = Path(__file__).parent.parent / "assets" / "pictures"


def main(wanted: list[str]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, launch() as browser:
        studio = Studio(Path(folder) / "home").wait()
        try:
            if not wanted or "tabs" in wanted:
                walk(open_page(browser, studio.url, height=900))
            for name, answered in QUESTIONS.items() if not wanted or "questions" in wanted else ():
                start, page = time.monotonic(), open_page(browser, studio.url, height=900)
                shown = answered(page)
                print(f"{name}: answered after {time.monotonic() - start:.1f} s")
                page.locator(shown).scroll_into_view_if_needed()
                take(page, name, at_top=False)
        finally:
            studio.stop()


def walk(page: Any) -> None:
    """The loop of the README, a picture of each tab when it has something to show."""
    wait_for_text(page, "#estimate-picture .ls-verdict", "Fits")
    take(page, "estimate")
    open_tab(page, "dataset")
    page.click("#dataset-use-sample")
    wait_for_text(page, "#dataset-rows", "Ahoy", seconds=120)
    take(page, "dataset")
    open_tab(page, "train")
    page.click("#train-start")
    wait_for_text(page, "#train-run", "Finished", seconds=300)
    take(page, "train")
    page.click("#train-chat")
    number(page, "chat-temperature", 0)
    rows = (shipped.samples() / "heldout.en.jsonl").read_text(encoding="utf-8").splitlines()
    for row in rows[:2]:
        page.fill("#chat-prompt textarea", json.loads(row)["prompt"])
        page.click("#chat-send")
        expect(page.locator("#chat-panes .ls-answer[data-pane=adapter] .ls-text").last).to_contain_text(
            "Fair winds", timeout=120_000
        )
        expect(page.locator("#chat-send")).to_be_visible(timeout=120_000)
        expect(page.locator("#chat-stop")).to_be_hidden(timeout=120_000)
    take(page, "chat")
    open_tab(page, "runs")
    page.locator("#runs-table button[data-run]").first.click()
    wait_for_text(page, "#runs-detail", "Finished")
    take(page, "runs")


def does_it_fit(page: Any) -> str:
    """A 24 GB card and an 8B model at 8k context: the page opens with both, so two numbers are left."""
    number(page, "estimate-max_length", 8192)
    number(page, "estimate-per_device_train_batch_size", 1)
    wait_for_text(page, "#estimate-counts", "1 × 8,192 tokens")
    return "#estimate-picture"


def the_cheapest_full_tune(page: Any) -> str:
    """A 3B model on 20,000 rows of 1,000 tokens, once through."""
    choose(page, "estimate-model", "meta-llama/Llama-3.2-3B")
    page.locator("#estimate-picture [role=radio]", has_text="Full").click()
    number(page, "estimate-max_length", 1000)
    number(page, "estimate-per_device_train_batch_size", 4)
    unfold(page, "advanced", "group-step")
    choose(page, "estimate-optim", "adamw_bnb_8bit")
    number(page, "estimate-num_train_epochs", 1)
    wait_for_text(page, "#estimate-counts", "4 × 1,000 tokens")
    unfold(page, "panel-cards")
    page.locator("#estimate-rows").locator("input, textarea").fill("20000")
    page.click("#estimate-sort input")
    page.get_by_role("option", name="cost", exact=True).click()
    wait_for_text(page, "#estimate-cards", "20,000 rows of 1,000 tokens, 1 × through")
    expect(page.locator("#estimate-cards tbody tr").first).to_contain_text("RTX 4090")
    return "#estimate-cards tbody tr:nth-child(3)"


def how_many_cards(page: Any) -> str:
    """QLoRA of a 70B model at 4k: one large card, or how many of a small one."""
    choose(page, "estimate-model", "meta-llama/Llama-3.1-70B")
    number(page, "estimate-max_length", 4096)
    number(page, "estimate-per_device_train_batch_size", 1)
    wait_for_text(page, "#estimate-counts", "1 × 4,096 tokens")
    unfold(page, "panel-cards")
    wait_for_text(page, "#estimate-cards tr[data-card='GeForce RTX 4090']", "cards (FSDP2)")
    return "#estimate-cards tr[data-card='GeForce RTX 4090']"


QUESTIONS: dict[str, Callable[[Any], str]] = {
    "question-fit": does_it_fit,
    "question-cost": the_cheapest_full_tune,
    "question-cards": how_many_cards,
}


def take(page: Any, name: str, at_top: bool = True) -> None:
    if at_top:
        page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1500)  # fonts and the last repaint
    page.screenshot(path=TARGET / f"{name}.png")
    print(f"{name}.png: {(TARGET / f'{name}.png').stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
