"""The path of messy files: what a stranger brings is read and counted, what is too long is theirs to cut; a big file
can be cancelled and holds up nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.datasets.store import DatasetStore
from studio.i18n import strings
from tests.chromium import launch
from tests.e2e.driving import PATIENCE_MS, number, open_page, open_tab, upload, wait_for_text
from tests.studio.dataset_helpers import chat

pytestmark = pytest.mark.browser
CASES = Path(__file__).parents[1] / "studio" / "cases"
VARIANTS = [(width, lang) for width in (1440, 390) for lang in ("en", "zh-CN")]
BIG_BYTES = 45_000_000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of two shapes with rows that are too long and one without an answer."""
    folder = tmp_path_factory.mktemp("files")
    short = [{"instruction": f"What is {n}?", "output": f"It is {n}."} for n in range(100)]
    long = [{"instruction": "Tell me all.", "output": "Arlen lies by the sea. " * 200}] * 20
    other = [{"messages": chat("What else?", "Nothing.")["messages"]}] * 30
    rows = [long[0], short[0], {"instruction": "no answer"}, *short[1:], *long[1:], *other]
    (folder / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    line = json.dumps({"instruction": "What is the name?", "output": "It is called Arlen."}) + "\n"
    (folder / "big.jsonl").write_text(line * (BIG_BYTES // len(line)), encoding="utf-8")
    return folder


def figures(text: str) -> list[int]:
    return [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*", text)]


def counts(page: Page) -> dict[str, int]:
    """What the head says: rows read, for training, for validation; kept, dropped, changed."""
    said = page.locator("#dataset-summary .ls-data-head > p").first.inner_text()
    read, train, held = figures(said.split("JSONL", 1)[1])
    kept, dropped, changed = (figures(one)[0] for one in page.locator("#dataset-summary dd").all_inner_texts())
    return {"read": read, "train": train, "eval": held, "kept": kept, "dropped": dropped, "changed": changed}


def add_up(found: dict[str, int]) -> bool:
    return found["read"] == found["kept"] + found["dropped"] and found["kept"] == found["train"] + found["eval"]


@pytest.mark.parametrize("width, lang", VARIANTS)
def test_messy_files_are_counted_and_cut_by_choice(studio, files, width, lang):
    words = strings(lang)
    with launch() as browser:
        page = open_page(browser, f"{studio.url}?tab=dataset&lang={lang}", width=width)

        expect(page.locator("#dataset-summary .ls-empty, #dataset-summary h2")).to_be_visible()
        upload(page, CASES / "excel_utf16.csv")
        wait_for_text(page, "#dataset-summary h2", "excel_utf16.csv")
        page.locator("#dataset-rows .ls-row").first.wait_for(
            timeout=3 * PATIENCE_MS
        )  # the first rows bring the libraries
        upload(page, CASES / "no_header.csv")
        wait_for_text(page, "#dataset-problem", "no_header.csv")

        upload(page, files / "mixed.jsonl")
        wait_for_text(page, "#dataset-summary h2", "mixed.jsonl")
        expect(page.locator("#dataset-excess table")).to_be_visible()
        found = counts(page)
        assert add_up(found) and found["read"] == 151 and found["dropped"] == 1 + 20
        others = page.locator("#dataset-summary").inner_text()  # those of another shape are read too
        assert 30 in figures(others) and words["dataset.shape_openai"] in others
        shown = [figures(one)[0] for one in page.locator("#dataset-rows .ls-row h4").all_inner_texts()]
        place = page.locator("#dataset-rows .ls-rows-head .ls-note").inner_text()
        assert {shown[0], shown[-1]} <= set(figures(place)) and 3 not in shown  # row 3 has no answer
        first = page.locator("#dataset-rows .ls-row").first
        expect(first.locator(".ls-row-dropped")).to_be_visible()
        assert first.locator(".ls-trained").count() == 0

        page.locator("#dataset-excess_length_strategy label", has_text=words["recipe.excess_split"]).click()
        expect(first.locator(".ls-row-part").first).to_be_visible()
        found = counts(page)
        assert add_up(found) and found["kept"] == 150 and first.locator("mark.ls-trained").count() > 0
        expect(page.locator("#dataset-excess .ls-chosen")).to_contain_text("100 %")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        open_tab(page, "train")
        page.locator("#ls-tab-train").get_by_role("button", name=words["train.advanced"]).click()
        expect(page.locator("#train-excess_length_strategy input[value=split]")).to_be_checked()  # handed over
        assert page.script_errors == [] and page.other_hosts == []


def test_a_big_file_is_cancelled_and_other_tabs_go_on_meanwhile(studio, files):
    words, store = strings("en"), DatasetStore(studio.home / "datasets")
    with launch() as browser:
        page = open_page(browser, f"{studio.url}?tab=dataset&lang=en")
        before = {info.id for info in store.list()}
        upload(page, files / "big.jsonl")
        page.locator("#dataset-progress progress[value]").wait_for(timeout=PATIENCE_MS)
        open_tab(page, "estimate")
        number(page, "estimate-r", 48)
        wait_for_text(page, "#estimate-counts", "125,829,120 of 8,030,261,248")
        open_tab(page, "dataset")
        page.click("#dataset-cancel")
        wait_for_text(page, "#dataset-problem", words["problem.dataset.cancelled"].format(file="big.jsonl"))
        assert {info.id for info in store.list()} == before
        assert page.script_errors == [] and page.other_hosts == []
