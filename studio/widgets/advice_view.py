"""What a dataset asks of a run: each proposal with the figure that it follows from, and who says so."""

from __future__ import annotations

from html import escape

from studio.i18n import t
from studio.outlook.advice_words import notes, shown, source, why, worth_saying
from studio.outlook.advisor import Advice, Proposal


def advice_view(lang: str, advice: Advice, rows: int) -> str:
    """`rows`: how many are trained."""
    title = escape(t(lang, "advisor.title"))
    help = escape(t(lang, "advisor.help", model=advice.recipe.model, rows=f"{rows:,}"))
    warned = "".join(
        f'<p class="ls-warn ls-data-note" role="status">! {escape(note)}</p>' for note in notes(lang, advice)
    )
    items = "".join(_item(lang, one) for one in worth_saying(advice))
    return f'<section class="ls-data-advice"><h3>{title}</h3><p class="ls-note">{help}</p>{warned}<dl>{items}</dl></section>'


def _item(lang: str, one: Proposal) -> str:
    name, value = escape(t(lang, f"recipe.{one.field}")), escape(shown(lang, one.value))
    return (
        f"<div><dt>{name} <strong>{value}</strong></dt>"
        f'<dd>{escape(why(lang, one))} <span class="ls-note">{escape(source(lang, one))}</span></dd></div>'
    )
