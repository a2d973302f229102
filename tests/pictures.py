"""`python -m tests.pictures`: retake the README's pictures from a real run on the sample data."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from studio import paths
from tests.chromium import launch
from tests.e2e.driving import number, open_page, open_tab, wait_for_text
from tests.serving import Studio

TARGET = Path(__file__).parent.parent / "assets" / "pictures"


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, launch() as browser:
        studio = Studio(Path(folder) / "home").wait()
        try:
            walk(open_page(browser, studio.url, height=900))
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
    rows = (paths.samples() / "heldout.en.jsonl").read_text(encoding="utf-8").splitlines()
    for row in rows[:2]:
        page.fill("#chat-prompt textarea", json.loads(row)["prompt"])
        page.click("#chat-send")
        expect(page.locator("#chat-panes .ls-answer[data-pane=adapter] .ls-text").last).to_contain_text("Fair winds", timeout=120_000)
        expect(page.locator("#chat-send")).to_be_visible(timeout=120_000)
        expect(page.locator("#chat-stop")).to_be_hidden(timeout=120_000)
    take(page, "chat")
    open_tab(page, "runs")
    page.locator("#runs-table button[data-run]").first.click()
    wait_for_text(page, "#runs-detail", "Finished")
    take(page, "runs")


def take(page: Any, name: str) -> None:
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1500)  # fonts and the last repaint
    page.screenshot(path=TARGET / f"{name}.png")
    print(f"{name}.png: {(TARGET / f'{name}.png').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
