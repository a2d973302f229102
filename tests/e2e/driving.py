"""A hand on the page: open a tab, press a button, wait for what a person would wait for."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


def open_page(browser: Any, url: str, *, width: int = 1440, height: int = 1000, dark: bool = False) -> Page:
    """A page of its own browser context; errors in the page's own scripts, what its policy forbade and requests to
    other hosts are kept for the test to judge."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.script_errors = []
    page.on("pageerror", lambda error: page.script_errors.append(str(error)))
    page.on(
        "console", lambda message: "Content Security Policy" in message.text and page.script_errors.append(message.text)
    )
    page.other_hosts = []
    page.on("request", lambda request: _is_elsewhere(request.url, url) and page.other_hosts.append(request.url))
    page.goto(url)
    page.wait_for_selector("#ls-tabs")
    return page


def _is_elsewhere(asked: str, page_url: str) -> bool:
    """Whether a request leaves the studio; `data:` and `blob:` stay in the browser."""
    parts = urlsplit(asked)
    return bool(parts.netloc) and parts.netloc != urlsplit(page_url).netloc


def open_tab(page: Page, name: str) -> None:
    page.click(f"#ls-tab-{name}-button")
    expect(page.locator(f"#ls-tab-{name}")).to_be_visible()


def number(page: Page, field: str, value: float) -> None:
    """Type into a number field (a slider's too) and leave it."""
    box = page.locator(f"#{field} input[type=number]")
    box.fill(str(value))
    box.press("Tab")


def choose(page: Page, field: str, text: str) -> None:
    """Pick an entry of a dropdown by (part of) its text."""
    page.click(f"#{field} input")
    page.fill(f"#{field} input", text)
    page.locator(f"#{field} [role=option]", has_text=text).first.click()


def type_choice(page: Page, field: str, text: str) -> None:
    """Type a value of one's own into a dropdown."""
    page.fill(f"#{field} input", text)
    page.locator(f"#{field} input").press("Enter")


def unfold(page: Page, *names: str) -> None:
    """Open folded parts of the Estimate tab that are not open."""
    for name in names:
        button = page.locator(f"#estimate-{name} > button")
        if "open" not in (button.get_attribute("class") or ""):
            button.click()


def upload(page: Page, file: Path) -> None:
    """Give a file to the Dataset tab's drop zone."""
    page.set_input_files("#dataset-file input[type=file]", str(file))


def wait_for_text(page: Page, selector: str, text: str, seconds: float = 60) -> None:
    expect(page.locator(selector)).to_contain_text(text, timeout=seconds * 1000)
