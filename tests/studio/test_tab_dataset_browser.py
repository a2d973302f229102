"""The Dataset tab in a real browser: a file, a bad file, a file too large, delete and undo, in both languages."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from studio.datasets.source import upload_limit_bytes
from tests.chromium import launch
from tests.e2e.driving import number, open_page, type_choice, upload, wait_for_text
from tests.studio.dataset_helpers import CHATML, base_folder

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = base_folder(str(tmp_path_factory.mktemp("dataset-base") / "base"), CHATML)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def test_a_file_then_bad_ones_then_delete_and_undo(studio, base, tmp_path):
    good, bad, huge = tmp_path / "good.json", tmp_path / "bad.jsonl", tmp_path / "huge.jsonl"
    evil = "<img src=x onerror=\"document.title='hacked'\">"
    rows = [{"instruction": f"Question {i} {evil}", "output": "Arlen. " * i} for i in range(1, 40)]
    good.write_text(json.dumps([*rows, {"instruction": "no answer"}]))
    bad.write_text("\n".join(['{"instruction": '] * 20))
    with huge.open("wb") as sparse:
        sparse.truncate(2 * upload_limit_bytes(tmp_path))

    with launch() as browser:
        page = open_page(browser, f"{studio.url}?tab=dataset&lang=en")
        page.fetched = []
        page.on("request", lambda request: page.fetched.append(request.url))
        expect(page.locator("#dataset-summary")).to_contain_text("No dataset yet")
        type_choice(page, "dataset-base", str(base))
        upload(page, good)
        wait_for_text(page, "#dataset-summary h2", "good.json")
        expect(page.locator("#dataset-rows .ls-row")).to_have_count(5)
        counts = page.locator("#dataset-summary dd")
        expect(counts).to_have_text(["39", "1", "0"])
        expect(page.locator("#dataset-rows .ls-row mark.ls-trained").first).to_contain_text("Arlen.")
        expect(page.locator("#dataset-rows")).to_contain_text(evil)
        assert page.locator("#dataset-rows img").count() == 0 and page.title() == "LoRA Studio"
        plotly = lambda: [url for url in page.fetched if "Plotly" in url]  # noqa: E731
        assert plotly() == []  # 4.6 MB, for those who come to a chart
        page.click("#dataset-view-lengths-button")
        expect(page.locator("#dataset-chart .barlayer .point").first).to_be_visible()
        assert len(plotly()) == 1

        number(page, "dataset-max_length", 100)
        expect(page.locator("#dataset-chart .annotation-text")).to_contain_text("100")
        page.locator("#dataset-chart .barlayer .point").first.hover(force=True)
        expect(page.locator("#dataset-chart .hoverlayer")).to_contain_text("rows")
        kept, dropped, _ = (int(text) for text in counts.all_inner_texts())
        assert kept + dropped == 40 and dropped > 1

        upload(page, bad)
        wait_for_text(page, "#dataset-problem", "bad.jsonl")
        upload(page, huge)
        wait_for_text(page, "#dataset-problem", "huge.jsonl has ")
        expect(page.locator("#dataset-summary h2")).to_have_text("good.json")

        page.click("#dataset-view-rows-button")
        number(page, "dataset-max_length", 256)
        page.fill("#dataset-finder input[type=search]", "question 9 ")
        page.press("#dataset-finder input[type=search]", "Enter")
        expect(page.locator("#dataset-rows .ls-row")).to_have_count(1)
        page.click("#dataset-rows button[data-do=edit]")
        page.locator("#dataset-editor textarea").last.fill(f"Written {evil}")
        page.click("#dataset-editor button[data-do=save]")
        wait_for_text(page, "#dataset-problem", "new version")
        expect(page.locator("#dataset-rows")).to_contain_text(f"Written {evil}")
        assert page.locator("#dataset-rows img, #dataset-editor img").count() == 0 and page.title() == "LoRA Studio"
        page.click("#dataset-desk details[data-fold=versions] summary")
        page.click("#dataset-desk button[data-do=show]")
        wait_for_text(page, "#dataset-desk", "Version 1 of 2 is shown")
        expect(page.locator("#dataset-rows")).not_to_contain_text("Written")
        page.click("#dataset-desk button[data-do=show]")
        wait_for_text(page, "#dataset-desk", "Version 2 of 2 is shown")

        page.click("#dataset-delete")
        wait_for_text(page, "#dataset-desk", "Version 1 of 1 is shown")
        page.click("#dataset-delete")
        wait_for_text(page, "#dataset-summary", "No dataset yet")
        page.click("#dataset-undo")
        wait_for_text(page, "#dataset-summary h2", "good.json")
        assert page.script_errors == []
        assert [file for file in (studio.home / "uploads").rglob("*") if file.is_file() and file.stat().st_size] == []

        page.goto(f"{studio.url}?tab=dataset&lang=zh-CN")
        wait_for_text(page, "#dataset-summary", "丢弃")
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
