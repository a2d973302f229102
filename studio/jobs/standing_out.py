"""Which settings of a run stand out, as numbers beside what is usual. Nothing here is an error: each may be meant.

Where a range comes from: lora_alpha between r and 2 r (Unsloth's and PEFT's guides); learning rates of adapters 1e-4 to
5e-4 and of full training a tenth of that (QLoRA, arXiv 2305.14314, table 9; "LoRA Without Regret", Thinking Machines
2025: LoRA's best rate is about ten times full training's), ten times more for bases of a few million parameters
(measured on the embedded one).
"""

from __future__ import annotations

from typing import Any

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from estimator.recipe.schedules import warmup_steps_done
from studio.jobs.journal import Course

SCALES = (0.5, 2.0)
ADAPTER_RATES, FULL_SHARE, TINY_FACTOR = (1e-4, 5e-4), 0.1, 10.0
TINY_PARAMETERS = 50e6
RATE_MARGIN = 2.0
"""How far outside its range a learning rate is still passed over."""
FEW_ROWS, MANY_PASSES, FEW_STEPS = 50, 10.0, 20
MOST_DROPOUT, MOST_DROPPED, ENOUGH_SEEN = 0.2, 0.1, 0.95


def standing_out(recipe: Recipe, course: Course) -> tuple[Problem, ...]:
    """Sentences of the area `setting`, the weightiest first."""
    return tuple(
        filter(None, (*_rate(recipe, course), _scale(recipe), *_amount(recipe, course), *_rest(recipe, course)))
    )


def usual_rates(recipe: Recipe, parameters: int | None) -> tuple[float, float]:
    """The learning rates people use for the method on a base of this size; unknown counts as billions."""
    factor = TINY_FACTOR if parameters is not None and parameters < TINY_PARAMETERS else 1.0
    factor *= 1.0 if recipe.has_adapters else FULL_SHARE
    low, high = ADAPTER_RATES
    return low * factor, high * factor


def _rate(recipe: Recipe, course: Course) -> list[Problem | None]:
    low, high = usual_rates(recipe, course.base["parameters"] if course.base else None)
    rate = recipe.learning_rate
    said = {"value": f"{rate:g}", "low": f"{low:g}", "high": f"{high:g}", "method": recipe.method}
    if rate > high * RATE_MARGIN:
        return [Problem("setting.rate_high", times=f"{rate / high:.3g}", **said)]
    if rate * RATE_MARGIN < low:
        return [Problem("setting.rate_low", times=f"{low / rate:.3g}", **said)]
    return []


def _scale(recipe: Recipe) -> Problem | None:
    """What an update of the adapters is multiplied by. With rsLoRA the root of the rank takes its place, and no such
    custom is known."""
    if not recipe.has_adapters or recipe.use_rslora:
        return None
    scale = recipe.lora_alpha / recipe.r
    if SCALES[0] <= scale <= SCALES[1]:
        return None
    code = "setting.scale_high" if scale > SCALES[1] else "setting.scale_low"
    return Problem(code, value=f"{scale:g}", alpha=recipe.lora_alpha, r=recipe.r, usual=2 * recipe.r)


def _amount(recipe: Recipe, course: Course) -> list[Problem | None]:
    """Rows, passes over them, and steps."""
    rows, steps = course.data.get("train", {}).get("kept"), course.step
    passes = _passes(recipe, course)
    notes: list[Problem | None] = []
    if rows is not None and rows < FEW_ROWS:
        notes.append(Problem("setting.few_rows", rows=f"{rows:,}", passes=f"{passes or recipe.num_train_epochs:.3g}"))
    elif passes and passes >= MANY_PASSES:
        notes.append(Problem("setting.many_passes", rows=f"{rows:,}", passes=f"{passes:.3g}"))
    if 0 < steps < FEW_STEPS:
        batch = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
        notes.append(Problem("setting.few_steps", steps=steps, batch=f"{batch:,}", enough=FEW_STEPS))
    if passes and passes < ENOUGH_SEEN:
        notes.append(Problem("setting.part_seen", share=f"{passes:.0%}", rows=f"{rows:,}"))
    return notes


def _passes(recipe: Recipe, course: Course) -> float | None:
    """How often each row was seen, as the trainer counted its epochs."""
    epochs = [point["epoch"] for point in course.metrics if point.get("epoch") is not None]
    return epochs[-1] if epochs else None


def _rest(recipe: Recipe, course: Course) -> list[Problem | None]:
    steps = course.total_steps or course.step
    warmup = warmup_steps_done(recipe, steps)
    dropped: dict[str, Any] = course.data.get("train", {})
    total = dropped.get("kept", 0) + dropped.get("dropped", 0)
    notes: list[Problem | None] = []
    if steps and warmup >= steps:
        notes.append(Problem("setting.all_warmup", warmup=f"{warmup:,}", steps=f"{steps:,}"))
    if total and dropped["dropped"] > MOST_DROPPED * total:
        notes.append(Problem("setting.many_dropped", dropped=f"{dropped['dropped']:,}", total=f"{total:,}"))
    if recipe.has_adapters and recipe.lora_dropout > MOST_DROPOUT:
        notes.append(Problem("setting.dropout", value=f"{recipe.lora_dropout:g}"))
    return notes
