"""How long the run of the picture takes: a sentence of the verdict."""

from __future__ import annotations

import re
from typing import Any

from estimator.advice.priced import priced
from estimator.core.problems import Problem
from estimator.cost.rows import uniform
from estimator.cost.throughput import Range, Throughput, load_of, throughput
from estimator.recipe.costing import Costing
from studio.i18n import explain, t
from studio.tabs.panels import Asked

EACH = 1000
"""Rows that the hours are of where none were stated."""
ASKED = ("rows", "tokens_per_row")
"""What *Which GPU* asks of the data."""


def said(lang: str, asked: Asked, rows: Any = None, tokens_per_row: Any = None) -> str:
    """Hours of the rows that were stated, else of each thousand; or why none are known. `rows` and `tokens_per_row` are
    what was typed: where that is no number its own panel says so. Raises nothing."""
    stated, tokens = _whole(rows), _whole(tokens_per_row)
    try:
        costing = Costing(rows=stated or EACH, tokens_per_row=tokens if stated else None)
        speed = _speed(asked, costing)
    except Problem as problem:
        return explain(lang, problem)
    if speed.hours is None:
        return explain(lang, speed.why[0])
    words = {"hours": _between(speed.hours), "rows": f"{costing.rows:,}"}
    words["tokens"] = f"{costing.tokens_per_row or asked.recipe.max_length:,}"
    if asked.recipe.max_steps > 0:
        return t(lang, "estimate.hours_steps", steps=f"{asked.recipe.max_steps:,}", **words)
    epochs = f"{asked.recipe.num_train_epochs:g}"
    words["epochs"] = t(lang, "estimate.hours_epoch" if epochs == "1" else "estimate.hours_epochs", epochs=epochs)
    return t(lang, "estimate.hours_rows" if stated else "estimate.hours_each", **words)


def _speed(asked: Asked, costing: Costing) -> Throughput:
    """As *Which GPU* has it; of one whole card by what its estimate stands on already, for this is said at every move
    of a slider. Raises `Problem`."""
    recipe, parts = asked.recipe, asked.answer.source.parts
    data = uniform(costing.rows, costing.tokens_per_row or recipe.max_length, recipe)
    if recipe.num_processes == 1 and not asked.conditions.mig:
        load = load_of(recipe, parts, data)
        if load.step:
            return throughput(load, asked.gpu)
    where = {"batches": asked.conditions.batches, "conditions": asked.conditions}
    return priced(recipe, asked.gpu, costing, model=asked.model, **where).throughput


def _whole(text: Any) -> int | None:
    digits = re.sub(r"[,_\s]", "", str(text or ""))
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 and int(digits) else None


def _between(hours: Range) -> str:
    low, high = _short(hours.low), _short(hours.high)
    return low if low == high else f"{low}–{high}"


def _short(hours: float) -> str:
    """Two digits that count, at most two behind the point."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"
