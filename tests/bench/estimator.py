"""The estimator: points of a law, one estimate, a ranking, advice, the import, the command, and a new law in a warm
process.

Run as a file it prints its figures of whichever checkout PYTHONPATH names, as JSON; `figures` does so, here or
elsewhere.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

MODEL = "meta-llama/Llama-3.1-8B"
COMMAND = (
    f"estimate --model {MODEL} --method qlora --r 16 --target-modules all-linear "
    "--per-device-train-batch-size 2 --max-length 2048 --json --gpu"
)
HEAVY = ("torch", "pandas", "gradio", "transformers")
POINTS, CALLS, RUNS = 1_000_000, 200, 5
Taken = tuple[float, float]
"""(seconds, seconds of the processor)."""


def figures(checkout: Path | None = None) -> list[dict[str, Any]]:
    """`checkout`: the folder of another one. Each in a process of its own."""
    from tests.serving import CHECKOUT, environment

    command = [sys.executable, "-P", __file__]  # beside this file lie others with names of the program's
    done = subprocess.run(
        command, env=environment(checkout), cwd=checkout or CHECKOUT, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def measured() -> list[dict[str, Any]]:
    """The figures of the checkout that is imported."""
    from estimator import Recipe, estimate

    recipe = Recipe(model=MODEL, max_length=2048)
    rank, advise = module("ranking").rank, module("advise").advise
    rows = module("rows").uniform(20_000, 1000, recipe)
    points_s, points_cpu_s = _points(recipe)
    slowest = max(_median(lambda r=one: advise(r, "RTX 4090").to_dict(), RUNS) for one in _advised(Recipe))
    return [
        {"name": "law: points a second (batch x sequence x rank)", "value": POINTS / points_s,
            "cpu": POINTS / points_cpu_s, "unit": "/s", "target": ">= 500,000"},
        _row("one estimate from a loaded law, median", _median(lambda: estimate(recipe, "RTX 4090"), CALLS), "ms",
            "<= 1 ms"),
        _row("every card ranked for one recipe, median", _median(lambda: rank(recipe, rows), RUNS), "ms", "<= 50 ms"),
        _row("advice, whole, the slowest median of 3 recipes", slowest, "ms", "<= 200 ms"),
        _row("import estimator, median", _import_seconds(), "s", "<= 0.3 s"),
        _row("lora-studio estimate, whole process, median", _command(), "s", "<= 0.6 s"),
        _row("a new law of Llama-3.1-8B in a warm process, slowest of 3 methods", _derive_seconds(Recipe), "s",
            "<= 2 s"),
    ]  # fmt: skip


def module(name: str) -> ModuleType:
    """The estimator's module of this name, in whichever package the checkout keeps it."""
    import estimator

    for info in pkgutil.walk_packages(estimator.__path__, "estimator."):
        if info.name.rpartition(".")[2] == name and not info.ispkg:
            return importlib.import_module(info.name)
    raise ImportError(name)


def _row(name: str, taken: Taken, unit: str, target: str) -> dict[str, Any]:
    value, cpu = (1000 * seconds if unit == "ms" else seconds for seconds in taken)
    return {"name": name, "value": value, "cpu": cpu, "unit": unit, "target": target}


def _advised(Recipe: Any) -> list[Any]:
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


def _points(recipe: Any) -> Taken:
    import numpy as np

    parts = module("parts").law_of(recipe)
    draw = np.random.default_rng(0).integers
    sizes = draw(1, 64, POINTS), draw(16, 32768, POINTS), draw(1, 512, POINTS)
    return _median(lambda: parts.law.peaks(*sizes, parts.static), RUNS)


def _derive_seconds(Recipe: Any) -> Taken:
    laws, platform, model = module("laws"), module("platforms").Platform(), module("catalog").load_preset(MODEL)
    recipes = [Recipe(model=MODEL, method=method) for method in ("full", "lora", "qlora")]
    laws.traced(*_asked(recipes[0], model, platform))  # loads torch and the libraries
    return max(_median(lambda r=recipe: laws.traced(*_asked(r, model, platform)), 3) for recipe in recipes)


def _asked(recipe: Any, model: Any, platform: Any) -> tuple[Any, ...]:
    """What the checkout's laws are asked with: a question, or before there was one its parts."""
    try:
        return (module("question").Question(recipe, model, platform=platform),)
    except ImportError:
        return recipe, model, "trl", platform


def _import_seconds() -> Taken:
    code = (
        "import time; t, c = time.perf_counter(), time.process_time(); import estimator, sys; "
        "print(time.perf_counter() - t, time.process_time() - c); "
        f"assert not set({HEAVY!r}) & set(sys.modules)"
    )
    made = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(RUNS)
    ]
    return tuple(statistics.median(float(one[place]) for one in made) for place in (0, 1))


def _command() -> Taken:
    """Of whole processes; the system counts the processor time of those that ended."""
    command = [sys.executable, "-m", "studio", *COMMAND.split(), "RTX 4090"]
    return _median(
        lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True),
        RUNS,
        lambda: sum(_children_times()),
    )


def _children_times() -> tuple[float, float]:
    times = os.times()
    return times.children_user, times.children_system


def _median(call: Callable[[], object], times: int, clock: Callable[[], float] = time.process_time) -> Taken:
    call()
    taken = []
    for _ in range(times):
        started, worked = time.perf_counter(), clock()
        call()
        taken.append((time.perf_counter() - started, clock() - worked))
    return tuple(map(statistics.median, zip(*taken)))


if __name__ == "__main__":
    print(json.dumps(measured()))
