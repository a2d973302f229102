"""How long the rows are, with the line where the sequence length cuts them off. SVG, with a table for those who cannot
see it."""

from __future__ import annotations

from html import escape
from typing import Any

from studio.i18n import t

WIDTH, HEIGHT = 800, 160


def length_histogram(lang: str, preview: dict[str, Any], limit: int) -> str:
    """The histogram of a `preview` of the data worker; `limit` is the sequence length in tokens."""
    lengths, counts = preview["lengths"], preview["lengths"]["counts"]
    if not counts:
        return ""
    over = preview["excess"]["rows"] if preview["excess"] else 0
    facts = {key: f"{value:,}" for key, value in lengths.items() if key != "counts"}
    rows = f"{preview['measured']:,}"
    label = t(lang, "dataset.lengths_label", **facts, limit=f"{limit:,}", over=f"{over:,}", rows=rows)
    words = t(
        lang,
        "dataset.lengths_facts",
        **facts,
        tokens=f"{preview['tokens']:,}",
        trained=f"{preview['trained_tokens']:,}",
    )
    notes = [words]
    if limit >= lengths["top"]:
        notes.append(t(lang, "dataset.lengths_beyond", limit=f"{limit:,}"))
    if preview["measured"] < preview["of"]:
        notes.append(t(lang, "dataset.lengths_sample", measured=rows, total=f"{preview['of']:,}"))
    return (
        f'<section class="ls-lengths"><h3>{escape(t(lang, "dataset.lengths_title"))}</h3>'
        f'<p class="ls-note">{escape(" ".join(notes))}</p>'
        f"{drawing(lang, lengths, label, t(lang, 'dataset.lengths_from'), limit)}</section>"
    )


def drawing(lang: str, lengths: dict[str, Any], label: str, unit: str, limit: int | None = None) -> str:
    """The bars with their axis, the line at the limit where there is one, and the table; `unit` is what lengths are
    counted in."""
    counts, top = lengths["counts"], lengths["top"]
    cut = _cut(lang, limit, top) if limit is not None and limit < top else ""
    return (
        f'<div class="ls-histogram">{_bars(counts, top, top if limit is None else limit, label)}{cut}{_axis(top)}</div>'
        f"{_table(lang, counts, top, unit)}"
    )


def _bars(counts: list[int], top: int, limit: int, label: str) -> str:
    """One bar a bin; those wholly beyond the limit are hatched."""
    width, most = WIDTH / len(counts), max(counts)
    bars = []
    for index, count in enumerate(counts):
        if not count:
            continue
        height = max(2.0, HEIGHT * count / most)
        kind = "ls-bar-cut" if top / len(counts) * index > limit else "ls-bar"
        x, y = index * width + 0.5, HEIGHT - height
        bars.append(f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width - 1:.1f}" height="{height:.1f}"/>')
    hatch = (
        '<defs><pattern id="ls-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="ls-hatch-ground" width="6" height="6"/><rect class="ls-hatch-line" width="2" '
        'height="6"/></pattern></defs>'
    )
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
        f"{hatch}{''.join(bars)}</svg>"
    )


def _cut(lang: str, limit: int, top: int) -> str:
    """The line, its words on the side that has room."""
    place = 100 * limit / top
    side = " ls-cut-left" if place > 60 else ""
    text = escape(t(lang, "dataset.lengths_cut", limit=f"{limit:,}"))
    return f'<div class="ls-cut{side}" style="left:{place:.2f}%" aria-hidden="true"><span>{text}</span></div>'


def _axis(top: int) -> str:
    ticks = "".join(f'<span style="left:{25 * i}%">{top * i // 4:,}</span>' for i in range(5))
    return f'<div class="ls-ticks" aria-hidden="true">{ticks}</div>'


def _table(lang: str, counts: list[int], top: int, unit: str) -> str:
    width = top // len(counts)
    rows = "".join(
        f"<tr><td>{index * width:,}–{(index + 1) * width - 1:,}</td><td>{count:,}</td></tr>"
        for index, count in enumerate(counts)
        if count
    )
    heads = "".join(f'<th scope="col">{escape(word)}</th>' for word in (unit, t(lang, "dataset.lengths_rows")))
    summary = escape(t(lang, "dataset.lengths_table"))
    return f"<details><summary>{summary}</summary><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></details>"
