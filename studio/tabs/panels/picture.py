"""The picture: the verdict in a sentence, counts, the three methods as bars, the error bar and its reasons."""

from __future__ import annotations

from html import escape

from estimator.catalog import Gpu
from estimator.estimate import Estimate, estimate
from estimator.problems import Problem
from estimator.units import human_bytes
from studio.i18n import explain, strings, t
from studio.tabs.controls import METHODS, method_key
from studio.tabs.panels import Asked
from studio.widgets.memory_bar import Bar, memory_bars


def picture(lang: str, asked: Asked) -> str:
    """Verdict, counts, bars, reasons. Raises `Problem` for what no method could make good."""
    bars = bars_of(lang, asked)
    index = list(METHODS).index(method_key(asked.recipe))
    for n, bar in enumerate(bars):  # a method that the model cannot take says so in its own row; other mistakes are the form's
        if isinstance(bar.answer, Problem) and (n == index or bar.answer.field != "method"):
            raise bar.answer
    return (
        f'<article class="ls-panel">{_verdict(lang, bars, index, asked.gpu)}{_counts(lang, bars[index].answer)}'
        f"{memory_bars(lang, bars, index, asked.gpu.name)}{_notes(lang, bars[index].answer)}</article>"
    )


def bars_of(lang: str, asked: Asked) -> list[Bar]:
    return [Bar(method_name(lang, key), _answer(asked, key)) for key in METHODS]


def method_name(lang: str, key: str) -> str:
    return t(lang, f"recipe.method_{key}")


def _answer(asked: Asked, key: str) -> Estimate | Problem:
    """The recipe's own method with its own quantization, the others as their rows name them."""
    try:
        recipe = asked.recipe if key == method_key(asked.recipe) else asked.recipe.replace(**METHODS[key])
        return estimate(recipe, asked.gpu, model=asked.model)
    except Problem as problem:
        return problem


def _verdict(lang: str, bars: list[Bar], index: int, gpu: Gpu) -> str:
    """One sentence; when the chosen method does not fit, a second names those that do."""
    bar = bars[index]
    words = {"gpu": gpu.name, "method": bar.name}
    if bar.verdict == "unknown":
        text = t(lang, "estimate.no_memory", device=human_bytes(bar.answer.device_bytes), **words)
        kind, sign = "ls-warn", "?"
    elif bar.verdict == "misses":
        others = [other.name for other in bars if other.verdict == "fits"]
        text = t(lang, "estimate.misses", missing=human_bytes(-bar.answer.headroom_bytes), **words) + " "
        text += t(lang, "estimate.others_fit", methods=", ".join(others)) if others else t(lang, "estimate.none_fits")
        kind, sign = "ls-problem", "✕"
    else:
        text = t(lang, f"estimate.{bar.verdict}", headroom=human_bytes(bar.answer.headroom_bytes), **words)
        kind, sign = ("ls-good", "✓") if bar.verdict == "fits" else ("ls-warn", "!")
    return f'<p class="ls-verdict {kind}" role="status">{sign} {escape(text)}</p>'


def _counts(lang: str, answer: Estimate) -> str:
    share = f"{answer.trainable_parameters / answer.total_parameters:.3%}"
    words = {"trainable": f"{answer.trainable_parameters:,}", "total": f"{answer.total_parameters:,}", "share": share}
    return f'<p class="ls-note" id="estimate-counts">{escape(t(lang, "estimate.parameters", **words))}</p>'


def _notes(lang: str, answer: Estimate) -> str:
    """The error bar with its reasons, and warnings."""
    low, high = human_bytes(answer.uncertainty.low_bytes), human_bytes(answer.uncertainty.high_bytes)
    why = "".join(f"<li>{escape(explain(lang, reason))}</li>" for reason in answer.uncertainty.why)
    warnings = "".join(f'<p class="ls-warn">! {escape(explain(lang, warning))}</p>' for warning in answer.warnings)
    return (
        f"{warnings}<details class=\"ls-more\"><summary>{escape(t(lang, 'estimate.range'))}: {low} – {high}. "
        f"{escape(t(lang, 'estimate.why'))}</summary><ul>{why}</ul></details>"
    )


assert all(f"recipe.method_{key}" in strings("en") for key in METHODS)
