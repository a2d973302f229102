"""Presets of intent: a row of buttons above the controls; each sets a few fields and says why, with the source."""

from __future__ import annotations

from html import escape
from typing import Any

from estimator.advice.intents import intents, meet
from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS, Recipe
from studio import shipped
from studio.i18n import LANGUAGES, t
from studio.tabs.panels import Asked

# Which was pressed last is the page's own affair; the server gets its name.
ON_LOAD = shipped.script("elements/intents")


def html() -> str:
    """In both languages; the style sheet shows the one of the page."""
    buttons = "".join(
        f'<button type="button" data-intent="{name}" aria-pressed="false">{_both(f"intent_{name}")}</button>'
        for name in intents()
    )
    reasons = "".join(
        f'<p data-why="{name}" hidden>{_both(f"intent_{name}_why")} <small>{escape(intent.source)}</small></p>'
        for name, intent in intents().items()
    )
    back = f'<button type="button" class="ls-link-button" data-back>{_both("reset_back")}</button>'
    reasons += f'<p data-why="reset" hidden>{_both("reset_done")} {back}</p>'
    reset = f'<button type="button" class="ls-link-button" data-reset>{_both("reset")}</button>'
    return (
        f'<section class="ls-intents"><div class="ls-intents-head"><h2>{_both("intents")}</h2>{reset}</div>'
        f'<div>{buttons}</div><div aria-live="polite">{reasons}</div></section>'
    )


def met(asked: Asked, name: str, undo: dict[str, tuple[Any, Any]]) -> tuple[Recipe, dict[str, tuple[Any, Any]]]:
    """The recipe of an intent, and each field that it changes as (before, after). `undo` is that of the intent pressed
    before: what still stands as it was set is first put back, so that the order of pressing does not matter. Raises
    `Problem`."""
    if name not in intents():
        raise Problem("recipe.choice", field="intent", value=str(name)[:40], allowed=", ".join(intents()))
    recipe = asked.recipe.replace(
        **{field: before for field, (before, after) in undo.items() if getattr(asked.recipe, field) == after}
    )
    made = meet(intents()[name], recipe, asked.gpu, asked.model, asked.conditions)
    fields = [field for field in FIELDS if getattr(recipe, field) != getattr(made, field)]
    return made, {field: (getattr(recipe, field), getattr(made, field)) for field in fields}


def _both(key: str) -> str:
    return "".join(f'<span data-lang="{lang}">{escape(t(lang, f"estimate.{key}"))}</span>' for lang in LANGUAGES)
