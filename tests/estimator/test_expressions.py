"""A user's expression means what `re` makes of it, and never holds the process up."""

import re
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator.adapters.adapters import trainables
from estimator.core import safe_regex
from estimator.core.problems import Problem
from estimator.core.safe_regex import LIMIT_S, matches
from estimator.hub.sources import load_model
from estimator.recipe.recipe import Recipe

NAMES = ("model.layers.0.self_attn.q_proj", "model.layers.11.mlp.gate_proj", "lm_head", "model.embed_tokens")
SLOW = r"(([a-z_]|[a-z_.\d])+)+!"


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    expression=st.sampled_from(
        (r".*q_proj", r"(?i)LM_.*", r"model\.(?P<part>[a-z_]+).*", "q.proj", "lm_head", r"[a-z", r"(?<=x)a*", r"(.)\1*")
    ),
    whole=st.booleans(),
)
def test_an_expression_matches_what_re_matches(expression, whole):
    try:
        compiled = re.compile(expression)
    except re.error as error:
        with pytest.raises(Problem) as caught:
            matches("target_modules", expression, NAMES, whole=whole)
        assert caught.value.code == "estimator.regex" and str(error) in str(caught.value)
        return
    found = {name: m.groupdict() for name in NAMES if (m := (compiled.fullmatch if whole else compiled.match)(name))}
    assert matches("target_modules", expression, NAMES, whole=whole) == found


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": SLOW},
        {"exclude_modules": SLOW},
        {"target_modules": ("q_proj",), "rank_pattern": {SLOW: 4}},
        {"target_modules": ("q_proj",), "layers_to_transform": (0,), "layers_pattern": SLOW},
        {"modules_to_save": (SLOW,)},
    ],
    ids=lambda fields: list(fields)[-1],
)
def test_an_expression_that_would_never_end_is_refused_by_name(fields):
    safe_regex._in_a_process.cache_clear()  # an answer is kept, a refusal too
    model = load_model("meta-llama/Llama-3.1-8B")
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.wait(0.02):
            ticks.append(time.monotonic())

    beside = threading.Thread(target=tick)
    beside.start()
    started = time.monotonic()
    try:
        with pytest.raises(Problem) as caught:
            trainables(Recipe(model=model.id, **fields), model.inventory)
    finally:
        took = time.monotonic() - started
        stop.set()
        beside.join()
    assert caught.value.code == "estimator.regex_slow" and SLOW in str(caught.value)
    assert caught.value.field == list(fields)[-1]
    assert took < LIMIT_S + 2  # and the start of a process on a busy machine
    assert max(b - a for a, b in zip(ticks, ticks[1:])) < LIMIT_S / 2  # other threads went on


def test_an_expression_too_long_to_be_meant_is_refused():
    with pytest.raises(Problem) as caught:
        matches("target_modules", "(" * 100_000, NAMES)
    assert caught.value.code == "estimator.regex" and len(str(caught.value)) < 300
