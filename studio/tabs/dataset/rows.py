"""The page of rows as the model reads them, or as they are stored where no tokenizer is at hand."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from studio.datasets.words import numbers_text, reason_text
from studio.i18n import t
from studio.tabs.notices import problem_html
from studio.widgets.fields import button
from studio.widgets.template_beside import template_beside
from studio.widgets.token_mask import legend, token_mask

ROWS_A_PAGE, LEFT_OUT_A_PAGE = 5, 25


def rows_html(lang: str, seen: dict[str, Any], limit: int) -> str:
    """The page of rows, under the meaning of tint and box; above it, that nothing fits where nothing does."""
    shortest, warning = seen["lengths"].get("shortest", 0), ""
    if not seen["kept"] and shortest > limit:
        warning = problem_html(t(lang, "dataset.none_fits", limit=f"{limit:,}", shortest=f"{shortest:,}"))
    return (
        f"<section><h3>{escape(t(lang, 'dataset.rows_title'))}</h3>{warning}"
        f"{template_beside(lang, seen.get('template'))}"
        f'<div class="ls-rows-head">{legend(lang)}{found(lang, seen)}</div>'
        f"{''.join(token_mask(lang, row) for row in seen['rows'])}{left_out(lang, seen)}</section>"
    )


def found(lang: str, seen: dict[str, Any]) -> str:
    """Which rows these are; of rows that were looked for how many there are, and what can be done with all of them."""
    numbered = seen["rows"] or seen.get("left_out")
    where = place(lang, seen) if numbered else t(lang, "rows.none_found")
    if not seen.get("found"):
        return f'<p class="ls-note">{escape(where)}</p>'
    about = [where]
    if seen.get("first"):
        about += [t(lang, "rows.found_first", count=f"{seen['first']:,}")] if seen["total"] >= seen["first"] else []
    elif seen["measured"] < seen["of"]:
        about.append(t(lang, "rows.found_sample", measured=f"{seen['measured']:,}", of=f"{seen['of']:,}"))
    count = f"{seen['total']:,}"
    act = button("remove_found", t(lang, "rows.remove_found", count=count)) if seen["rows"] else ""
    return f'<div class="ls-found"><p class="ls-note" role="status">{escape(" · ".join(about))}</p>{act}</div>'


def left_out(lang: str, seen: dict[str, Any]) -> str:
    """Rows left out of the file: nothing but their numbers and reasons is kept."""
    return "".join(
        f'<article class="ls-row"><header><h4>{escape(_title(lang, one))}</h4></header>'
        f'<p class="ls-row-dropped">✕ {escape(reason_text(lang, one))}</p></article>'
        for one in seen.get("left_out", ())
    )


def _title(lang: str, one: dict[str, Any]) -> str:
    return t(lang, "dataset.row_title", row=f"{one['row']:,}")


def page_size(view: dict[str, Any]) -> int:
    return LEFT_OUT_A_PAGE if view["find"].get("problem") == "dropped" else ROWS_A_PAGE


def place(lang: str, seen: dict[str, Any]) -> str:
    """Which rows of the file are shown, by their numbers in it: others may have been left out, or held back for
    validation."""
    numbers = numbers_text(lang, [one["row"] for one in seen["rows"] or seen.get("left_out", ())])
    key = "rows.found" if seen.get("found") else "dataset.rows_shown"
    return t(lang, key, numbers=numbers, total=f"{seen['total']:,}")


def pager(seen: dict[str, Any]) -> dict[str, Any]:
    """The row of buttons, and its two."""
    shown = len(seen["rows"] or seen.get("left_out", ()))
    last = seen["offset"] + shown
    return {
        "pager": gr.Row(visible=seen["total"] > shown),
        "previous": gr.Button(interactive=seen["offset"] > 0),
        "next": gr.Button(interactive=last < seen["total"]),
    }
