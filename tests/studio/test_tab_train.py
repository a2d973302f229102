"""The Train tab's handlers: what cannot be trained is said at its field before anything starts, and folders are for
this machine alone."""

from __future__ import annotations

import json
from types import SimpleNamespace

import gradio as gr
import pytest

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.get.job import Jobs
from studio.jobs.machine import Machine
from studio.jobs.supervisor import Supervisor
from studio.models import pasted
from studio.models.find import EMBEDDED_ID
from studio.services import Shared
from studio.space import Space
from studio.tabs import train
from studio.tabs.controls import recipe_from, values_of
from studio.tabs.notices import explained, is_gone
from studio.tabs.train_form import fresh
from tests.estimator.small import CONFIGS
from tests.studio.requests import HERE, VISITOR, handlers_of
from tests.studio.run_helpers import make_dataset


@pytest.fixture
def handlers():
    """The tab's handlers by name, on a page that is not served; every dataset there is, and no worker."""
    with gr.Blocks() as blocks:
        space = Space.default()
        shared = Shared(
            space, SimpleNamespace(get=lambda id: id, list=lambda: []), Supervisor(space), None, None, None, Jobs(space)
        )
        shared.recipe, shared.gpu, shared.dataset, shared.run = (gr.State(None) for _ in range(4))
        with gr.Tabs() as shared.tabs:
            shared.tab |= {name: gr.Tab(name) for name in ("train", "chat")}
        with shared.tab["train"]:
            train.build(shared)
    return {name: handler for (_, name), handler in handlers_of(blocks).items()}


def begun(handlers, request, model: str) -> str:
    """What is said beside the button."""
    said, *_, run = handlers["begin"](
        request, "data", "", *values_of(Recipe(model=model, method="lora", dtype="float32"), train.NAMES)
    )
    assert run == gr.skip() and not list(Space.default().runs.iterdir())
    return said


def test_a_bare_configuration_is_refused_at_the_field_when_it_arrives_and_when_it_would_start(handlers):
    name = pasted.keep(Space.default(), json.dumps(CONFIGS["llama"]))
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


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The tab with one dataset, and a supervisor that starts no worker."""
    info = make_dataset(tmp_path / "data", 200, 20)
    monkeypatch.setattr(Supervisor, "_launch", lambda *_: None)
    with gr.Blocks() as blocks:
        stored = SimpleNamespace(get=lambda id: info, list=lambda: [info])
        space = Space.default()
        shared = Shared(space, stored, Supervisor(space), None, None, None, Jobs(space))
        shared.recipe, shared.gpu, shared.dataset, shared.run = (gr.State(None) for _ in range(4))
        with gr.Tabs() as shared.tabs:
            shared.tab |= {name: gr.Tab(name) for name in ("train", "chat")}
        with shared.tab["train"]:
            train.build(shared)
    return SimpleNamespace(shared=shared, **{name: handler for (_, name), handler in handlers_of(blocks).items()})


def held(recipe: Recipe, **changes) -> list:
    values = dict(zip(train.NAMES, values_of(recipe, train.NAMES), strict=True)) | changes
    return [*values.values(), recipe.to_dict()]


LARGE = Recipe(
    model="meta-llama/Llama-3.1-8B", r=64, learning_rate=1e-4, per_device_train_batch_size=1, max_length=2048
)
NVIDIA = Machine("cuda", "NVIDIA GeForce RTX 4090", 23 * 2**30)
CPU = Machine("cpu", "CPU", 64 * 2**30)


@pytest.fixture
def on(monkeypatch):
    def set_to(machine: Machine, flops: float = 1e11) -> None:
        monkeypatch.setattr("studio.outlook.outlook.this_machine", lambda: machine)
        monkeypatch.setattr("studio.outlook.preflight.this_machine", lambda: machine)
        monkeypatch.setattr("studio.outlook.pace.cpu_flops", lambda: flops)

    return set_to


def test_before_a_start_machine_time_memory_and_base_are_said(page, on):
    on(CPU)
    for lang, words in (
        ("en", ("CPU", "RTX 3060", "days", "it fits", "stay offline")),
        ("zh-CN", ("CPU", "RTX 3060", "天", "装得下", "离线")),
    ):
        request = SimpleNamespace(**vars(HERE) | {"query_params": {"lang": lang}})
        shown, trouble, *_ = page.ahead(request, "data", "GeForce RTX 3060", *held(LARGE))
        assert "ls-problem" not in str(trouble)
        for word in words:
            assert word in shown
    assert all(f'data-ahead="{name}"' in shown for name in ("machine", "time", "memory", "base"))
    on(NVIDIA)
    shown = page.ahead(HERE, "data", "", *held(LARGE))[0]
    assert "RTX 4090" in shown and "published runs" in shown and "nothing is sent" not in shown
    on(CPU)
    small = page.ahead(HERE, None, "", *held(fresh(EMBEDDED_ID)))[0]
    assert "a step" in small and "embedded" in small and "ls-ahead-bad" not in small


def test_memory_that_does_not_suffice_is_said_there_too(page, on):
    on(Machine("cpu", "CPU", 2**30))
    assert "ls-ahead-bad" in page.ahead(HERE, "data", "", *held(LARGE))[0]


def test_a_hopeless_start_waits_for_a_yes_that_names_it(page, on, monkeypatch):
    on(CPU, 1e9)
    monkeypatch.setattr("studio.outlook.outlook._is_offline", lambda name: False)
    monkeypatch.setattr("studio.outlook.outlook.shutil.disk_usage", lambda path: SimpleNamespace(free=2**50))
    trouble, button, agreed, run = page.begin(HERE, "data", "", *held(LARGE))
    assert run == gr.skip() and not page.shared.runs.list() and agreed == ["outlook.too_long"]
    assert (
        "Not started" in trouble
        and "It takes" in trouble
        and "or longer on this machine's CPU" in button.value
        and button.visible
    )
    again = page.begin_anyway(HERE, ["outlook.base_offline"], "data", "", *held(LARGE))
    assert again[-1] == gr.skip(), "a yes to something else is no yes to this"
    *_, run = page.begin_anyway(HERE, agreed, "data", "", *held(LARGE))
    assert page.shared.runs.get(run).recipe.model == LARGE.model


def test_a_base_that_cannot_come_waits_for_a_yes(page, on):
    on(CPU, 1e15)
    trouble, button, agreed, run = page.begin(HERE, "data", "", *held(LARGE))
    assert (
        run == gr.skip() and agreed == ["outlook.base_offline"] and "GiB" in trouble and "may not come" in button.value
    )
    shown = page.ahead(HERE, "data", "", *held(LARGE, learning_rate=2e-4))
    assert shown[2].visible is False and shown[3] is None, "a change takes the question back"


def test_what_can_be_starts_at_once(page, on):
    on(CPU)
    trouble, button, agreed, run = page.begin(HERE, "data", "", *held(fresh(EMBEDDED_ID)))
    assert run and "Predicted for this machine" in trouble and not button.visible and agreed is None


def test_each_change_takes_back_what_is_mended_and_says_what_is_not(page, on):
    on(CPU)
    wrong = held(fresh(EMBEDDED_ID), learning_rate=0)
    assert 'data-field="learning_rate"' in page.ahead(HERE, "data", "", *wrong)[1]
    mended = page.ahead(HERE, "data", "", *held(fresh(EMBEDDED_ID)))[1]
    assert "ls-problem" not in str(mended)  # the browser took it away at the change (`notices.FORGET`)


def test_a_run_at_work_is_said_until_it_is_at_work_no_more(page, on, monkeypatch):
    on(CPU)
    *_, first = page.begin(HERE, "data", "", *held(fresh(EMBEDDED_ID)))
    monkeypatch.setattr(Supervisor, "_alive", lambda *_: True)
    trouble, *_, run = page.begin(HERE, "data", "", *held(fresh(EMBEDDED_ID)))
    assert "is at work" in trouble and run == gr.skip()
    assert page.settle(trouble) == [gr.skip()]
    monkeypatch.setattr(Supervisor, "_alive", lambda *_: False)
    assert page.settle(trouble) == [""]
    for other in ("", None, explained("en", Problem("run.gone", value="x")), trouble.replace("run.busy", "run.gone")):
        assert page.settle(other) == [gr.skip()]


@pytest.mark.parametrize(
    "name", ["plain", 'a "quoted" & <b>bold</b>', "两次 运行 x", "' data-cause='dataset.gone data"]
)
def test_a_cause_is_read_back_whatever_a_run_is_called(page, name, monkeypatch):
    views = [SimpleNamespace(active=True, name=name)]
    monkeypatch.setattr(page.shared.runs, "list", lambda: views)
    said = explained("en", Problem("run.busy", value=name))
    assert not is_gone(said, page.shared)
    views[0].active = False
    assert is_gone(said, page.shared) and not is_gone(said.replace("data-cause", "data-other"), page.shared)


SUITED = ("learning_rate", "per_device_train_batch_size", "max_length", "dtype", "gradient_checkpointing")


def controls(answer: list) -> dict:
    return dict(zip(train.NAMES, answer[3 : 3 + len(train.NAMES)], strict=True))


def test_another_base_gets_its_own_settings_and_one_click_brings_the_others_back(page):
    brought = LARGE.replace(rank_pattern={"q_proj": 4})
    given = held(brought, model=EMBEDDED_ID, seed=7)
    answer = page.another_base(HERE, *given)
    now = controls(answer)
    assert {name: now[name] for name in SUITED} == {name: getattr(fresh(EMBEDDED_ID), name) for name in SUITED}
    assert now["r"] == 16 and now["seed"] == 7, "what was set on this page stays"
    shown, swap, base = answer[0], answer[1], answer[3 + len(train.NAMES)]
    for name in (*SUITED, "r", "rank_pattern"):
        assert f"<code>{name}</code>" in shown
    assert base["rank_pattern"] is None and base["model"] == EMBEDDED_ID
    back = page.flip(HERE, swap)
    assert controls(back)["learning_rate"] == 1e-4 and controls(back)["seed"] == 7 and "data-set-back" in back[0]
    assert (
        back[3 + len(train.NAMES)]["rank_pattern"] == {"q_proj": 4}
        and back[3 + len(train.NAMES)]["model"] == EMBEDDED_ID
    )
    assert controls(page.flip(HERE, back[1])) == now


def test_bases_suited_by_the_same_keep_what_is_set(page):
    answer = page.another_base(HERE, *held(LARGE, model="Qwen/Qwen2.5-7B"))
    assert answer[0] == "" and controls(answer)["learning_rate"] == gr.skip()


def test_all_is_reset_for_the_base_that_is_chosen_and_undone(page):
    given = held(LARGE, model=EMBEDDED_ID, learning_rate=0.5, r=999, seed=7)
    answer = page.reset(HERE, *given)
    recipe = recipe_from(
        train.NAMES,
        tuple({**controls(answer), "model": EMBEDDED_ID}.values()),
        Recipe.from_dict(answer[3 + len(train.NAMES)]),
    )
    assert recipe == fresh(EMBEDDED_ID)
    assert controls(page.flip(HERE, answer[1]))["learning_rate"] == 0.5
    assert page.reset(HERE, *held(fresh(EMBEDDED_ID)))[0] == "", "nothing to say where nothing was changed"
