"""Requests of one page that overtake each other: whoever is answered last shows what the newest said, and a hand is not
taken back."""

from __future__ import annotations

import threading
from collections import Counter
from types import SimpleNamespace

import gradio as gr
import pytest

from estimator.core.problems import Problem
from estimator.estimates import estimate as estimating
from estimator.recipe.recipe import Recipe
from studio.space import Space
from studio.tabs import estimate, turns
from studio.tabs.controls import values_of
from studio.tabs.estimate_form import held_for
from studio.tabs.panels import ANSWERS, intents
from studio.tabs.parameters import BASIC
from studio.tabs.turns import MOST_WAITING, PICTURED, answered, arrive, is_overtaken, wait_for_picture
from studio.tabs.turns import PANELS as OPEN_PANELS
from studio.web import app
from tests.studio.requests import HERE

MODEL = "meta-llama/Llama-3.1-8B"
STARTED = tuple(values_of(Recipe(model=MODEL, max_length=2048), BASIC))


@pytest.fixture(scope="module")
def built():
    Space.default().prepare()
    return app.build(Space.default())[0]


@pytest.fixture
def handlers(built):
    """Of the Estimate tab, by name: of `keep` that of the card, of `apply` that of the wishes."""
    own = [fn for fn in built.fns.values() if fn.fn and fn.fn.__module__ == estimate.__name__]
    found = {fn.fn.__name__: fn for fn in own}
    found["keep"] = next(fn for fn in own if fn.fn.__name__ == "keep" and fn.inputs[0].elem_id == "estimate-gpu")
    found["draw"] = next(
        fn for fn in own if fn.fn.__name__ == "draw" and named(built, "estimate-picture") in fn.outputs
    )
    found["wish"] = next(
        fn for fn in own if fn.fn.__name__ == "apply" and fn.targets[0][0] == named(built, "estimate-intents")._id
    )
    return found


def named(built, elem_id: str):
    return next(one for one in built.blocks.values() if one.elem_id == elem_id)


def texts(answer: dict) -> dict[str, object]:
    return {component.elem_id: value for component, value in answer.items()}


def basic(**fields) -> tuple:
    return tuple(values_of(Recipe(model=MODEL, **{"max_length": 2048} | fields), BASIC))


def test_whoever_comes_last_shows_the_newest_and_whoever_was_overtaken_nothing():
    kept: dict = {}
    newer, older = arrive(kept, "8", ("new",)), arrive(kept, "7", ("old",))
    assert older.said == ("new",) and is_overtaken(kept, newer) and not is_overtaken(kept, older)
    assert arrive(kept, "", ("unnumbered",)).said == ("unnumbered",)
    older = arrive(kept, "9", ("asked",))
    redrawn = arrive(kept, "10", ("seen",), overtakes=False)  # it says the picture alone: who says more goes on
    assert redrawn.said == ("seen",) and not is_overtaken(kept, older) and not is_overtaken(kept, redrawn)


def test_what_belongs_to_a_picture_waits_until_it_is_answered_and_no_longer_than_it_may():
    kept: dict = {}
    for nothing in ("0", "", None, "9" * 5000, "²", "-1"):
        wait_for_picture(kept, nothing, seconds=0)
        answered(kept, nothing)
    assert arrive({}, "9" * 5000, ()).number == 0
    waiting = threading.Thread(target=wait_for_picture, args=(kept, "3"))
    waiting.start()
    answered(kept, "2")
    wait_for_picture(kept, "3", seconds=0.01)  # never sent: it goes on without it
    assert waiting.is_alive()
    answered(kept, "4")
    answered(kept, "3")
    waiting.join(5)
    assert not waiting.is_alive()
    wait_for_picture(kept, "4", seconds=0)


def test_numbers_that_never_come_hold_few_threads():
    held = [threading.Thread(target=wait_for_picture, args=({}, "9" * 12, 20.0)) for _ in range(MOST_WAITING)]
    kept: dict = {}
    held += [threading.Thread(target=wait_for_picture, args=(kept, "7", 20.0))]  # one too many: it goes on at once
    for thread in held[:-1]:
        thread.start()
    while turns._waiting.acquire(blocking=False):  # until all of them wait
        turns._waiting.release()
    held[-1].start()
    held[-1].join(10)
    assert not held[-1].is_alive() and all(thread.is_alive() for thread in held[:-1])
    for thread in held[:-1]:
        answered(thread._args[0], "9" * 12)
        thread.join(10)
    assert turns._waiting.acquire(blocking=False) and MOST_WAITING < app.THREADS
    turns._waiting.release()


def test_panels_come_with_what_was_kept_for_them_and_what_is_wrong_in_a_field_is_said(built, handlers):
    kept: dict = {}
    panels = next(fn.fn for fn in built.fns.values() if fn.js == OPEN_PANELS)
    keep = {fn.inputs[0].elem_id: fn.fn for fn in built.fns.values() if fn.fn and len(fn.inputs) == 3 and fn.js}
    drawn = texts(panels(HERE, "cards|0", kept, *basic(), []))
    assert "GeForce RTX 4090" in drawn["estimate-cards"] and drawn["estimate-mistake"] == ""
    assert all(drawn[f"estimate-{name}"] == gr.skip() for name in ("why", "fits", "change"))
    keep["estimate-search"]("H100", "1", kept)
    found = texts(panels(HERE, "cards|1", kept, *basic(), []))["estimate-cards"]
    assert "H100" in found and "RTX 3060" not in found
    keep["estimate-usd_per_kwh"]("much", "2", kept)
    wrong = texts(panels(HERE, "cards|2", kept, *basic(), []))
    assert "much" in wrong["estimate-mistake"] and wrong["estimate-cards"] == gr.skip()


def test_every_picture_that_a_control_asks_for_is_numbered_and_every_press_waits_for_the_one_before(built):
    picture = named(built, "estimate-picture")
    own = [fn for fn in built.fns.values() if fn.fn and fn.fn.__module__ == estimate.__name__]
    drawing = [fn for fn in own if picture in fn.outputs and fn.fn.__name__ != "open_page"]
    assert len(drawing) > 50 and all(PICTURED in fn.js for fn in drawing)
    presses = [fn for fn in own if fn.fn.__name__ == "apply"]
    chained = [fn for fn in built.fns.values() if fn.js == "() => lsPressed()"]
    for press in presses:
        after = [fn for fn in chained if fn.trigger_after == press._id]
        assert sorted(fn.trigger_only_on_failure for fn in after) == [False, True]


def test_a_picture_that_comes_late_is_not_of_what_stood_before(handlers):
    """The card chosen first, the slider moved after; the card's request arrives last."""
    kept = dict(held_for(Recipe(model=MODEL), "GeForce RTX 4090", estimate.Conditions()))
    moved = texts(handlers["draw"].fn(HERE, "2", kept, *basic(r=64)))
    assert "r=64" in moved["estimate-picture"]
    late = texts(handlers["keep"].fn(HERE, "GeForce RTX 3090", "1", kept, *basic()))
    assert "r=64" in late["estimate-picture"] and "3090" in late["estimate-picture"]


def test_a_picture_that_was_overtaken_while_it_was_drawn_is_not_shown(handlers, monkeypatch):
    kept, begun, go = {}, threading.Event(), threading.Event()
    real, answers = estimate.bars.picture, {}

    def slow(lang, asked, *more):
        if asked.recipe.r == 4:
            begun.set()
            assert go.wait(60)
        return real(lang, asked, *more)

    monkeypatch.setattr(estimate.bars, "picture", slow)
    first = threading.Thread(target=lambda: answers.update(texts(handlers["draw"].fn(HERE, "1", kept, *basic(r=4)))))
    first.start()
    assert begun.wait(60)
    second = texts(handlers["draw"].fn(HERE, "2", kept, *basic(r=64)))
    go.set()
    first.join(60)
    assert "r=64" in second["estimate-picture"]
    assert answers == dict.fromkeys(("estimate-problem", "estimate-picture"), gr.skip())


def test_what_a_hand_moves_while_a_press_is_answered_stays(handlers, monkeypatch):
    kept: dict = {}
    real = intents.met

    def slow(asked, name, undo):
        handlers["draw"].fn(HERE, "6", kept, *basic(r=77))
        handlers["keep"].fn(HERE, "GeForce RTX 3090", "7", kept, *basic(r=77))
        return real(asked, name, undo)

    monkeypatch.setattr(intents, "met", slow)
    answer = texts(handlers["wish"].fn(HERE, SimpleNamespace(_data={"intent": "small_data"}), "5", kept, *STARTED))
    assert answer["estimate-r"] == gr.skip() == answer["estimate-gpu"] and answer["estimate-lora_dropout"] == 0.05
    drawn = texts(handlers["draw"].fn(HERE, "8", kept, *basic(r=77)))["estimate-picture"]
    assert "r=77" in drawn and "3090" in drawn and "lora_dropout=0.05" in drawn


def test_all_fields_are_set_back_whatever_they_hold_and_put_back_as_they_were(handlers):
    kept, moved = {"rank_pattern": "q_proj=many", "system": "windows", "optim": "sgd"}, basic(r=77)
    kept |= {"gpu": "GeForce RTX 3090"}
    wish = lambda said, *now: texts(handlers["wish"].fn(HERE, SimpleNamespace(_data=said), "", kept, *now))  # noqa: E731
    assert "rank_pattern" in wish({"intent": "small_data"}, *moved)["estimate-problem"]
    back = wish({"reset": True}, *moved)
    assert back["estimate-problem"] == "" and back["estimate-rank_pattern"] == "" and back["estimate-r"] == 16
    assert kept["gpu"] == "GeForce RTX 3090" and kept["optim"] == "adamw_torch"
    again = wish({"back": True}, *STARTED)
    assert again["estimate-rank_pattern"] == "q_proj=many" and again["estimate-r"] == 77
    assert again["estimate-system"] == "windows" == kept["system"] and kept["optim"] == "sgd"
    assert again["estimate-max_length"] == 2048
    assert wish({"back": True}, *moved)["estimate-r"] == gr.skip()


@pytest.mark.parametrize("model", ["lora-studio/tiny-base", "openai-community/gpt2", MODEL, "nobody/nothing"])
def test_a_form_set_back_is_one_that_its_base_takes(handlers, model):
    kept = {"model": model}
    handlers["wish"].fn(HERE, SimpleNamespace(_data={"reset": True}), "", kept, *STARTED)
    recipe = estimate.meant(kept, tuple(estimate.stated(kept, STARTED)[name] for name in BASIC))[0]
    assert recipe.model == model
    with pytest.raises(Problem):
        estimate.meant(kept | {"seed": -1}, STARTED)


def test_another_base_is_told_what_stands_of_the_one_before(handlers):
    note = lambda model, kept, *now: handlers["other_model"].fn(HERE, model, kept, *now)  # noqa: E731
    said = note("lora-studio/tiny-base", {"learning_rate": 5e-5}, *basic(max_length=1024))
    for text in ("5e-05", "0.002", "1,024", "256", "data-apply"):
        assert text in said
    assert note(MODEL, {"learning_rate": 5e-5}, *STARTED) == ""
    assert "float32" in note(MODEL, {"learning_rate": 2e-3, "dtype": "float32"}, *basic(max_length=256))


def test_a_handler_with_nothing_to_say_leaves_all_as_it_is(built, handlers):
    """Gradio (6.31) takes an empty dict for one value of many, and fails."""
    assert list(handlers["choose"].fn(SimpleNamespace(_data={"field": "nothing"})).values()) == [gr.skip()]
    opens = [fn for fn in built.fns.values() if fn.fn and fn.fn.__name__ == "open_page"]
    beside = next(fn for fn in opens if fn.fn.__module__ != estimate.__name__)
    assert list(beside.fn(HERE).values()) == [gr.skip()]


def test_a_state_that_others_listen_to_is_set_through_the_queue(built):
    """Past it, Gradio (6.31) does not tell the page that a state has changed, and who listens hears nothing."""
    heard = {id for fn in built.fns.values() for id, event in fn.targets if event == "change"}
    states = {id for id, block in built.blocks.items() if isinstance(block, gr.State)} & heard
    deaf = {
        f"{fn.fn.__module__}.{fn.fn.__qualname__}"
        for fn in built.fns.values()
        if fn.fn and not fn.queue and states & {part._id for part in fn.outputs}
    }
    assert states and not deaf


def made_by_a_move(handlers, built, monkeypatch, **fields) -> Counter:
    """How often the parts of each question are made while a slider moves with every panel open."""
    made, real = Counter(), estimating.parts_of

    def counted(question, *more):
        key = repr(vars(question.recipe)), question.model.id, question.platform, question.batches
        made[key] += 1
        return real(question, *more)

    monkeypatch.setattr(estimating, "parts_of", counted)
    kept = dict(held_for(Recipe(model=MODEL), "GeForce RTX 4090", estimate.Conditions()))
    picture = texts(handlers["draw"].fn(HERE, "1", kept, *basic(**fields)))["estimate-picture"]
    folded = named(built, "estimate-why")
    panels = next(fn for fn in built.fns.values() if fn.fn and fn.fn.__name__ == "draw" and folded in fn.outputs)
    beside = [control.value for control in panels.inputs[2 + len(BASIC) :]]
    names = ",".join(panel.NAME for panel in estimate.PANELS)
    drawn = list(panels.fn(HERE, f"{names}|1", kept, *basic(**fields), *beside).values())
    assert "ls-problem" not in picture and len(drawn) == len(estimate.PANELS) + 1 and all(drawn[:-1]) and not drawn[-1]
    return made


def test_with_every_panel_open_one_move_computes_each_answer_once(handlers, built, monkeypatch):
    monkeypatch.setattr(ANSWERS, "seconds", 600.0)  # a busy machine
    made = made_by_a_move(handlers, built, monkeypatch, r=24)
    assert len(made) > 100 and not [key for key, times in made.items() if times > 1]


def test_answers_that_are_not_shared_are_computed_again(handlers, built, monkeypatch):
    """The count can tell; and so a law that came since is asked for."""
    monkeypatch.setattr(ANSWERS, "seconds", 0.0)
    assert max(made_by_a_move(handlers, built, monkeypatch, r=12).values()) > 2
