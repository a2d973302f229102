"""The picture: the verdict in a sentence, counts, the three methods as bars, the error bar and its reasons."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape
from typing import Any

from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.estimates.estimate import Estimate
from estimator.estimates.take_away import query
from estimator.hardware.cards import Gpu
from estimator.recipe.recipe import FIELDS, Recipe
from studio import shipped
from studio.i18n import explain, strings, t
from studio.models import exact
from studio.tabs.controls import METHODS, method_fields, method_key
from studio.tabs.estimate_form import START
from studio.tabs.notices import INSTALL
from studio.tabs.panels import Asked, hours
from studio.widgets.memory_bar import Bar, bars_legend, memory_bars

# The bars are the choice of the method, with the keys of a group of radio buttons. A repaint replaces them: the one
# that had the keyboard gets it back, and what was unfolded stays so.
ON_LOAD = shipped.script("elements/picture")


USUAL_SCALE = FIELDS["lora_alpha"].default // FIELDS["r"].default
"""Alpha over rank as the recipe begins with, and as papers and libraries advise (twice the rank)."""


def picture(lang: str, asked: Asked, traces: bool = False, is_warm: bool = False, data: tuple[Any, ...] = ()) -> str:
    """Verdict, counts, bars, reasons. `data` is what was typed of it (`hours.ASKED`). Raises `Problem` for what no
    method could make good.

    With `traces` there is a worker that can replace approximate figures: the picture then asks for that (`ON_LOAD`),
    for the bars beside the chosen one only of a worker that runs anyway.
    """
    bars = bars_of(lang, asked)
    index, choices = index_of(asked), [method_fields(key, asked.recipe.quantization) for key in METHODS]
    chosen = bars[index]
    lasting = "" if chosen.verdict == "misses" or isinstance(chosen.answer, Problem) else hours.said(lang, asked, *data)
    verdict = _verdict(lang, bars, index, asked.gpu, lasting)
    glance = f'<div class="ls-glance">{_stale(lang, asked)}{verdict}{memory_bars(lang, bars, index, asked.gpu.name, choices)}</div>'
    beneath = bars_legend(lang, bars, index, asked.gpu.name)
    if asked.refused:  # no address: what is chosen is no recipe
        return f'<article class="ls-panel" data-refused>{glance}<div class="ls-beneath">{beneath}</div></article>'
    if isinstance(chosen.answer, Problem):
        raise chosen.answer
    waits = " data-law" if traces and to_trace(bars if is_warm else [], chosen) else ""
    above = f"{_approximate(lang, chosen.answer, traces)}{_counts(lang, asked.recipe, chosen.answer)}"
    return (
        f'<article class="ls-panel"{waits} data-question="{escape(question_of(asked))}">{glance}'
        f'<div class="ls-beneath">{_again(lasting)}{above}{beneath}{_notes(lang, chosen.answer)}</div></article>'
    )


def index_of(asked: Asked) -> int:
    """Which bar is the chosen one."""
    return list(METHODS).index(asked.refused[0] if asked.refused else method_key(asked.recipe))


def to_trace(bars: list[Bar], chosen: Bar) -> Estimate | None:
    """What a trace would make exact: the chosen bar before the others."""
    answers = (bar.answer for bar in (chosen, *bars))
    return next((answer for answer in answers if isinstance(answer, Estimate) and exact.can_be_traced(answer)), None)


def _approximate(lang: str, answer: Estimate, traces: bool) -> str:
    """What is said of figures that no trace stands behind."""
    if not exact.is_approximate(answer):
        return ""
    if problem := exact.why_not(answer):
        text = explain(lang, problem)
    elif not traces:
        text = t(lang, "estimate.approximate_missing", install=INSTALL)
    elif exact.can_be_traced(answer):
        text = t(lang, "estimate.approximate_tracing")
    else:
        return ""
    if answer.stands_on:
        text += " " + t(lang, "estimate.approximate_nearest", law=answer.stands_on)
    return f'<p class="ls-warn" id="estimate-approximate">≈ {escape(text)}</p>'


def bars_of(lang: str, asked: Asked) -> list[Bar]:
    return [Bar(method_name(lang, key), _answer(asked, key)) for key in METHODS]


def method_name(lang: str, key: str) -> str:
    return t(lang, f"recipe.method_{key}")


def _answer(asked: Asked, key: str) -> Estimate | Problem:
    """The recipe's own method with its own quantization, the others as their rows name them; 4 bits are of the recipe's
    kind. What a method cannot be combined with is said in its own row."""
    if asked.refused and asked.refused[0] == key:
        return asked.refused[1]
    try:
        return replace(asked, recipe=asked.recipe.replace(**method_fields(key, asked.recipe.quantization))).answer
    except Problem as problem:
        return problem


def _verdict(lang: str, bars: list[Bar], index: int, gpu: Gpu, lasting: str) -> str:
    """One sentence; when the chosen method does not fit, a second names those that do, else it says how long the run is
    `lasting`."""
    bar = bars[index]
    words = {"gpu": gpu.name, "method": bar.name}
    if isinstance(bar.answer, Problem):
        text = t(lang, "estimate.method_refused", **words) + " " + _others(lang, bars)
        kind, sign = "ls-problem", "✕"
    elif bar.verdict == "unknown":
        text = t(lang, "estimate.no_memory", device=human_bytes(bar.answer.device_bytes), **words)
        kind, sign = "ls-warn", "?"
    elif bar.verdict == "misses":
        missing = human_bytes(-bar.answer.headroom_bytes)
        text = t(lang, "estimate.misses", missing=missing, **words) + " " + _others(lang, bars)
        kind, sign = "ls-problem", "✕"
    else:
        key = bar.verdict if bar.answer.fits else "close_over"
        text = t(lang, f"estimate.{key}", headroom=human_bytes(bar.answer.headroom_bytes), **words)
        kind, sign = ("ls-good", "✓") if bar.verdict == "fits" else ("ls-warn", "!")
    beside = f' <span class="ls-hours">{escape(lasting)}</span>' if lasting else ""
    return f'<p class="ls-verdict {kind}" role="status">{sign} {escape(text)}{beside}</p>'


def _again(lasting: str) -> str:
    """The hours once more, for narrow screens, where the verdict has no room for them."""
    return f'<p class="ls-note ls-hours-below">{escape(lasting)}</p>' if lasting else ""


def _others(lang: str, bars: list[Bar]) -> str:
    """Which of the other bars fit."""
    fitting = [other.name for other in bars if other.verdict == "fits"]
    return (
        t(lang, "estimate.others_fit", methods=t(lang, "estimate.comma").join(fitting))
        if fitting
        else t(lang, "estimate.none_fits")
    )


def question_of(asked: Asked) -> str:
    """The query string that asks the same; nothing for what the page opens with."""
    question = query(asked.recipe, asked.gpu.name, asked.conditions)
    return "" if question == _FIRST_QUESTION else question


def _stale(lang: str, asked: Asked) -> str:
    """Shown (by the style sheet) while the controls hold a mistake: this picture is not of them."""
    return f'<p class="ls-stale">{escape(t(lang, "estimate.last_good", model=asked.recipe.model, rows=rows_of(lang, asked.recipe)))}</p>'


def rows_of(lang: str, recipe: Recipe) -> str:
    """One batch, in words."""
    return t(lang, "estimate.rows", batch=f"{recipe.per_device_train_batch_size:,}", length=f"{recipe.max_length:,}")


def _counts(lang: str, recipe: Recipe, answer: Estimate) -> str:
    share = f"{answer.trainable_parameters / answer.total_parameters:.3%}"
    words = {"trainable": f"{answer.trainable_parameters:,}", "total": f"{answer.total_parameters:,}", "share": share}
    asked = f"{recipe.model} · {rows_of(lang, recipe)}"
    return (
        f'<p class="ls-note" id="estimate-counts"><b>{escape(asked)}</b> · '
        f"{escape(t(lang, 'estimate.parameters', **words))}"
        f"{_scale(lang, recipe)}</p>"
    )


def _scale(lang: str, recipe: Recipe) -> str:
    """What the update is multiplied by: it moves with the rank while alpha stays. Beside it the alpha that makes it
    USUAL_SCALE."""
    if not recipe.has_adapters:
        return ""
    said = f" {escape(scale_of(lang, recipe))}"
    if recipe.use_rslora or recipe.scaling == USUAL_SCALE:
        return said
    alpha = USUAL_SCALE * recipe.r
    take = escape(t(lang, "estimate.scale_take", alpha=f"{alpha:,}"))
    applied = escape(json.dumps({"lora_alpha": alpha}))
    return f'{said} <button type="button" class="ls-link-button" data-apply="{applied}">{take}</button>'


def scale_of(lang: str, recipe: Recipe) -> str:
    """`alpha/r = 32/16 = 2`."""
    words = {"alpha": f"{recipe.lora_alpha:,}", "r": f"{recipe.r:,}", "scale": f"{recipe.scaling:.3g}"}
    return t(lang, "estimate.scale_rslora" if recipe.use_rslora else "estimate.scale", **words)


def _notes(lang: str, answer: Estimate) -> str:
    """The error bar with its reasons, and warnings."""
    low, high = human_bytes(answer.uncertainty.low_bytes), human_bytes(answer.uncertainty.high_bytes)
    why = "".join(f"<li>{escape(explain(lang, reason))}</li>" for reason in answer.uncertainty.why)
    warnings = "".join(f'<p class="ls-warn">! {escape(explain(lang, warning))}</p>' for warning in answer.warnings)
    return (
        f'{warnings}<details class="ls-more"><summary>{escape(t(lang, "estimate.range", low=low, high=high))} '
        f"{escape(t(lang, 'estimate.why'))}</summary><ul>{why}</ul></details>"
    )


_FIRST_QUESTION = query(Recipe(model=START["model"], max_length=START["max_length"]), START["gpu"])
assert all(f"recipe.method_{key}" in strings("en") for key in METHODS)
