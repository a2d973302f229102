"""What to change: the mildest way to make it fit, every single change, and what each costs; a button applies it."""

from __future__ import annotations

import json
from html import escape

from estimator.advice.advise import Advice, Proposal, advise
from estimator.core.field_text import shown_in_box
from estimator.core.units import human_bytes
from studio.i18n import explain, t
from studio.tabs.panels import APPLY, Asked
from studio.widgets.verdicts import SIGNS, sign_text, verdict_of

NAME = "change"
ON_LOAD = APPLY


def render(lang: str, asked: Asked) -> str:
    advice = advise(asked.recipe, asked.gpu, model=asked.model, **asked.conditions.options)
    return _first(lang, advice) + _singles(lang, advice)


def _first(lang: str, advice: Advice) -> str:
    """What a beginner clicks: what makes it fit, and what makes it fit beyond doubt."""
    made, cheapest, surest = advice.estimate, advice.cheapest, advice.surest
    if not made.fits and not cheapest:
        return _said(lang, "problem", "✕", "change_nothing")
    html = (
        ""
        if not made.fits
        else _said(lang, "warn", "!", "change_close")
        if made.is_close
        else _said(lang, "good", "✓", "change_fits")
    )
    html += _best(lang, "change_mildest", cheapest) if cheapest else ""
    if surest:
        return html + _best(lang, "change_surest", surest)
    return html + (
        _said(lang, "warn", "!", "change_never_sure") if (cheapest.estimate if cheapest else made).is_close else ""
    )


def _said(lang: str, kind: str, sign: str, key: str) -> str:
    return f'<p class="ls-{kind}">{sign} {escape(t(lang, f"estimate.{key}"))}</p>'


def _best(lang: str, title: str, proposal: Proposal) -> str:
    return f'<section class="ls-advice ls-advice-first"><h3>{escape(t(lang, f"estimate.{title}"))}</h3>{_proposal(lang, proposal, "primary")}</section>'


def _singles(lang: str, advice: Advice) -> str:
    """All others."""
    said = [best.values for best in (advice.cheapest, advice.surest) if best]
    others = [proposal for proposal in advice.singles if proposal.values not in said]
    if not others:
        return "" if said else f'<p class="ls-note">{escape(t(lang, "estimate.change_none"))}</p>'
    items = "".join(f"<li>{_proposal(lang, proposal)}</li>" for proposal in others)
    return f'<h3>{escape(t(lang, "estimate.change_singles"))}</h3><ol class="ls-advice">{items}</ol>'


def _proposal(lang: str, proposal: Proposal, kind: str = "secondary") -> str:
    made = proposal.estimate
    verdict = verdict_of(made)
    notes = "".join(
        f"<p>{escape(explain(lang, change.note_in(lambda field: t(lang, f'recipe.{field}'))))}</p>"
        for change in proposal.changes
    )
    words = {"saved": human_bytes(proposal.saved_bytes), "left": human_bytes(made.device_bytes)}
    values = escape(json.dumps(proposal.values))
    time = t(lang, "estimate.change_time", ratio=f"{proposal.time_ratio:.2f}") if proposal.time_ratio else ""
    costs = " · ".join(
        filter(None, [t(lang, f"estimate.cost_{proposal.cost}") if proposal.cost != "time" or not time else "", time])
    )
    said = t(lang, "estimate.comma").join(f"{field} {shown_in_box(value)}" for field, value in proposal.values.items())
    name = f"{t(lang, 'estimate.apply')}: {said}"  # several buttons stand below each other
    return (
        f'<div class="ls-change"><div>{notes}<p class="ls-note">{escape(t(lang, "estimate.change_saves", **words))} · '
        f'{escape(costs)} · <span class="ls-sign-{verdict}">{SIGNS[verdict]} {escape(sign_text(lang, made))}</span></p></div>'
        f'<button type="button" class="ls-button ls-button-{kind}" data-apply="{values}" aria-label="{escape(name)}">{escape(t(lang, "estimate.apply"))}</button></div>'
    )
