"""What is refused before a run starts."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from estimator.core.problems import Problem
from estimator.hub.sources import model_from_config
from estimator.recipe.recipe import Recipe
from studio.i18n import explain
from studio.jobs.machine import this_machine
from studio.outlook.outlook import outlook
from studio.outlook.preflight import judge, preflight
from studio.space import Space
from studio.widgets.outlook_view import outlook_view
from tests.estimator.small import CONFIGS


def test_a_recipe_for_several_devices_is_refused_with_what_to_do():
    with pytest.raises(Problem) as refused:
        preflight(
            Space.default(),
            Recipe(model="embedded", num_processes=4, distributed_type="ddp"),
            trace_worker=None,
            folders=True,
        )
    assert refused.value.field == "num_processes"
    assert "accelerate launch" in explain("en", refused.value) and "4 块设备" in explain("zh-CN", refused.value)


def test_a_visitor_may_not_name_a_folder_of_this_machine(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama"]))
    recipe = Recipe(model=str(tmp_path), method="lora", dtype="float32")
    for folders, code in ((True, "model.not_counted"), (False, "model.folder_refused")):
        with pytest.raises(Problem) as refused:
            preflight(Space.default(), recipe, trace_worker=None, folders=folders)
        assert refused.value.code == code


PACKED = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": False,
}


@pytest.mark.parametrize(
    ("config", "fields", "code"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, {}, "model.stored_untrainable_alone"),
        ({"quantization_config": PACKED}, {"method": "lora"}, "model.stored_packed_alone"),
        ({"quantization_config": PACKED}, {"quantization": "int8"}, "model.stored_otherwise_alone"),
        ({}, {"target_modules": ("lm_head", "q_proj")}, "estimator.head_adapted"),
        ({"text_config": CONFIGS["llama"] | {"model_type": "qwen3_next"}}, {"packing": True}, "machine.packing"),
    ],
)
def test_what_would_fail_after_the_start_is_refused_in_both_languages(config, fields, code):
    model = model_from_config(CONFIGS["llama"], "small")
    model = dataclasses.replace(model, config=CONFIGS["llama"] | config)
    with pytest.raises(Problem) as refused:
        judge(Recipe(model="small", **{"dtype": "float32", "max_length": 16} | fields), model, this_machine())
    assert refused.value.code == code
    assert all(
        "{" not in explain(lang, refused.value) and "problem." not in explain(lang, refused.value)
        for lang in ("en", "zh-CN")
    )


def test_the_run_records_how_the_repository_stores_its_weights():
    model = model_from_config(CONFIGS["llama"] | {"quantization_config": PACKED}, "small")
    recipe = Recipe(model="small", dtype="float32", max_length=16)
    assert (
        recipe.bnb_4bit_use_double_quant and not judge(recipe, model, this_machine()).recipe.bnb_4bit_use_double_quant
    )


def test_a_warmup_that_would_not_be_done_is_said_before_the_start():
    runs = SimpleNamespace(list=lambda: [])
    recipe = Recipe(model="Qwen/Qwen2.5-0.5B", lr_scheduler_type="constant", warmup_steps=20)
    shown = outlook_view("zh-CN", outlook(Space.default(), recipe, None, runs, None, False))
    assert "constant_with_warmup" in shown and 'data-ahead="settings"' in shown
    other = outlook(Space.default(), recipe.replace(lr_scheduler_type="linear"), None, runs, None, False)
    assert "settings" not in outlook_view("en", other)


def test_a_missing_package_of_an_optimizer_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "schedulefree" else True)
    model = model_from_config(CONFIGS["llama"], "small")
    with pytest.raises(Problem) as refused:
        judge(Recipe(model="small", optim="schedule_free_adamw", max_length=16), model, this_machine())
    assert refused.value.field == "optim" and "pip install schedulefree" in explain("zh-CN", refused.value)


def test_an_optimizer_that_averages_leaves_its_average_in_what_is_saved():
    """Accelerate's wrapper has `eval` for every optimizer; of schedulefree's the saved weights are the average, not the
    last point."""
    schedulefree, torch = pytest.importorskip("schedulefree"), pytest.importorskip("torch")
    from accelerate import Accelerator

    from studio.workers.train import use_average

    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = Accelerator(cpu=True).prepare(schedulefree.SGDScheduleFree([parameter], lr=0.1))
    iterates, z = [], torch.ones(3)
    optimizer.train()
    for _ in range(4):
        parameter.grad = torch.full((3,), 0.5)
        optimizer.step()
        z = z - 0.1 * 0.5
        iterates.append(z)
    for _ in range(2):  # twice is once
        use_average(SimpleNamespace(optimizer=optimizer))
        assert torch.allclose(parameter, torch.stack(iterates).mean(0), atol=1e-6)
    use_average(SimpleNamespace(optimizer=torch.optim.SGD([parameter], lr=1.0)))
