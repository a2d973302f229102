"""What leaves the studio reads without it: a card that hub tools take, no path of this machine, and plain PEFT loads it
as the card says."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from estimator.recipe.recipe import Recipe
from studio import shipped
from studio.export.base_names import hub_id, shared_name, without_paths
from studio.export.card import model_card
from studio.export.result import zip_result
from studio.get.known import SMOLLM2
from studio.jobs.folder import RunFolder, RunInfo
from studio.jobs.journal import Course, Journal
from studio.models.find import EMBEDDED_ID
from studio.space import Space
from tests.studio.test_learned import course, heldout

INFO = RunInfo("r1", "a run", 1.0, "d1", "keeper.en.alpaca.jsonl", "f" * 64)
MEASURED = (heldout("base", [2.0] * 6), heldout("trained", [1.0] * 6))


def card(recipe: Recipe, info: RunInfo = INFO, made: Course | None = None) -> ModelCard:
    return ModelCard(model_card(info, recipe, made or course(*MEASURED)))


@pytest.mark.parametrize(
    ("model", "base", "license"),
    [
        (EMBEDDED_ID, EMBEDDED_ID, "apache-2.0"),
        (SMOLLM2, SMOLLM2, "apache-2.0"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B", "llama3.1"),
        ("someone/unknown-model", "someone/unknown-model", None),
        ("modelscope:LLM-Research/Llama-3.2-1B", "LLM-Research/Llama-3.2-1B", None),
        ("/data/cache/models--Qwen--Qwen2.5-0.5B/snapshots/0a1b2c", "Qwen/Qwen2.5-0.5B", "apache-2.0"),
        ("/home/somebody/secret project/my-base", None, None),
        ("C:\\Users\\somebody\\my-base", None, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_the_front_matter_is_what_hubs_read(model, base, license, method):
    made = card(Recipe(model=model, method=method))
    data = made.data
    assert (data.base_model, data.license) == (base, license)
    assert data.library_name == ("transformers" if method == "full" else "peft") and data.datasets == [
        "keeper.en.alpaca.jsonl"
    ]
    for name in [*filter(None, [data.base_model]), *data.datasets]:
        validate_repo_id(name)
    assert made.text.count("# ") > 3 and "More Information Needed" not in str(made)
    for word in ("/home", "/data", "somebody", "C:\\"):
        assert word not in str(made)


@pytest.mark.parametrize(
    "name",
    ["我的数据.jsonl", "a `b` | c\n# d.csv", "..", "x" * 300, "---\nlicense: mit\n---", "- {yaml: [", "a--b..c.git"],
)
def test_any_name_of_a_data_set_or_a_run_makes_a_whole_card(name):
    info = RunInfo("r1", name, 1.0, "d1", name, "f" * 64)
    made = card(Recipe(model=EMBEDDED_ID), info)
    assert made.data.license == "apache-2.0" and made.data.base_model == EMBEDDED_ID
    for dataset in made.data.datasets or []:
        validate_repo_id(dataset)
    assert yaml.safe_load(str(made).split("---\n")[1])["library_name"] == "peft"


def test_the_card_says_what_was_measured_in_both_languages_and_the_recipe():
    text = str(card(Recipe(model=EMBEDDED_ID, r=8, lora_alpha=32, learning_rate=1e-4)))
    assert "on 6 held-out rows the loss fell from 2.00 (the base) to 1.00" in text and "在 6 行留出数据上" in text
    assert "| `lora_alpha` | 32 |" in text and "`lora_alpha / r" not in text and "lora_alpha / r = 32 / 8 = 4" in text
    assert INFO.fingerprint in text and "shipped.embedded_base()" in text
    bare = str(card(Recipe(model=EMBEDDED_ID), made=course()))
    assert "not known" in bare and "fell from" not in bare


def test_a_base_in_a_folder_is_called_by_what_others_can_use(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": "org/known"}))
    assert shared_name(str(tmp_path)) == "org/known"
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": "/home/x/known"}))
    assert shared_name(str(tmp_path)) == tmp_path.name and hub_id(str(tmp_path)) is None
    record = {"a": ["/home/x/base", {"b": "/home/x/base/model.safetensors"}], "targets": ".*proj", "c": "/home/y"}
    assert without_paths(record, "/home/x/base") == {"a": ["base", {"b": "base"}], "targets": ".*proj", "c": "/home/y"}
    assert without_paths(record, "org/base") == record


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    """A run of an older version on a folder of this machine: PEFT's own README, the base by its path."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = tmp_path_factory.mktemp("somewhere private") / "my-base"
    shutil.copytree(shipped.embedded_base(), base)
    run = RunFolder(tmp_path_factory.mktemp("run"))
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(run.adapter)
    AutoTokenizer.from_pretrained(base).save_pretrained(run.adapter)
    run.write_start(INFO, Recipe(model=str(base), method="lora", r=4, lora_alpha=8, dtype="float32"))
    journal = Journal(run.path)
    journal.write("data", split="train", kept=40, dropped=0, reasons={}, trained_tokens=9)
    journal.write("ended", status="finished")
    return run.path


def test_the_zip_carries_no_path_of_this_machine(adapter, tmp_path):
    run = RunFolder(adapter)
    before = (run.adapter / "adapter_config.json").read_text()
    assert "somewhere private" in before and "somewhere private" in (run.adapter / "README.md").read_text()
    with zipfile.ZipFile(zip_result(run)) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert b"somewhere private" not in content and str(Space.default().root).encode() not in content, name
        assert json.loads(archive.read("adapter_config.json"))["base_model_name_or_path"] == "my-base"
        assert json.loads(archive.read("recipe.json"))["model"] == "my-base"
        assert json.loads(archive.read("run.json"))["learned"]["kind"] == "no_validation"
        assert "More Information" not in archive.read("README.md").decode()
    assert (run.adapter / "adapter_config.json").read_text() == before, "the run itself keeps what it was"


@pytest.mark.parametrize("changes", [{}, {"method": "qlora"}])
def test_plain_peft_loads_it_as_the_card_says(adapter, tmp_path, monkeypatch, capsys, changes):
    """The card's own lines, run where the zip was unpacked."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run = RunFolder(tmp_path / "run")
    shutil.copytree(adapter, run.path)
    run.write_start(INFO, run.recipe().replace(model=EMBEDDED_ID, **changes))
    target = tmp_path / "taken home"
    with zipfile.ZipFile(zip_result(run)) as archive:
        archive.extractall(target)
    code = (target / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(target)
    made: dict = {}
    exec(code, made)
    assert isinstance(made["model"], PeftModel) and capsys.readouterr().out.strip()
    if not changes:
        plain = AutoModelForCausalLM.from_pretrained(shipped.embedded_base(), dtype="float32")
        import torch

        from studio.inference.adapter_files import check_tensors

        check_tensors("chat.adapter_tensors", made["model"], "default", target, "it")
        ids = made["inputs"]["input_ids"]
        with torch.no_grad(), made["model"].disable_adapter():
            assert torch.equal(made["model"](ids).logits, plain(ids).logits)
        assert not torch.equal(made["model"](ids).logits, plain(ids).logits)
