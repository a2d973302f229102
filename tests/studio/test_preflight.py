"""What is refused before a run starts."""

import json

import pytest

from estimator.problems import Problem
from estimator.recipe import Recipe
from studio.i18n import explain
from studio.runs.preflight import preflight
from tests.estimator.small import CONFIGS


def test_a_recipe_for_several_devices_is_refused_with_what_to_do():
    with pytest.raises(Problem) as refused:
        preflight(Recipe(model="embedded", num_processes=4, distributed_type="ddp"), trace_worker=None, folders=True)
    assert refused.value.field == "num_processes"
    assert "accelerate launch" in explain("en", refused.value) and "4 块设备" in explain("zh-CN", refused.value)


def test_a_visitor_may_not_name_a_folder_of_this_machine(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama"]))
    recipe = Recipe(model=str(tmp_path), method="lora", dtype="float32")
    for folders, code in ((True, "model.not_counted"), (False, "model.folder_refused")):
        with pytest.raises(Problem) as refused:
            preflight(recipe, trace_worker=None, folders=folders)
        assert refused.value.code == code
