"""What to change: the mildest way to make it fit, every single change, and what each costs; a button applies it."""

from __future__ import annotations

import json
from html import escape

from estimator.advise import Advice, Proposal, advise
from estimator.units import human_bytes
from studio.i18n import explain, t
from studio.tabs.panels import APPLY, Asked

NAME = "change"
ON_LOAD = APPLY


def render(lang: str, asked: Asked) -> str:
    advice = advise(asked.recipe, asked.gpu, model=asked.model, **asked.conditions.options)
    return _first(lang, advice) + _singles(lang, advice)


def _first(lang: str, advice: Advice) -> str:
    """What a beginner clicks."""
    if advice.estimate.fits:
        return f'<p class="ls-good">✓ {escape(t(lang, "estimate.change_fits"))}</p>'
    if advice.cheapest is None:
        return f'<p class="ls-problem">✕ {escape(t(lang, "estimate.change_nothing"))}</p>'
    title = escape(t(lang, "estimate.change_mildest"))
    return f'<section class="ls-advice ls-advice-first"><h3>{title}</h3>{_proposal(lang, advice.cheapest, "primary")}</section>'


def _singles(lang: str, advice: Advice) -> str:
    if not advice.singles:
        return f'<p class="ls-note">{escape(t(lang, "estimate.change_none"))}</p>'
    items = "".join(f"<li>{_proposal(lang, proposal)}</li>" for proposal in advice.singles)
    return f'<h3>{escape(t(lang, "estimate.change_singles"))}</h3><ol class="ls-advice">{items}</ol>'


def _proposal(lang: str, proposal: Proposal, kind: str = "secondary") -> str:
    made = proposal.estimate
    verdict = "close" if made.is_close else "fits" if made.fits else "misses"
    sign = {"fits": "✓", "close": "!", "misses": "✕"}[verdict]
    notes = "".join(f"<p>{escape(explain(lang, change.note))}</p>" for change in proposal.changes)
    words = {"saved": human_bytes(proposal.saved_bytes), "left": human_bytes(made.device_bytes)}
    values = escape(json.dumps(proposal.values))
    time = " · " + t(lang, "estimate.change_time", ratio=f"{proposal.time_ratio:.2f}") if proposal.time_ratio else ""
    return (
        f'<div class="ls-change"><div>{notes}<p class="ls-note">{escape(t(lang, "estimate.change_saves", **words))} · '
        f'{escape(t(lang, f"estimate.cost_{proposal.cost}") + time)} · <span class="ls-sign-{verdict}">{sign} {escape(t(lang, f"estimate.sign_{verdict}"))}</span></p></div>'
        f'<button type="button" class="ls-button ls-button-{kind}" data-apply="{values}">{escape(t(lang, "estimate.apply"))}</button></div>'
    )
