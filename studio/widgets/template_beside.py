"""That another template than the base's own writes the conversations, with one row by both."""

from __future__ import annotations

from html import escape
from typing import Any

from studio.i18n import strings, t
from studio.widgets.token_mask import tokens


def template_beside(lang: str, found: dict[str, Any] | None) -> str:
    """`found` as `studio.rendering.beside` says it; nothing where the base's own template writes."""
    if not found:
        return ""
    chosen, both = _name(lang, found["chosen"]), found["both"]
    if not both:
        return "" if found["has_own"] else _note(t(lang, "dataset.template_none"))
    if not found["has_own"]:
        return ""
    row, by_own = both
    if [row["pieces"], row["dropped"]] == [by_own["pieces"], by_own["dropped"]]:
        said = t(lang, "dataset.template_same", chosen=chosen, row=f"{row['row']:,}")
        return f'<p class="ls-note">{escape(said)}</p>'
    columns = ((t(lang, "dataset.template_chosen", chosen=chosen), row), (t(lang, "dataset.template_own_one"), by_own))
    shown = "".join(_column(lang, title, one) for title, one in columns)
    said = t(lang, "dataset.template_differs", chosen=chosen, row=f"{row['row']:,}")
    return f'{_note(said)}<div class="ls-data-two">{shown}</div>'


def _column(lang: str, title: str, row: dict[str, Any]) -> str:
    count = t(lang, "dataset.row_tokens", length=f"{row['length']:,}", trained=f"{row['trained']:,}")
    return (
        f'<article class="ls-row"><header><h4>{escape(title)}</h4><p class="ls-note">{escape(count)}</p></header>'
        f'<div class="ls-tokens" dir="auto" tabindex="0">{tokens(row["pieces"])}</div></article>'
    )


def _note(said: str) -> str:
    return f'<p class="ls-warn ls-data-note" role="status">! {escape(said)}</p>'


def _name(lang: str, chosen: str) -> str:
    return strings(lang).get(f"recipe.template_{chosen}", chosen)
