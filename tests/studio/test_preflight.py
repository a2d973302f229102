"""What is refused before a run starts."""

import pytest

from estimator.problems import Problem
from estimator.recipe import Recipe
from studio.i18n import explain
from studio.runs.preflight import preflight


def test_a_recipe_for_several_devices_is_refused_with_what_to_do():
    with pytest.raises(Problem) as refused:
        preflight(Recipe(model="embedded", num_processes=4, distributed_type="ddp"), trace_worker=None)
    assert refused.value.field == "num_processes"
    assert "accelerate launch" in explain("en", refused.value) and "4 块设备" in explain("zh-CN", refused.value)
