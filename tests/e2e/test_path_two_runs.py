"""Two runs compared and the adapter taken home: which of two is better and by how much, and files that work without the
studio."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from playwright.sync_api import expect

from estimator.recipe.recipe import Recipe
from studio import shipped
from studio.i18n import explain, t
from studio.jobs.supervisor import Supervisor
from studio.jobs.train import TrainJob
from studio.jobs.view import RunView
from studio.models.find import EMBEDDED_ID, EMBEDDED_START
from studio.space import Space
from tests.chromium import launch
from tests.e2e.driving import choose, open_page
from tests.studio.run_helpers import ended, make_dataset, until

pytestmark = pytest.mark.browser
SAMPLE = shipped.samples() / "keeper.en.alpaca.jsonl"
ROWS, HELD_OUT = 64, 12


@pytest.fixture(scope="module")
def two(studio, tmp_path_factory) -> tuple[RunView, RunView]:
    """One that trains, and one whose learning rate is a thousandth of it; the same rows, 12 of them held out."""
    data = make_dataset(tmp_path_factory.mktemp("data") / "islands")
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()[: ROWS + HELD_OUT]]
    for name, part in (("train", rows[HELD_OUT:]), ("eval", rows[:HELD_OUT])):
        (data.folder / f"{name}.jsonl").write_text("".join(_line(row) for row in part), encoding="utf-8")
    runs = Supervisor(Space(studio.home))
    recipe = Recipe(**EMBEDDED_START | {"method": "lora", "max_steps": 14})
    made = []
    for name, changes in (("good start", {}), ("asleep", {"learning_rate": 2e-6, "max_steps": 2, "r": 4})):
        view = until(runs, runs.start(TrainJob(recipe.replace(**changes), data, name)).id, ended)
        assert view.status == "finished", view.run.log.read_text()[-2000:]
        made.append(view)
    return made[0], made[1]


def _line(row: dict) -> str:
    asked, answered = (
        {"role": "user", "content": row["instruction"]},
        {"role": "assistant", "content": row["output"]},
    )
    return json.dumps({"messages": [asked, answered], "row": 1}) + "\n"


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def homes() -> dict[str, Path]:
    """What was taken home, by language and width."""
    return {}


@pytest.mark.parametrize("lang", ["en", "zh-CN"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_better_run_is_found_and_its_adapter_taken_home(two, studio, browser, homes, tmp_path_factory, width, lang):
    good, asleep = two
    page = open_page(browser, f"{studio.url}/?lang={lang}&tab=runs&run={asleep.id}", width=width)

    # the link's run is open, and says that it learned nothing, and why
    verdict = page.locator("#runs-detail [data-kind]")
    expect(verdict).to_have_text(re.compile(re.escape(explain(lang, asleep.learned.verdict))))
    assert verdict.get_attribute("data-kind") in ("far", "unclear", "worse")
    assert "ls-good" not in verdict.get_attribute("class")
    expect(page.locator("#runs-detail [data-note='setting.rate_low']")).to_contain_text("2e-06")

    # the other one did; both figures are those of its own journal
    page.click(f"#runs-table button[data-run='{good.id}']")
    expect(verdict).to_have_attribute("data-kind", "better")
    for loss in (good.learned.heldout.first_loss, good.learned.heldout.second_loss):
        expect(verdict).to_contain_text(f"{loss:.2f}" if loss >= 1 else f"{loss:.2g}")
    expect(page.locator(f"#runs-table tr:has([data-run='{good.id}'])")).to_contain_text(t(lang, "learned.kind_better"))

    # side by side: which is better on the same rows, and which settings differ
    choose(page, "runs-other", "asleep")
    same = page.locator("#runs-compared .ls-same-rows")
    expect(same).to_contain_text("good start")
    expect(same).to_contain_text(f"{HELD_OUT}")
    expect(page.locator("#runs-compared .ls-facts tbody tr", has_text="learning_rate")).to_contain_text("2e-06")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "the page itself does not scroll sideways"
    )

    # home: a card that hubs read, what was measured, and nothing of this machine
    with page.expect_download() as caught:
        page.click("#runs-download")
    home = tmp_path_factory.mktemp("home") / "adapter"
    with zipfile.ZipFile(caught.value.path()) as archive:
        archive.extractall(home)
    card = ModelCard((home / "README.md").read_text(encoding="utf-8"))
    assert (card.data.base_model, card.data.library_name, card.data.license) == (EMBEDDED_ID, "peft", "apache-2.0")
    assert explain("en", good.learned.verdict) in card.text and explain("zh-CN", good.learned.verdict) in card.text
    assert json.loads((home / "adapter_config.json").read_text())["base_model_name_or_path"] == EMBEDDED_ID
    assert json.loads((home / "run.json").read_text())["learned"]["kind"] == "better"
    for file in home.rglob("*"):
        for here in (studio.home, shipped.embedded_base()):
            assert file.is_dir() or str(here).encode() not in file.read_bytes(), file.name
    homes[f"{lang} {width}"] = home
    assert page.script_errors == [] and page.other_hosts == []
    page.context.close()


def test_at_home_plain_peft_has_the_loss_that_the_page_said(two, homes):
    """Without the studio: Transformers and PEFT, the files of the zip, and the held-out rows."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    good, _ = two
    home = next(iter(homes.values()))
    tokenizer = AutoTokenizer.from_pretrained(home)
    base = AutoModelForCausalLM.from_pretrained(shipped.embedded_base(), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, home).eval()
    losses = []
    for row in good.run.rows("eval"):
        messages = row["messages"]
        made = tokenizer.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt"
        )
        ids, mask = made["input_ids"], torch.as_tensor(made["assistant_masks"]).bool().reshape(made["input_ids"].shape)
        with torch.no_grad():
            losses.append(model(ids, labels=ids.masked_fill(~mask, -100)).loss.item())
    assert losses == pytest.approx(good.course.heldout["trained"]["losses"], rel=1e-3)
