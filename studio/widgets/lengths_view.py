"""How long the rows are, in words and as a table; `plots.lengths_figure` draws them."""

from __future__ import annotations

from html import escape
from typing import Any

from studio.i18n import t


def lengths_said(lang: str, preview: dict[str, Any], limit: int) -> str:
    """The lengths of a `preview` of the data worker in words; `limit` is the sequence length in tokens."""
    lengths, counts = preview["lengths"], preview["lengths"]["counts"]
    if not counts:
        return ""
    facts = {key: f"{value:,}" for key, value in lengths.items() if isinstance(value, int)}
    rows, over = preview["measured"], preview["excess"]["rows"] if preview["excess"] else 0
    tokens, trained = f"{preview['tokens']:,}", f"{preview['trained_tokens']:,}"
    notes = [t(lang, "dataset.lengths_facts", **facts, tokens=tokens, trained=trained)]
    if over:
        notes.append(t(lang, "dataset.lengths_over", over=f"{over:,}", rows=f"{rows:,}", limit=f"{limit:,}"))
    else:
        notes.append(t(lang, "dataset.lengths_beyond", limit=f"{limit:,}"))
    if rows < preview["of"]:
        notes.append(t(lang, "dataset.lengths_sample", measured=f"{rows:,}", total=f"{preview['of']:,}"))
    title = escape(t(lang, "dataset.lengths_title"))
    return f'<section class="ls-lengths"><h3>{title}</h3><p class="ls-note">{escape(" ".join(notes))}</p></section>'


def lengths_table(lang: str, lengths: dict[str, Any], unit: str) -> str:
    """The bins for those who read, with all that the chart tells on hover; `unit` is what lengths are counted in."""
    counts, every = lengths["counts"], sum(lengths["counts"])
    if not every:
        return ""
    over, width = lengths.get("over") or [0] * len(counts), lengths["top"] // len(counts)
    rows = [
        [f"{at * width:,}–{(at + 1) * width - 1:,}", f"{count:,}", f"{100 * count / every:.1f} %", f"{over[at]:,}"]
        for at, count in enumerate(counts)
        if count
    ]
    heads = [unit, *(t(lang, f"dataset.lengths_{key}") for key in ("rows", "share", "longer"))]
    shown = 4 if any(over) else 3
    head = "".join(f'<th scope="col">{escape(word)}</th>' for word in heads[:shown])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row[:shown])}</tr>" for row in rows)
    summary = escape(t(lang, "dataset.lengths_table"))
    return (
        f'<details class="ls-lengths"><summary>{summary}</summary><div class="ls-scroll" tabindex="0"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div></details>"
    )
