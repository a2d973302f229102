"""Why: the memory over one step, each component's formula, inputs and source, and the picture of W + B A for one
layer."""

from __future__ import annotations

from html import escape

from estimator.core.units import human_bytes
from estimator.estimates.formulas import Formula, Term
from studio import shipped
from studio.i18n import explain, t
from studio.tabs.panels import Asked
from studio.widgets.low_rank import ON_LOAD as CHOOSE_LAYER
from studio.widgets.low_rank import low_rank
from studio.widgets.memory_bar import swatch
from studio.widgets.step_curve import step_curve

NAME = "why"
# A repaint leaves unfolded what was: formulas are read while a control moves.
ON_LOAD = CHOOSE_LAYER + shipped.script("elements/why")


def render(lang: str, asked: Asked) -> str:
    """All of it is the answer's own: nothing is estimated here."""
    made = asked.answer
    items = "".join(_formula(lang, formula, asked.recipe.num_processes) for formula in made.formulas)
    picture = low_rank(lang, made.source.parts.trained) if asked.recipe.has_adapters else ""
    return (
        f"<h3>{escape(t(lang, 'estimate.step_title'))}</h3>{step_curve(lang, made.moments, made.peak_moment)}"
        f'<h3>{escape(t(lang, "estimate.formulas_title"))}</h3><div class="ls-formulas">{items}</div>{picture}'
    )


def _formula(lang: str, formula: Formula, devices: int) -> str:
    terms = " + ".join(_term(lang, term, devices) for term in formula.terms)
    name = escape(t(lang, f"estimate.{formula.component}"))
    notes = "".join(f"<p>{escape(explain(lang, note))}</p>" for note in formula.notes)
    return (
        f"<details><summary>{swatch(formula.component)}{name} "
        f"<b>{human_bytes(formula.bytes)}</b></summary><p><code>{escape(terms)} = {formula.bytes:,} "
        f"B</code></p>{notes}</details>"
    )


def _term(lang: str, term: Term, devices: int) -> str:
    """`524,288 B × B·S (4,096)`, a count with what it counts, or bytes with what they are."""
    each = f"{term.each:,.4f}".rstrip("0").rstrip(".")
    if term.name == "1":
        return f"{each} B"
    if term.name in ("packed", "rest", "parameters", "trained"):
        return f"{each} B × {term.times:,.0f} {t(lang, f'estimate.term_{term.name}')}"
    if term.name in ("step", "sharding", "beside"):
        return f"{term.times:,.0f} B {t(lang, f'estimate.term_{term.name}')}"
    if term.name == "device":
        return f"{term.times:,.0f} B ÷ {devices}"
    return f"{term.times:,.0f} B" if term.name == "bytes" else f"{each} B × {term.name} ({term.times:,.0f})"
