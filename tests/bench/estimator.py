"""The estimator: points of a law, one estimate, the import, the command, and a new law in a warm process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from estimator import Recipe, estimate
from estimator.advice.advise import advise
from estimator.advice.ranking import rank
from estimator.cost.rows import uniform
from estimator.estimates.parts import law_of
from estimator.hardware.platforms import Platform
from estimator.model.catalog import load_preset
from estimator.shelf import laws

MODEL = "meta-llama/Llama-3.1-8B"
COMMAND = f"estimate --model {MODEL} --method qlora --r 16 --target-modules all-linear --per-device-train-batch-size 2 --max-length 2048 --json --gpu"
HEAVY = ("torch", "pandas", "gradio", "transformers")
POINTS, CALLS, RUNS = 1_000_000, 200, 5


def figures() -> list[dict[str, Any]]:
    recipe = Recipe(model=MODEL, max_length=2048)
    rows = uniform(20_000, 1000, recipe)
    return [
        {
            "name": "law: points a second (batch x sequence x rank)",
            "value": _points(recipe),
            "unit": "/s",
            "target": ">= 500,000",
        },
        {
            "name": "one estimate from a loaded law, median",
            "value": 1000 * _median(lambda: estimate(recipe, "RTX 4090"), CALLS),
            "unit": "ms",
            "target": "<= 1 ms",
        },
        {
            "name": "every card ranked for one recipe, median",
            "value": 1000 * _median(lambda: rank(recipe, rows), RUNS),
            "unit": "ms",
            "target": "<= 50 ms",
        },
        {
            "name": "advice, the slowest median of 3 recipes",
            "value": 1000 * max(_median(lambda r=r: advise(r, "RTX 4090"), RUNS) for r in _advised()),
            "unit": "ms",
            "target": "<= 200 ms",
        },
        {"name": "import estimator, median", "value": _import_seconds(), "unit": "s", "target": "<= 0.3 s"},
        {
            "name": "lora-studio estimate, whole process, median",
            "value": _median(_command, RUNS),
            "unit": "s",
            "target": "<= 0.6 s",
        },
        {
            "name": "a new law of Llama-3.1-8B in a warm process, slowest of 3 methods",
            "value": _derive_seconds(),
            "unit": "s",
            "target": "<= 2 s",
        },
    ]


def _advised() -> list[Recipe]:
    """One that fits, one that a single change makes fit, one that needs several."""
    tight = {"max_length": 8192, "per_device_train_batch_size": 8}
    return [
        Recipe(model=MODEL),
        Recipe(model=MODEL, method="lora", **tight),
        Recipe(
            model=MODEL,
            method="lora",
            gradient_checkpointing=False,
            modules_to_save=["lm_head", "embed_tokens"],
            **tight,
        ),
    ]


def _points(recipe: Recipe) -> float:
    parts = law_of(recipe)
    draw = np.random.default_rng(0).integers
    sizes = draw(1, 64, POINTS), draw(16, 32768, POINTS), draw(1, 512, POINTS)
    seconds = _median(lambda: parts.law.peaks(*sizes, parts.static), RUNS)
    return POINTS / seconds


def _derive_seconds() -> float:
    model = load_preset(MODEL)
    recipes = [Recipe(model=MODEL, method=method) for method in ("full", "lora", "qlora")]
    laws.traced(recipes[0], model, "trl", Platform())  # loads torch and the libraries
    return max(_median(lambda r=recipe: laws.traced(r, model, "trl", Platform()), 3) for recipe in recipes)


def _import_seconds() -> float:
    code = f"import time; t = time.perf_counter(); import estimator, sys; print(time.perf_counter() - t); assert not set({HEAVY!r}) & set(sys.modules)"
    return statistics.median(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(RUNS)
    )


def _command() -> None:
    subprocess.run(
        [sys.executable, "-m", "studio", *COMMAND.split(), "RTX 4090"], stdout=subprocess.DEVNULL, check=True
    )


def _median(call: Callable[[], object], times: int) -> float:
    call()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
