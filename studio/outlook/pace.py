"""How long a run would take on this machine, as a range, before it starts; or why nobody knows.

On a card the catalogue knows it is the estimator's throughput. On a CPU: runs of the same base and method that this
machine has done tell the seconds a token; without any, the step's arithmetic over the speed at which this CPU
multiplies matrices now.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from estimator.core.problems import Problem
from estimator.cost.roofline import amounts
from estimator.cost.throughput import load_of, throughput
from estimator.estimates.parts import parts_of
from estimator.hardware.cards import known_gpu
from estimator.law.question import Question
from estimator.model.catalog import Model
from estimator.recipe.recipe import Recipe
from studio.datasets.store import DatasetInfo
from studio.jobs.machine import Machine
from studio.jobs.view import RunView

BYTES_A_TOKEN = (6.0, 2.0)
"""Of the JSON of a row: long words and much around them, down to a byte-level tokenizer on foreign text."""
SHARES = {"float32": (0.1, 1.0)}
WITH_BF16, WITHOUT_BF16 = (0.1, 4.0), (0.02, 1.0)
"""Which share of its float32 matrix speed a CPU reaches in a training step. The embedded base's runs reach 0.1 to 0.6
(small matrices); in 16 bits it is up to four times the speed with instructions for it, and a tenth of float32's without
(both seen with torch 2.13)."""
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""In Linux's /proc/cpuinfo, of x86 and of ARM."""
EARLIER_SPREAD = 1.5
"""A machine is not equally busy twice: the range of earlier runs is wider by this at both ends."""
BENCH_SIDE, BENCH_SECONDS = 768, 0.2


@dataclass(frozen=True)
class Pace:
    """Seconds of the whole run (None without data) and of a step, lowest and highest; `basis` says what they stand on,
    or why there are none."""

    basis: Problem
    step_s: tuple[float, float] | None = None
    steps: int | None = None

    @property
    def run_s(self) -> tuple[float, float] | None:
        return (self.step_s[0] * self.steps, self.step_s[1] * self.steps) if self.step_s and self.steps else None


def pace_of(
    recipe: Recipe, model: Model, machine: Machine, dataset: DatasetInfo | None, earlier: Sequence[RunView] = ()
) -> Pace:
    """Of `recipe` on `machine` over the rows of `dataset`. `earlier`: this machine's runs."""
    steps, lengths = steps_of(recipe, dataset), _row_tokens(recipe, dataset)
    if machine.device == "cuda":
        return _on_card(recipe, model, machine, steps, lengths)
    if machine.device != "cpu":
        return Pace(Problem("outlook.no_pace", device=machine.name), None, steps)
    batch = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    if known := _seconds_a_token(recipe, earlier):
        low, high = (batch * tokens * each for tokens, each in zip(lengths, (min(known), max(known)), strict=True))
        basis = Problem("outlook.pace_earlier", runs=len(known))
        return Pace(basis, (low / EARLIER_SPREAD, high * EARLIER_SPREAD), steps)
    speed = cpu_flops()
    slow, fast = SHARES.get(recipe.dtype) or (WITH_BF16 if has_bf16() and recipe.dtype == "bfloat16" else WITHOUT_BF16)
    low, high = (batch * tokens * flops_a_token(recipe, model, tokens) for tokens in lengths)
    basis = Problem("outlook.pace_cpu", gflops=f"{speed / 1e9:,.0f}", low=f"{slow:.0%}", high=f"{fast:.0%}")
    return Pace(basis, (low / (speed * fast), high / (speed * slow)), steps)


def steps_of(recipe: Recipe, dataset: DatasetInfo | None) -> int | None:
    """Optimizer steps, were every row kept and none packed with another."""
    if recipe.max_steps > 0:
        return recipe.max_steps
    if dataset is None:
        return None
    passes = math.ceil(dataset.train_rows / recipe.per_device_train_batch_size)
    return max(1, math.ceil(math.ceil(passes / recipe.gradient_accumulation_steps) * recipe.num_train_epochs))


def _row_tokens(recipe: Recipe, dataset: DatasetInfo | None) -> tuple[float, float]:
    """Tokens of a row as it is trained, least and most. Packed or unknown rows are full."""
    full = float(recipe.max_length)
    try:
        row_bytes = dataset.stored_bytes / dataset.kept if dataset and not recipe.packing else None
    except (OSError, ZeroDivisionError):
        row_bytes = None
    if not row_bytes:
        return full, full
    low, high = (min(full, max(1.0, row_bytes / each)) for each in BYTES_A_TOKEN)
    return low, high


def _on_card(recipe: Recipe, model: Model, machine: Machine, steps: int | None, lengths: tuple[float, float]) -> Pace:
    gpu = known_gpu(machine.name)
    if gpu is None:
        return Pace(Problem("outlook.no_pace", device=machine.name), None, steps)
    ends = []
    for tokens in lengths:
        real = recipe.replace(max_length=max(8, round(tokens)))
        found = throughput(load_of(real, parts_of(Question(real, model))), gpu)
        if found.seconds_per_step is None:
            return Pace(found.why[0], None, steps)
        ends.append(found.seconds_per_step)
    return Pace(Problem("outlook.pace_card", device=gpu.name), (ends[0].low, ends[1].high), steps)


def _seconds_a_token(recipe: Recipe, earlier: Sequence[RunView]) -> list[float]:
    """Of each earlier run of the same base, stored and computed alike."""
    alike = ("model", "method", "quantization", "dtype", "mixed_precision", "gradient_checkpointing")
    found = []
    for view in earlier:
        course, data = view.course, view.course.data.get("train", {})
        steps = course.step - (course.resumed_from or 0)
        tokens, kept = data.get("tokens"), data.get("kept")
        same = view.recipe and all(getattr(view.recipe, name) == getattr(recipe, name) for name in alike)
        if not (same and course.trained_seconds and steps > 0 and isinstance(tokens, int) and tokens and kept):
            continue
        batch = view.recipe.per_device_train_batch_size * view.recipe.gradient_accumulation_steps
        found.append(course.trained_seconds / (steps * batch * tokens / kept))
    return found


def flops_a_token(recipe: Recipe, model: Model, tokens: float) -> float:
    """Of a training step: the law's count where it knows the work, whatever the type; else two operations a weight and
    pass (Kaplan et al., arXiv 2001.08361), and attention's two products."""
    law = parts_of(Question(recipe.replace(dtype="bfloat16", mixed_precision="no"), model)).law
    batch = recipe.per_device_train_batch_size
    if work := amounts(law, law.phi(batch, tokens, recipe.r)):
        return work.flops / (batch * tokens)
    passes = 2 + (not recipe.has_adapters) + recipe.gradient_checkpointing  # forward, and backward to the inputs
    spec = model.spec
    attention = 2 * tokens * spec.hidden_size * spec.num_hidden_layers
    return 2 * passes * (model.inventory.total_parameters + attention)


@functools.cache
def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself; taken as no where nothing tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return False
    return any(flag in flags for flag in BF16_FLAGS)


@functools.cache
def cpu_flops() -> float:
    """Operations a second of float32 matrix products here and now, the best of a few; a fifth of a second, once a
    process."""
    matrix = np.ones((BENCH_SIDE, BENCH_SIDE), dtype=np.float32)
    best, until = math.inf, time.perf_counter() + BENCH_SECONDS
    while True:
        began = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - began)
        if time.perf_counter() > until:
            return 2 * BENCH_SIDE**3 / best
