"""What a link asks is what *Train this* trains: fields without a control arrive, are shown, can be set back, and are in
the run and its adapter."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from estimator.estimates.take_away import query
from estimator.recipe.recipe import Recipe
from studio.jobs.supervisor import Supervisor
from studio.models.find import EMBEDDED_ID
from studio.space import Space
from tests.chromium import launch
from tests.e2e.driving import number, open_page, open_tab, wait_for_text
from tests.studio.run_helpers import ended, until

pytestmark = pytest.mark.browser
PATTERNS = {
    "rank_pattern": {"q_proj": 4},
    "alpha_pattern": {"q_proj": 4},
    "layers_to_transform": [0],
    "init_lora_weights": "gaussian",
}
ASKED = Recipe(
    model=EMBEDDED_ID, method="lora", dtype="float32", max_length=128, max_steps=1, target_modules=["q_proj", "v_proj"],
    num_processes=2, **PATTERNS,
)  # fmt: skip


def test_a_link_is_trained_whole_and_trained_again(studio):
    with launch() as browser:
        page = open_page(browser, f"{studio.url}/?tab=dataset&{query(ASKED, 'RTX 4090')}")
        page.click("#dataset-use-sample")
        wait_for_text(page, "#dataset-summary", "kept", seconds=120)
        open_tab(page, "estimate")
        page.click("#estimate-train")
        for name in (*PATTERNS, "num_processes"):
            expect(page.locator(f"#train-{name}")).to_contain_text(f"{name} = ")
        expect(page.locator("#train-num_processes")).to_have_attribute(
            "data-problem", "✕ " + page.locator("#train-problem [data-field]").inner_text().removeprefix("✕ ")
        )
        page.click("#train-num_processes button")
        expect(page.locator("#train-num_processes")).to_have_count(0)
        number(page, "train-lora_alpha", 8)
        page.click("#train-start")
        wait_for_text(page, "#train-problem", "Predicted for this machine", seconds=120)
        runs = Supervisor(Space(studio.home))
        (view,) = runs.list()
        trained = ASKED.replace(num_processes=1, lora_alpha=8)
        assert json.loads((view.folder / "recipe.json").read_text()) == {"format": 1, **trained.to_dict()}

        view = until(runs, view.id, ended)
        assert view.status == "finished", view.run.log.read_text()[-2000:]
        config = json.loads((view.folder / "adapter" / "adapter_config.json").read_text())
        assert {
            name: config[name] for name in ("rank_pattern", "alpha_pattern", "layers_to_transform", "init_lora_weights")
        } == PATTERNS

        page.click("#train-also [data-set-back='*']")
        expect(page.locator("#train-also li")).to_have_count(0)
        open_tab(page, "runs")
        page.click(f"#runs-table [data-run='{view.id}']")
        page.click("#runs-again")
        expect(page.locator("#train-also li")).to_have_count(len(PATTERNS))
        expect(page.locator("#train-lora_alpha input")).to_have_value("8")
        assert page.script_errors == []
