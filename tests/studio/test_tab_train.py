"""The Train tab's handlers: what cannot be trained is said at its field before anything starts, and folders are for this machine alone."""

from __future__ import annotations

import json
from types import SimpleNamespace

import gradio as gr
import pytest

from estimator.recipe.recipe import Recipe
from studio import pasted, paths
from studio.runs.supervisor import Supervisor
from studio.tabs import Shared, train
from studio.tabs.controls import values_of
from tests.estimator.small import CONFIGS
from tests.studio.requests import HERE, VISITOR


@pytest.fixture
def handlers():
    """The tab's handlers by name, on a page that is not served; every dataset there is, and no worker."""
    with gr.Blocks() as blocks:
        shared = Shared(SimpleNamespace(get=lambda id: id, list=lambda: []), Supervisor(paths.runs()), None, None, None)
        shared.recipe, shared.dataset, shared.run = gr.State(None), gr.State(None), gr.State(None)
        with gr.Tabs() as shared.tabs:
            shared.tab |= {name: gr.Tab(name) for name in ("train", "chat")}
        with shared.tab["train"]:
            train.build(shared)
    return {fn.fn.__name__: fn.fn for fn in blocks.fns.values() if fn.fn}


def begun(handlers, request, model: str) -> str:
    """What is said beside the button."""
    said, run = handlers["begin"](
        request, "data", "", *values_of(Recipe(model=model, method="lora", dtype="float32"), train.NAMES)
    )
    assert run == gr.skip() and not list(paths.runs().iterdir())
    return said


def test_a_bare_configuration_is_refused_at_the_field_when_it_arrives_and_when_it_would_start(handlers):
    name = pasted.keep(json.dumps(CONFIGS["llama"]))
    brought = handlers["load"](HERE, Recipe(model=name).to_dict())
    for said in (brought[0], begun(handlers, HERE, name)):
        assert 'data-field="model"' in said and "hub id" in said and name in said
    assert brought[1 + train.NAMES.index("model")] == name  # it stays in its field, to be replaced there
    assert handlers["load"](HERE, Recipe(model="Qwen/Qwen2.5-0.5B").to_dict())[0] == ""


def test_folders_are_trained_for_this_machine_alone(handlers, tmp_path):
    assert "config.json" in begun(handlers, HERE, str(tmp_path))
    there, nowhere = (begun(handlers, VISITOR, str(tmp_path / name)) for name in ("", "nothing"))
    assert "folders are read only" in there and there.replace(str(tmp_path), "") == nowhere.replace(
        str(tmp_path / "nothing"), ""
    )
