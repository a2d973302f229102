"""What a form keeps of another base when the base changes: said, and the new base's own is a press away."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from studio.i18n import t
from studio.models.find import EMBEDDED_START, STARTS
from studio.tabs.controls import read
from studio.tabs.estimate_form import first_recipe

GIVEN_AWAY_BY = ("dtype", "learning_rate")
"""Where both are as the embedded base begins with, what a larger base has was meant for that one."""


def note(lang: str, model: Any, held: dict[str, Any]) -> str:
    """Of the fields that the embedded base begins with otherwise: those that stand as they were before it was chosen,
    or before it was left. Nothing where nothing does."""
    own = _differing(model, held) if isinstance(model, str) else {}
    if not own:
        return ""
    kept = _listed(lang, {name: held[name] for name in own})
    said = escape(t(lang, "estimate.carried", kept=kept, own=_listed(lang, own)))
    take = escape(t(lang, "estimate.carried_take"))
    button = f'<button type="button" class="ls-button" data-apply="{escape(json.dumps(own))}">{take}</button>'
    return f'<div class="ls-warn ls-link" role="status">{close_button(lang)}! {said}<p>{button}</p></div>'


def close_button(lang: str) -> str:
    return f'<button type="button" class="ls-close" aria-label="{escape(t(lang, "common.close"))}">×</button>'


def _differing(model: str, held: dict[str, Any]) -> dict[str, Any]:
    """The fields and what `model` begins with."""
    names = [name for name in EMBEDDED_START if name != "model"]
    own = {name: getattr(first_recipe(model), name) for name in names}
    stands = {name: read(name, held[name]) for name in names}
    if model not in STARTS:
        if any(stands[name] != EMBEDDED_START[name] for name in GIVEN_AWAY_BY):
            return {}
        names = [name for name in names if stands[name] == EMBEDDED_START[name]]
    return {name: own[name] for name in names if stands[name] != own[name]}


def _listed(lang: str, values: dict[str, Any]) -> str:
    return t(lang, "estimate.comma").join(
        f"{t(lang, f'recipe.{name}')} {_shown(lang, value)}" for name, value in values.items()
    )


def _shown(lang: str, value: Any) -> str:
    if isinstance(value, bool):
        return t(lang, "estimate.on" if value else "estimate.off")
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
