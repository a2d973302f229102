"""Rows longer than the sequence length: what leaving them out, cutting them or splitting them would keep, and how one
of them reads before and after."""

from __future__ import annotations

from html import escape
from typing import Any

from studio.datasets.words import about
from studio.i18n import t


def excess(lang: str, preview: dict[str, Any], limit: int) -> str:
    """The section of a `preview` of the data worker; empty where every row fits."""
    found = preview["excess"]
    if not found:
        return ""
    says = {
        "count": _rows(lang, found["rows"], preview),
        "limit": f"{limit:,}",
        "share": _percent(found["rows"], preview["measured"]),
    }
    return (
        f'<section class="ls-excess"><h3>{escape(t(lang, "dataset.excess_title"))}</h3>'
        f'<p class="ls-note">{escape(t(lang, "dataset.excess", **says))}</p>'
        f"{_table(lang, found, preview)}{_sample(lang, found['sample'], found['strategy'], limit)}</section>"
    )


def _table(lang: str, found: dict[str, Any], preview: dict[str, Any]) -> str:
    """One line a choice: rows kept, examples, tokens kept of these rows."""
    heads = "".join(
        f'<th scope="col">{escape(t(lang, f"dataset.excess_{key}"))}</th>'
        for key in ("choice", "rows", "examples", "tokens")
    )
    body = ""
    for strategy, kept in found["choices"].items():
        is_chosen = strategy == found["strategy"]
        cells = (
            t(
                lang,
                "dataset.excess_of",
                count=_rows(lang, kept["rows"], preview),
                of=_rows(lang, found["rows"], preview),
            ),
            _rows(lang, kept["examples"], preview),
            f"{_percent(kept['tokens'], found['tokens'])} %",
        )
        name = ("✓ " if is_chosen else "") + t(lang, f"recipe.excess_{strategy}")
        marks = ' class="ls-chosen" aria-current="true"' if is_chosen else ""
        body += f'<tr{marks}><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
    return (
        f'<div class="ls-scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _rows(lang: str, count: int, preview: dict[str, Any]) -> str:
    """A count of the measured rows as one of all."""
    exact = preview["measured"] == preview["of"]
    return about(lang, count if exact else round(count * preview["of"] / preview["measured"]), exact or not count)


def _percent(part: int, whole: int) -> str:
    """Whole percents; neither all nor nothing where it is not."""
    share = 100 * part / whole if whole else 0
    return f"{round(share)}" if share in (0, 100) or 0.5 <= share < 99.5 else "< 1" if share < 1 else "> 99"


def _sample(lang: str, sample: dict[str, Any] | None, strategy: str, limit: int) -> str:
    """One row: its ends as it is, and the ends of what becomes of it."""
    if not sample:
        return ""
    row, length = f"{sample['row']:,}", f"{sample['length']:,}"
    before = _text(lang, t(lang, "dataset.excess_before", row=row, length=length), sample["whole"])
    if strategy == "drop":
        after = f'<p class="ls-row-dropped">✕ {escape(t(lang, "dataset.excess_dropped", row=row))}</p>'
    else:
        made = sample[strategy]
        count = f"{made['examples']:,}"
        after = "".join(
            _text(
                lang,
                t(lang, f"dataset.excess_after_{strategy}", number=number, count=count, length=f"{part['length']:,}"),
                part,
            )
            for number, part in enumerate(made["parts"], start=1)
        )
        if strategy == "truncate" and made["parts"]:
            said = escape(t(lang, "dataset.excess_cut_off", count=f"{sample['length'] - limit:,}"))
            after += f'<p class="ls-note">✂ {said}</p><p class="ls-tokens"><s>{escape(sample["cut_off"])} …</s></p>'
        if more := made["examples"] - len(made["parts"]):
            after += f'<p class="ls-note">{escape(t(lang, "dataset.excess_more", count=f"{more:,}"))}</p>'
        if not made["parts"]:
            after = f'<p class="ls-row-dropped">✕ {escape(t(lang, "dataset.excess_nothing", row=row))}</p>'
    summary = escape(t(lang, "dataset.excess_sample", row=row))
    return f'<details class="ls-excess-sample"><summary>{summary}</summary>{before}{after}</details>'


def _text(lang: str, title: str, ends: dict[str, Any]) -> str:
    last = f' <span class="ls-special">…</span> {escape(ends["last"])}' if ends["last"] else ""
    return f'<p class="ls-note">{escape(title)}</p><p class="ls-tokens" dir="auto">{escape(ends["first"])}{last}</p>'
