"""Every field of a recipe survives every road of the page: a link, Estimate, *Train this*, the started run, its folder,
*Train again*."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl

import gradio as gr
import pytest
from hypothesis import HealthCheck, given, settings

from estimator.core.problems import Problem
from estimator.estimates.take_away import query
from estimator.recipe.recipe import FIELDS, Recipe
from studio.i18n import LANGUAGES
from studio.jobs.supervisor import Supervisor
from studio.space import Space
from studio.tabs import train
from studio.tabs.controls import recipe_from, values_of, without_control
from studio.tabs.estimate_form import BASE, RECIPE_NAMES
from studio.tabs.parameters import BASIC
from studio.web import api, app
from tests.estimator.recipes import MODEL, RECIPES, one_of_each
from tests.studio.requests import HERE, handlers_of
from tests.studio.run_helpers import make_dataset

NOTHING_BESIDE = {"gpu": None, "gpu_memory": None, "mig": None, "system": None, "trained_share": 1.0, "padded": False}


class Page:
    """The real handlers of the whole page, by tab and name, and what its controls hold."""

    def __init__(self) -> None:
        self.blocks, self.shared = app.build(Space.default())
        self.handlers = handlers_of(self.blocks)

    def __getitem__(self, at: tuple[str, str]) -> Any:
        return self.handlers[at]

    def opened(self, link: str) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """What the Estimate tab holds after an address was opened: what is kept, and its basic controls."""
        request = SimpleNamespace(**vars(HERE) | {"query_params": dict(parse_qsl(link))})
        started = tuple(values_of(Recipe(model=MODEL, max_length=2048), BASIC))
        values = self["estimate", "open_page"](request, {}, *started)[:-3]
        basic = values[-len(BASIC) :]
        return values[0], tuple(old if isinstance(new, dict) else new for old, new in zip(started, basic, strict=True))

    def begun(self, brought: dict[str, Any], **changes: Any) -> Recipe:
        """The recipe of the run that Train starts, read from its folder."""
        _, *loaded, _, _, _, _, _, emptied = self["train", "load"](HERE, brought)
        *held, base = loaded
        assert emptied is None
        held = [changes.get(name, value) for name, value in zip(train.NAMES, held, strict=True)]
        said, *_, run = self["train", "begin"](HERE, "data", "", *held, base)
        assert run in {view.id for view in self.shared.runs.list()}, said
        return self.shared.runs.get(run).run.recipe()


@pytest.fixture(scope="module")
def built():
    Space.default().prepare()
    return Page()


@pytest.fixture
def page(built, tmp_path, monkeypatch):
    """No worker is started, and whatever a recipe asks is let through to the run: what arrives is looked at here."""
    info = make_dataset(tmp_path / "data", 2, 1)
    monkeypatch.setattr(Supervisor, "_launch", lambda *_: None)
    monkeypatch.setattr(train, "preflight", lambda *_: train.Prediction(SimpleNamespace(name="", usable_bytes=0), 0))
    nothing = Problem("outlook.base_embedded")
    monkeypatch.setattr(train, "outlook", lambda *_: train.Outlook(SimpleNamespace(name=""), nothing, None, None))
    monkeypatch.setattr(train, "base_name", lambda space, name, folders: name)
    with mock.patch("studio.datasets.store.DatasetStore.get", lambda self, id: info):
        yield built


def test_each_field_goes_from_a_link_by_train_this_to_the_run_and_by_train_again_to_the_next(page):
    for name, recipe in one_of_each():
        kept, basic = page.opened("tab=estimate&" + query(recipe, "RTX 4090"))
        carried = page["estimate", "carry"](HERE, kept, *basic)[1]
        assert carried == recipe.to_dict(), name
        run = page.begun(carried)
        assert run == recipe, name
        view = page.shared.runs.list()[0]
        _, again, dataset = page["runs", "again"](view.id, HERE)
        assert (Recipe.from_dict(again), dataset) == (recipe, "data")
        page.shared.runs.delete(view.id)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=RECIPES)
def test_forms_give_back_the_recipe_they_were_given_and_change_only_what_was_changed(recipe):
    for names in (train.NAMES, RECIPE_NAMES):
        held = values_of(recipe, names)
        assert recipe_from(names, tuple(held), recipe) == recipe
        held[names.index("seed")] = 7
        assert recipe_from(names, tuple(held), recipe) == recipe.replace(seed=7)


def test_every_field_has_a_control_or_is_shown_and_can_be_set_back(page):
    for name, recipe in one_of_each():
        shown = train._also_html("en", recipe)
        stands = getattr(recipe, name) != FIELDS[name].default
        names_bits = name == "quantization" and recipe.quantization == "int8"  # the method's control says it
        assert stands and (name in train.NAMES or names_bits) != (f'id="train-{name}"' in shown), name
        event = SimpleNamespace(_data={"field": "*"})
        said, base, shown = page[("train", "set_back")](HERE, event, recipe.to_dict())
        assert not said and not shown and not without_control(Recipe.from_dict(base), train.NAMES)


def test_one_field_is_set_back_and_the_others_stay(page):
    recipe = Recipe(model=MODEL, rank_pattern={"q_proj": 4}, bias="all", modules_to_save=["lm_head"])
    said, base, shown = page["train", "set_back"](HERE, SimpleNamespace(_data={"field": "bias"}), recipe.to_dict())
    assert not said and Recipe.from_dict(base) == recipe.replace(bias="none")
    assert 'id="train-bias"' not in shown and 'id="train-rank_pattern"' in shown
    for nonsense in (None, {}, {"field": "model"}, {"field": "r"}, {"field": ["*"]}):
        assert (
            Recipe.from_dict(page["train", "set_back"](HERE, SimpleNamespace(_data=nonsense), recipe.to_dict())[1])
            == recipe
        )


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_shown_is_text(lang):
    """A module's name is a stranger's."""
    shown = train._also_html(lang, Recipe(model=MODEL, modules_to_save=["<img src=x onerror=alert(1)>"]))
    assert "<img" not in shown and "&lt;img" in shown


def test_several_devices_are_refused_by_name_when_they_arrive_and_when_they_would_start(page, monkeypatch):
    monkeypatch.undo()
    recipe = Recipe(model=MODEL, num_processes=4, distributed_type="fsdp", method="lora")
    said, *held, base, shown, _, _, _, _, _ = page["train", "load"](HERE, recipe.to_dict())
    begun, *_, run = page["train", "begin"](HERE, "data", "", *held, base)
    for text in (said, begun):
        assert 'data-field="num_processes"' in text and "4 devices" in text
    assert isinstance(run, dict) and 'id="train-num_processes"' in shown and 'id="train-distributed_type"' in shown
    base = page["train", "set_back"](HERE, SimpleNamespace(_data={"field": "num_processes"}), base)[1]
    assert Recipe.from_dict(base) == recipe.replace(num_processes=1)
    assert "no effect" in train._also_html("en", Recipe.from_dict(base))


def test_the_same_recipe_can_be_brought_twice(page):
    """Gradio tells of a state that changes; what is taken is taken out, so that the same is a change again."""
    recipe = Recipe(model=MODEL, r=3).to_dict()
    outputs = page["train", "load"](HERE, recipe)
    assert outputs[-1] is None and all(
        isinstance(value, dict) and value == gr.skip() for value in page["train", "load"](HERE, None)
    )
    brought = next(
        fn
        for fn in page.blocks.fns.values()
        if fn.fn and fn.fn.__name__ == "load" and fn.fn.__module__ == train.__name__
    )
    assert (
        brought.inputs == [page.shared.recipe, page.shared.gpu]
        and brought.outputs[-1] is page.shared.recipe
        and len(brought.outputs) == len(outputs)
    )


def test_a_bar_of_four_bits_keeps_the_kind_of_the_recipe(page):
    """fp4 stays fp4 by way of LoRA and back; before, a press on its own bar made it nf4."""
    kept, basic = page.opened(query(Recipe(model=MODEL, quantization="fp4", bnb_4bit_use_double_quant=False)))
    picture = page["estimate", "open_page"](
        SimpleNamespace(**vars(HERE) | {"query_params": {"quantization": "fp4", "model": MODEL}}), {}, *basic
    )[-1]
    assert (
        "{&quot;method&quot;: &quot;qlora&quot;, &quot;quantization&quot;: &quot;fp4&quot;}" in picture
        and "nf4&quot;" not in picture
    )
    assert kept[BASE]["quantization"] == "fp4"


def test_the_api_reads_every_field():
    for name, recipe in one_of_each():
        for asked in (recipe.to_dict(), recipe.to_json()):
            assert Recipe.from_dict(api._fields(json.loads(json.dumps(asked)))) == recipe, name


def test_the_api_estimates_the_recipe_it_was_asked(page):
    answered = set()
    for name, recipe in one_of_each():
        if recipe.model != MODEL:
            continue
        try:
            made = api._estimate(page.shared, HERE, recipe.to_dict(), NOTHING_BESIDE)
        except Problem as problem:  # the sample names no layer, say
            assert problem.code.startswith("estimator.") or problem.code == "recipe.conflict", (name, str(problem))
            continue
        assert made.source.recipe == recipe, name
        answered.add(name)
    assert len(answered) > 45
