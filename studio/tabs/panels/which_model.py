"""Which model: of each of the newest families the largest that the card holds with the rest as it is; a press takes
it."""

from __future__ import annotations

import json
from html import escape

from estimator.advice.advise import newest_models
from estimator.core.units import human_bytes, human_count
from estimator.estimates.estimate import Estimate
from estimator.model.catalog import models
from studio.i18n import t
from studio.tabs.panels import APPLY, Asked
from studio.widgets.verdicts import SIGNS, sign_text, verdict_of

NAME = "models"
ON_LOAD = APPLY
FAMILIES = 12


def render(lang: str, asked: Asked) -> str:
    found = newest_models(asked.recipe, asked.gpu, families=FAMILIES, model=asked.model, **asked.conditions.options)
    if not found:
        return f'<p class="ls-problem">✕ {escape(t(lang, "estimate.models_none"))}</p>'
    heads = "".join(
        f'<th scope="col">{escape(t(lang, f"estimate.models_{name}"))}</th>'
        for name in ("model", "parameters", "released", "memory", "fits")
    )
    found.sort(key=lambda made: models()[made.source.recipe.model].released, reverse=True)
    body = "".join(_row(lang, made, made.source.recipe.model == asked.recipe.model) for made in found)
    note = f'<p class="ls-note">{escape(t(lang, "estimate.models_note"))}</p>'
    return f'{note}<div class="ls-scroll"><table class="ls-table ls-models"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(lang: str, made: Estimate, is_own: bool) -> str:
    id, verdict = made.source.recipe.model, verdict_of(made)
    preset = models()[id]
    about = f'<abbr title="{escape(t(lang, "estimate.approximate"))}">≈</abbr> ' if made.engine == "analytic" else ""
    return (
        f'<tr{" aria-current=true" if is_own else ""}><th scope="row"><button type="button" data-apply="{escape(json.dumps({"model": id}))}">{escape(id)}</button></th>'
        f"<td>{human_count(preset.parameters)}</td><td>{escape(preset.released)}</td><td>{about}{human_bytes(made.device_bytes)}</td>"
        f'<td><span class="ls-sign-{verdict}">{SIGNS[verdict]} {escape(sign_text(lang, made))}</span></td></tr>'
    )
