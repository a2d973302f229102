"""The page of rows as the model reads them, or as they are stored where no tokenizer is at hand."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from studio.datasets.words import numbers_text
from studio.i18n import t
from studio.tabs.notices import problem_html
from studio.widgets.template_beside import template_beside
from studio.widgets.token_mask import legend, token_mask

ROWS_A_PAGE = 5


def rows_html(lang: str, seen: dict[str, Any], limit: int) -> str:
    """The page of rows, under the meaning of tint and box; above it, that nothing fits where nothing does."""
    shortest, warning = seen["lengths"].get("shortest", 0), ""
    if not seen["kept"] and shortest > limit:
        warning = problem_html(t(lang, "dataset.none_fits", limit=f"{limit:,}", shortest=f"{shortest:,}"))
    return (
        f"<section><h3>{escape(t(lang, 'dataset.rows_title'))}</h3>{warning}"
        f"{template_beside(lang, seen.get('template'))}"
        f'<div class="ls-rows-head">{legend(lang)}<p class="ls-note">{escape(place(lang, seen))}</p></div>'
        f"{''.join(token_mask(lang, row) for row in seen['rows'])}</section>"
    )


def place(lang: str, seen: dict[str, Any]) -> str:
    """Which rows of the file are shown, by their numbers in it: others may have been left out, or held back for
    validation."""
    numbers = numbers_text(lang, [one["row"] for one in seen["rows"]])
    return t(lang, "dataset.rows_shown", numbers=numbers, total=f"{seen['total']:,}")


def pager(seen: dict[str, Any]) -> dict[str, Any]:
    """The row of buttons, and its two."""
    last = seen["offset"] + len(seen["rows"])
    return {
        "pager": gr.Row(visible=seen["total"] > ROWS_A_PAGE),
        "previous": gr.Button(interactive=seen["offset"] > 0),
        "next": gr.Button(interactive=last < seen["total"]),
    }
