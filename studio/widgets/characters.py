"""Rows without a tokenizer, for where the chosen base is not at hand: texts, and lengths in characters without a
verdict."""

from __future__ import annotations

from html import escape
from typing import Any

from studio.i18n import t
from studio.widgets.token_mask import row_head, visible


def rows(lang: str, seen: dict[str, Any], place: str) -> str:
    """The data worker's `characters`; `place` says which rows they are, as HTML."""
    title = escape(t(lang, "dataset.characters_title"))
    return f"<section><h3>{title}</h3>{place}{''.join(_row(lang, one) for one in seen['rows'])}</section>"


def _row(lang: str, row: dict[str, Any]) -> str:
    marks = [t(lang, "dataset.row_characters", count=f"{row['characters']:,}")]
    more = row["characters"] - len(row["text"])
    rest = f'<p class="ls-note">{escape(t(lang, "dataset.row_more_characters", count=f"{more:,}"))}</p>' if more else ""
    return (
        f'<article class="ls-row">{row_head(lang, row, marks)}'
        f'<div class="ls-tokens" dir="auto">{visible(row["text"])}</div>{rest}</article>'
    )


def lengths(lang: str, seen: dict[str, Any]) -> str:
    """The lengths in words, counted in characters."""
    facts = {key: f"{value:,}" for key, value in seen["lengths"].items() if isinstance(value, int)}
    words = t(lang, "dataset.characters_facts", **facts)
    if seen["measured"] < seen["of"]:
        words += " " + t(lang, "dataset.characters_sample", measured=f"{seen['measured']:,}", total=f"{seen['of']:,}")
    title = escape(t(lang, "dataset.lengths_title"))
    return f'<section class="ls-lengths"><h3>{title}</h3><p class="ls-note">{escape(words)}</p></section>'
