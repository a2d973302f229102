"""Replays that were kept: found for the same recipe alone, harmless where the file is broken, and used by an
estimate."""

import pytest

from estimator import Recipe, estimate
from estimator.estimates.error_bar import replay_error, reserved_over_allocated
from estimator.hardware.platforms import Platform
from estimator.law.question import Question
from estimator.model.catalog import load_preset
from estimator.shelf import replays

RECIPE = Recipe(model="Qwen/Qwen2.5-0.5B")
MODEL = load_preset(RECIPE.model)
VERSIONS = {"torch": "2.13.0"}
ELSE = [
    {"recipe": RECIPE.replace(per_device_train_batch_size=RECIPE.per_device_train_batch_size + 1)},
    {"recipe": RECIPE.replace(max_length=RECIPE.max_length + 1)},
    {"recipe": RECIPE.replace(r=RECIPE.r + 1)},
    {"recipe": RECIPE.replace(optim="sgd")},
    {"recipe": RECIPE.replace(max_grad_norm=0)},
    {"recipe": RECIPE.replace(target_parameters=["experts.gate_up_proj"], target_modules=[])},
    {"recipe": RECIPE.replace(method="full")},
    {"model": load_preset("Qwen/Qwen2.5-1.5B")},
    {"loop_name": "plain"},
    {"platform": Platform(9.0)},
    {"versions": {"torch": "2.12.0"}},
]


def asked(versions=VERSIONS, **other):
    return {"question": Question(RECIPE, MODEL).but(**other), "versions": versions}


def test_a_kept_replay_is_found_and_later_ones_stand_beside_it():
    replays.keep(123, **asked())
    replays.keep(456, **asked(recipe=RECIPE.replace(max_length=64)))
    assert replays.find(**asked()) == 123
    assert replays.find(**asked(recipe=RECIPE.replace(max_length=64))) == 456


@pytest.mark.parametrize("other", ELSE, ids=lambda other: next(iter(other)))
def test_nothing_else_finds_it(other):
    replays.keep(123, **asked())
    assert replays.find(**asked(**other)) is None


def test_a_broken_file_is_no_replay(tmp_path):
    replays.keep(123, **asked(cache_dir=tmp_path))
    for broken in ("{", "[]", '{"1": "x"}'):
        (file,) = (tmp_path / "replays").glob("*.json")
        file.write_text(broken)
        assert replays.find(**asked(cache_dir=tmp_path)) is None


def test_an_estimate_by_the_law_takes_the_replay_that_is_at_hand():
    before = estimate(RECIPE)
    low, central, high = reserved_over_allocated(RECIPE)
    assert before.peak_reserved_bytes == round(before.peak_allocated_bytes * central)
    reserved = before.peak_allocated_bytes + 2**20
    replays.keep(reserved, Question(RECIPE, MODEL), _versions())
    after = estimate(RECIPE)
    assert (after.peak_reserved_bytes, after.engine, after.components) == (reserved, before.engine, before.components)
    assert [why.code for why in after.uncertainty.why][0] == "why.replay"
    width = after.uncertainty.high_bytes - after.uncertainty.low_bytes
    assert width < before.uncertainty.high_bytes - before.uncertainty.low_bytes
    assert replay_error(RECIPE)[0] < 0 < replay_error(RECIPE)[1] and low <= central <= high


def _versions():
    from estimator.estimates.parts import law_of

    return law_of(RECIPE).law.versions
