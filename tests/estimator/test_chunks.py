"""Laws of layers that cut a row into chunks: loops of any number of turns from two, and the full trace at an unseen
length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator.hardware.platforms import Platform
from estimator.law.law import COMPONENTS, PHI, Law
from estimator.law.question import Question
from estimator.law.untraced import NotLinear
from estimator.model.catalog import load_preset
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from estimator.shelf import laws
from estimator.trace import chunks, fit
from estimator.trace.step import Sizes, trace_step
from tests.estimator.test_fit import law_peak

COUNTS = (4, 5)
sizes = st.lists(st.tuples(st.sampled_from(("each", "whole", "token")), st.integers(1, 9)), min_size=2, max_size=6)
loops = st.lists(st.tuples(sizes, st.integers(0, 2)), min_size=1, max_size=2)


def program(made: list[Any], loops: list[Any], turns: int) -> tuple[np.ndarray, np.ndarray]:
    """What is live after each allocation, and what it made: before, in and after loops, of whose turns some storages
    are freed."""
    live, rows, deltas = np.zeros((len(COMPONENTS), len(PHI))), [], []

    def allocate(kind: str, size: int) -> np.ndarray:
        delta = np.zeros_like(live)
        column = {"each": "B", "whole": "B", "token": "BS"}[kind]
        delta[0, PHI.index(column)] = size * (turns if kind == "whole" else 1)
        live[...] += delta
        rows.append(live.copy())
        deltas.append(delta)
        return delta

    for n, (turn, freed) in enumerate(loops):
        for kind, size in made:
            allocate(kind, 100 + 10 * n + size)
        for _ in range(turns):
            there = [allocate("each", size) for _, size in turn]
            live[...] -= sum(there[len(there) - min(freed, len(there)) :], np.zeros_like(live))
    for kind, size in made:
        allocate(kind, 900 + size)
    return np.array(rows), np.array(deltas)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(made=sizes, loops=loops)
def test_loops_of_any_number_of_turns_follow_from_two(made, loops):
    (live, delta), (longer, delta_there) = (program(made, loops, turns) for turns in COUNTS)
    rows = chunks.joined((live, longer), (delta, delta_there), COUNTS).sum(axis=1)
    for turns in (2, 3, 7, 40):
        real = program(made, loops, turns)[0].sum(axis=1)
        values = np.zeros(len(PHI))
        values[[PHI.index("1"), PHI.index("B"), PHI.index("BS"), chunks.CHUNKS]] = 1, 1, 10, turns
        assert (rows @ values).max() == (real @ values).max()


def test_steps_that_differ_otherwise_are_refused():
    (live, delta), (longer, delta_there) = (
        program([("each", 1), ("token", 2)], [([("each", 5), ("each", 7)], 0)], turns) for turns in COUNTS
    )
    with pytest.raises(chunks.Unlike):
        chunks.joined((live, longer[:-1]), (delta, delta_there[:-1]), COUNTS)
    delta_there = delta_there.copy()
    delta_there[-1] *= 3
    with pytest.raises(chunks.Unlike):
        chunks.joined((live, longer), (delta, delta_there), COUNTS)


SHIPPED = load_preset("Qwen/Qwen3.5-0.8B")
TEXT = SHIPPED.config["text_config"]


def cut(layers: int) -> dict[str, Any]:
    return {
        **SHIPPED.config,
        "text_config": {**TEXT, "num_hidden_layers": layers, "layer_types": TEXT["layer_types"][:layers]},
    }


MODEL = replace(SHIPPED, config=cut(16))


def test_law_equals_full_trace_on_unseen_sizes():
    recipe = Recipe(model=MODEL.id, method="lora", r=24, per_device_train_batch_size=3, max_length=640)
    law = laws.traced(Question(recipe, MODEL))
    assert law.chunk_tokens == 64 and law.flops and Law.from_dict(law.to_dict()) == law
    step = trace_step(
        recipe, MODEL.config, LOOPS["trl"], Sizes(3, 640, 24, 3 * 639), None, Platform(), MODEL.inventory.class_name
    )
    assert law_peak(law, 3, 640, 24) == sum(step.events.peak()[0].values())
    static = dict.fromkeys(COMPONENTS, 0)
    parts = dict(static=static, step_temporary=0)
    lengths = np.array([1, 64, 65, 640, 4096])
    assert list(law.peaks(3, lengths, 24, static)) == [
        sum(law.evaluate(3, int(n), 24, **parts)[1].values()) for n in lengths
    ]


def test_a_chunk_that_is_not_the_models_is_found_out(monkeypatch):
    monkeypatch.setattr(chunks, "tokens_of", lambda model: 80)
    with pytest.raises(NotLinear):
        fit.derive_law(
            Recipe(model="m", max_length=640),
            cut(4),
            LOOPS["trl"],
            tile_tokens=4096,
            class_name=MODEL.inventory.class_name,
        )
