"""Coming from LLaMA-Factory or Unsloth: their spellings of model, optimizer and card arrive by link and by command."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from estimator import Recipe, estimate
from estimator.cli.cli import main
from tests.chromium import launch
from tests.e2e.driving import open_page, type_choice, wait_for_text

MODEL, CARD = "unsloth/llama-3-8b-bnb-4bit", "GeForce RTX 3090"
THEIRS = {
    "model": MODEL,
    "optim": "adamw_8bit",
    "max_length": 2048,
    "gpu": "3090 24G",
}
FACTORY = """
model_name_or_path: LLM-Research/Meta-Llama-3-8B-Instruct
quantization_bit: 4
stage: sft
finetuning_type: lora
lora_rank: 16
lora_target: q_proj,v_proj
template: llama3
dataset: alpaca_en_demo
cutoff_len: 1024
per_device_train_batch_size: 1
learning_rate: 1e-4
optim: adamw_8bit
bf16: true
"""


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.mark.browser
@pytest.mark.parametrize("lang", ["en", "zh-CN"])
@pytest.mark.parametrize("width", [1440, 390])
def test_a_link_in_their_words_is_answered_and_said(studio, browser, lang, width):
    page = open_page(browser, f"{studio.url}/?{urlencode({'lang': lang, 'tab': 'estimate', **THEIRS})}", width=width)
    wait_for_text(page, "#estimate-picture", CARD)
    shown = page.locator("#estimate-picture").inner_text()
    assert (
        MODEL in shown
        and "meta-llama/Meta-Llama-3-8B" in shown
        and "adamw_8bit" not in page.locator("#estimate-link").inner_text()
    )
    ours = Recipe(model="meta-llama/Meta-Llama-3-8B", optim="adamw_bnb_8bit", max_length=2048)
    assert f"{estimate(ours, CARD).trainable_parameters:,}" in shown

    # an id in 16 bits of a mirror is the same model; a copy that trains nothing says what to take in its place
    type_choice(page, "estimate-model", "NousResearch/Meta-Llama-3-8B-Instruct")
    wait_for_text(page, "#estimate-picture", "NousResearch/Meta-Llama-3-8B-Instruct")
    type_choice(page, "estimate-model", "casperhansen/llama-3-8b-instruct-awq")
    wait_for_text(page, "#estimate-problem", "AWQ")
    wait_for_text(page, "#estimate-problem", "meta-llama/Meta-Llama-3-8B-Instruct")
    assert page.script_errors == [] and page.other_hosts == []
    page.context.close()


def test_their_file_is_answered_by_the_command_and_what_is_unused_is_named(tmp_path, capsys, monkeypatch):
    file = tmp_path / "llama3_lora_sft.yaml"
    file.write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    assert (
        main(["estimate", "--recipe", str(file), "--gpu", "两张4090", "--loop", "trl", "--use-reentrant", "false"]) == 0
    )
    said = capsys.readouterr()
    assert "LLaMA-Factory" in said.err and "template, dataset" in said.err
    assert said.out.startswith("modelscope:LLM-Research/Meta-Llama-3-8B-Instruct  qlora nf4")
    assert (
        "preset meta-llama/Meta-Llama-3-8B" in said.out
        and "2 devices, ddp" in said.out
        and "GeForce RTX 4090" in said.out
    )
