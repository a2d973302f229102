"""Why: the memory over one step, each component's formula, inputs and source, and the picture of W + B A for one layer."""

from __future__ import annotations

from html import escape

from estimator.formulas import Formula, Term, formulas, moments
from estimator.parts import parts_of
from estimator.platforms import Platform
from estimator.units import human_bytes
from studio.i18n import explain, t
from studio.tabs.panels import Asked
from studio.widgets.low_rank import ON_LOAD as CHOOSE_LAYER
from studio.widgets.low_rank import low_rank
from studio.widgets.memory_bar import swatch
from studio.widgets.step_curve import step_curve

NAME = "why"
# A repaint leaves unfolded what was: formulas are read while a control moves.
ON_LOAD = CHOOSE_LAYER + """
let unfolded = [];
element.addEventListener('toggle', () => { unfolded = [...element.querySelectorAll('details')].map((fold) => fold.open); }, true);
watch('value', () => { element.querySelectorAll('details').forEach((fold, n) => { fold.open = Boolean(unfolded[n]); }); });"""


def render(lang: str, asked: Asked) -> str:
    parts = parts_of(asked.recipe, asked.model, "trl", "cuda", Platform.of(asked.gpu), batches=asked.conditions.batches)
    row, _ = parts.evaluate(asked.recipe)
    items = "".join(_formula(lang, formula) for formula in formulas(asked.recipe, parts))
    picture = low_rank(lang, parts.trained) if asked.recipe.has_adapters else ""
    return (
        f'<h3>{escape(t(lang, "estimate.step_title"))}</h3>{step_curve(lang, moments(asked.recipe, parts), row.moment)}'
        f'<h3>{escape(t(lang, "estimate.formulas_title"))}</h3><div class="ls-formulas">{items}</div>{picture}'
    )


def _formula(lang: str, formula: Formula) -> str:
    terms = " + ".join(_term(lang, term) for term in formula.terms)
    name = escape(t(lang, f"estimate.{formula.component}"))
    return (
        f"<details><summary>{swatch(formula.component)}{name} "
        f"<b>{human_bytes(formula.bytes)}</b></summary><p><code>{escape(terms)} = {formula.bytes:,} B</code></p>"
        f"<p>{escape(explain(lang, formula.note))}</p></details>"
    )


def _term(lang: str, term: Term) -> str:
    """`524,288 B × B·S (4,096)`, or a count with what it counts."""
    each = f"{term.each:,.4f}".rstrip("0").rstrip(".")
    if term.name == "1":
        return f"{each} B"
    if term.name in ("packed", "rest", "parameters", "trained", "bytes"):
        return f"{term.times:,.0f} B" if term.name == "bytes" else f"{each} B × {term.times:,.0f} {t(lang, f'estimate.term_{term.name}')}"
    return f"{each} B × {term.name} ({term.times:,.0f})"
