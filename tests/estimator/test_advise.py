"""Advice: every proposal is what an estimate of its recipe says, the cheapest set needs each of its changes, the
largest is the largest."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator import Problem, Recipe, check, estimate, find_gpu, gpus, models
from estimator.advice.advise import Advice, advise, newest_models
from estimator.advice.advise import largest as advise_largest
from estimator.advice.changes import COSTS, Change
from estimator.advice.proposals import Proposal
from estimator.cli.advise_command import main

LLAMA = "meta-llama/Llama-3.1-8B"
MODELS = (LLAMA, "Qwen/Qwen2.5-0.5B", "mistralai/Mistral-7B-v0.1", "Qwen/Qwen1.5-MoE-A2.7B", "openai-community/gpt2")

recipes = st.builds(
    Recipe,
    model=st.sampled_from(MODELS),
    method=st.sampled_from(["full", "lora", "qlora"]),
    r=st.sampled_from([4, 64, 256]),
    target_modules=st.sampled_from(["all-linear"]),
    max_length=st.sampled_from([64, 1000, 1024]),
    per_device_train_batch_size=st.sampled_from([1, 2, 6, 32]),
    gradient_accumulation_steps=st.sampled_from([1, 3]),
    gradient_checkpointing=st.booleans(),
    optim=st.sampled_from(["adamw_torch", "paged_adamw_8bit", "sgd"]),
)
cards = st.sampled_from(["RTX 4090", "Tesla T4", "H100 SXM5 80GB", "GeForce RTX 3060 12GB"])


def _advice(recipe: Recipe, card: str) -> Advice:
    return advise(recipe, find_gpu(card))


@settings(max_examples=12, deadline=None)
@given(recipes, cards)
def test_every_proposal_is_its_recipe_estimated(recipe: Recipe, card: str) -> None:
    advice = _advice(recipe, card)
    assert advice.estimate.to_dict() == estimate(recipe, card).to_dict()
    for proposal in (*advice.singles, *filter(None, [advice.cheapest])):
        applied = recipe.replace(**proposal.values)
        assert applied == proposal.recipe and not check(applied)
        assert proposal.estimate.to_dict() == estimate(applied, card).to_dict()
        assert proposal.saved_bytes == advice.estimate.device_bytes - proposal.estimate.device_bytes > 0
        rows = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
        assert applied.per_device_train_batch_size * applied.gradient_accumulation_steps == rows
    assert [COSTS.index(p.cost) for p in advice.singles] == sorted(COSTS.index(p.cost) for p in advice.singles)


@settings(max_examples=12, deadline=None)
@given(recipes, cards)
def test_the_cheapest_set_fits_and_needs_each_of_its_changes(recipe: Recipe, card: str) -> None:
    advice = _advice(recipe, card)
    if advice.estimate.fits or advice.cheapest is None:
        assert advice.cheapest is None
        assert advice.estimate.fits or not any(p.estimate.fits for p in advice.singles)
        return
    assert advice.cheapest.estimate.fits
    for fewer in itertools.combinations(advice.cheapest.changes, len(advice.cheapest.changes) - 1):
        values = {name: value for change in fewer for name, value in change.values.items()}
        assert not estimate(recipe.replace(**values), card).fits
    milder = [p for p in advice.singles if p.estimate.fits and COSTS.index(p.cost) < COSTS.index(advice.cheapest.cost)]
    assert not milder


@settings(max_examples=12, deadline=None)
@given(recipes, cards)
def test_the_surest_is_asked_for_where_the_best_is_close_and_needs_each_of_its_changes(
    recipe: Recipe, card: str
) -> None:
    advice = _advice(recipe, card)
    best = advice.cheapest.estimate if advice.cheapest else advice.estimate
    sure = lambda made: made.fits and not made.is_close  # noqa: E731
    if not best.fits or sure(best):
        assert advice.surest is None
        return
    if advice.surest is None:
        assert not any(sure(p.estimate) for p in advice.singles)
        return
    assert sure(advice.surest.estimate)
    for fewer in itertools.combinations(advice.surest.changes, len(advice.surest.changes) - 1):
        values = {name: value for change in fewer for name, value in change.values.items()}
        assert not sure(estimate(recipe.replace(**values), card))


@settings(max_examples=8, deadline=None)
@given(recipes, cards)
def test_the_largest_leaves_the_margin_of_its_error_bar_and_one_more_does_not(recipe: Recipe, card: str) -> None:
    largest = _advice(recipe, card).largest
    limits = {"per_device_train_batch_size": 4096, "max_length": models()[recipe.model].context_length, "r": 4096}
    for name, limit in limits.items():
        value = getattr(largest, name)
        if value is not None:
            made, room = estimate(recipe.replace(**{name: value}), card), largest.room[name]
            assert made.fits and not made.is_close
            paged = made.device_bytes - made.peak_reserved_bytes - (made.edge_bytes - made.usable_bytes)
            assert room.device_bytes == made.largest_peak.device_bytes - paged and room.high_bytes <= room.edge_bytes
            assert room.margin_bytes == made.uncertainty.high_bytes - made.device_bytes
        if (value or 0) < limit and (name != "r" or recipe.has_adapters):
            smallest = {"max_length": 8}.get(name, 1)
            more = recipe.replace(**{name: (value or smallest - 1) + 1})
            made = estimate(more, card)
            assert not made.fits or made.is_close
    if largest.model:
        made = estimate(recipe.replace(model=largest.model), card)
        assert made.fits and not made.is_close and largest.room["model"].high_bytes <= largest.room["model"].edge_bytes


def test_of_each_new_family_the_largest_that_fits() -> None:
    recipe, card = Recipe(model=LLAMA, max_length=512), find_gpu("Tesla T4")
    found = newest_models(recipe, card, families=5)
    released = {
        family: max(p.released for p in models().values() if p.family == family and p.is_causal)
        for family in {p.family for p in models().values() if p.is_causal}
    }
    families = [models()[made.source.recipe.model].family for made in found]
    assert len(set(families)) == 5 and [released[name] for name in families] == sorted(
        (released[name] for name in families), reverse=True
    )
    for made, family in zip(found, families, strict=True):
        chosen = made.source.recipe
        assert made.fits and chosen == recipe.replace(model=chosen.model)
        larger = [
            p.id
            for p in models().values()
            if p.family == family and p.is_causal and p.parameters > models()[chosen.model].parameters
        ]
        assert not any(
            not check(recipe.replace(model=id)) and estimate(recipe.replace(model=id), card).fits for id in larger
        )


def test_the_largest_model_is_what_a_whole_search_finds() -> None:
    recipe, card = Recipe(model=LLAMA, max_length=512), find_gpu("Tesla T4")
    fitting = []
    for preset in models().values():
        if preset.is_causal and preset.parameters <= 40e9:
            with_it = recipe.replace(model=preset.id)
            try:
                if not check(with_it) and (made := estimate(with_it, card)).fits and not made.is_close:
                    fitting.append(preset)
            except Problem:
                continue
    largest = _advice(recipe, card.name).largest
    newest = max(preset.released for preset in models().values())
    assert largest.recent_since == f"{int(newest[:4]) - 2}{newest[4:]}" and largest.recent_since in str(largest.note)
    recent = [preset for preset in fitting if preset.released >= largest.recent_since]
    assert largest.model == max(recent, key=lambda preset: preset.parameters).id


def test_an_older_model_is_the_largest_only_where_no_recent_one_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from estimator.advice import largest

    recipe, card = Recipe(model=LLAMA, max_length=512), "Tesla T4"
    recent = advise_largest(recipe, card).model
    monkeypatch.setattr(largest, "recent_since", lambda: "9999-01")
    older = advise_largest(recipe, card).model
    assert models()[older].parameters >= models()[recent].parameters
    undated = [preset for preset in models().values() if not preset.released]
    assert undated and all(preset.released < "2000" for preset in undated), "of unknown date counts as older"


def test_a_set_that_costs_time_comes_before_a_change_that_drops_rows() -> None:
    recipe = Recipe(
        model=LLAMA, method="lora", max_length=8192, per_device_train_batch_size=4, gradient_checkpointing=False
    )
    cheapest = _advice(recipe, "RTX 4090").cheapest
    assert (
        cheapest.cost == "time" and {"gradient_checkpointing", "per_device_train_batch_size"} <= cheapest.values.keys()
    )


def test_checkpointing_costs_the_time_of_one_more_forward_pass() -> None:
    """Where all weights train, forward is one part of three: the recomputed one makes at most four."""
    recipe = Recipe(model=LLAMA, method="full", max_length=8192, gradient_checkpointing=False)
    ratio = next(
        p.time_ratio for p in _advice(recipe, "A100 SXM4 80GB").singles if p.values == {"gradient_checkpointing": True}
    )
    assert 1 < ratio <= 4 / 3


def test_a_card_of_unknown_memory_has_no_advice() -> None:
    unknown = next(gpu for gpu in gpus().values() if gpu.usable_bytes() is None)
    with pytest.raises(Problem, match="not known"):
        advise(Recipe(model=LLAMA), unknown)


def test_a_slice_and_a_system_leave_less() -> None:
    recipe = Recipe(model=LLAMA, max_length=4096)
    whole, part = advise(recipe, "A100 SXM4 40GB").largest, advise(recipe, "A100 SXM4 40GB", mig="2g.10gb").largest
    assert (part.per_device_train_batch_size or 0) < whole.per_device_train_batch_size
    assert (
        advise(recipe, "RTX 4090", system="windows-desktop").largest.max_length
        < advise(recipe, "RTX 4090").largest.max_length
    )


def test_command(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(
        f'model = "{LLAMA}"\nmethod = "lora"\nmax_length = 8192\nper_device_train_batch_size = 4\ngpu = "RTX 4090"\n'
    )
    assert main([str(file), "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert said["cheapest"]["fits"] and said["singles"] and said["largest"]["model"]
    assert main([str(file)]) == 3
    assert "the mildest that makes it fit" in capsys.readouterr().out
    assert main([str(file), "--method", "qlora", "--max-length", "1024"]) == 0
    assert main([str(file), "--gpu", "RTX 40901"]) == 2
    assert main(["--model", LLAMA]) == 2
    assert "gpu: a value is needed" in capsys.readouterr().err
    assert main([str(file), "--recipe", str(file)]) == 2


def test_more_cards_take_less_time_and_no_less_than_their_share_of_it() -> None:
    recipe, gpu = Recipe(model=LLAMA, method="lora", max_length=2048, per_device_train_batch_size=2), "A100 SXM4 40GB"
    before = estimate(recipe, gpu)

    def ratio(**values: object) -> float | None:
        spread = recipe.replace(distributed_type="fsdp", **values)
        return Proposal((Change("devices", values, "devices"),), spread, estimate(spread, gpu), 0, before).time_ratio

    assert all(1 / n < ratio(num_processes=n) < 1 for n in (2, 8))
    assert ratio(num_processes=16) is None  # two machines
    assert ratio(num_processes=2, offload_param_device="cpu") is None
