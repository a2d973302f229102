"""What was recognised in a file, what was not used, and the rows left out: pure functions of a dataset, a preview and a
language."""

from __future__ import annotations

from html import escape
from typing import Any

from studio.datasets.counts import of_preview
from studio.datasets.store import DatasetInfo
from studio.datasets.words import (
    about,
    files_text,
    left_text,
    mixed_text,
    origin_text,
    other_shapes_text,
    read_text,
    reason_text,
    recognised_text,
    row_text,
    split_text,
    tasks_text,
    unused_text,
)
from studio.i18n import t

SHOWN_DROPPED = 20
SHOWN_UNUSED = 12
NOTED_ROWS = 5


SHOWN_FILES = 50


def head(lang: str, info: DatasetInfo | None, seen: dict[str, Any] | None = None) -> str:
    """What was recognised, and the three numbers; `seen` (a preview) adds what the sequence length leaves out."""
    if info is None:
        title, text = escape(t(lang, "dataset.empty_title")), escape(t(lang, "dataset.empty"))
        return f'<div class="ls-empty"><strong>{title}</strong>{text}</div>'
    counts = of_preview(info, seen)
    shown = {
        "kept": about(lang, counts.kept, counts.exact),
        "dropped": about(lang, counts.dropped, counts.exact),
        "changed": f"{info.changed:,}",
    }
    short = t(lang, "dataset.fingerprint", short=info.fingerprint[:12])
    facts = f"{recognised_text(lang, info)} · {split_text(lang, counts)}"
    numbers = "".join(
        f'<div title="{escape(t(lang, f"dataset.{key}_help"))}" class="ls-count-{key}">'
        f"<dt>{escape(t(lang, f'dataset.{key}'))}</dt><dd>{escape(count)}</dd></div>"
        for key, count in shown.items()
    )
    return (
        f'<section class="ls-data-head"><h2>{escape(info.file_name)}</h2><p class="ls-note">{escape(facts)}</p>'
        f'<dl class="ls-counts">{numbers}</dl>{_others(lang, info)}{_columns(lang, info)}<p class="ls-note" '
        f'title="{info.fingerprint}">{escape(short)}</p></section>'
    )


def _others(lang: str, info: DatasetInfo) -> str:
    """Rows of another shape, which the first rows did not show, and files that were not read."""
    left = left_text(lang, info)
    said = [other_shapes_text(lang, info), tasks_text(lang, info), *(left if len(left) == 1 else [])]
    boxes = "".join(f'<p class="ls-warn ls-data-note" role="status">! {escape(one)}</p>' for one in said if one)
    if len(left) < 2:
        return boxes
    more = [t(lang, "dataset.left_more", count=f"{len(left) - SHOWN_FILES:,}")] if len(left) > SHOWN_FILES else []
    items = "".join(f"<li>{escape(one)}</li>" for one in (*left[:SHOWN_FILES], *more))
    title = escape(t(lang, "dataset.left_files", count=f"{len(left):,}"))
    return f'{boxes}<details class="ls-warn ls-data-note"><summary>! {title}</summary><ul>{items}</ul></details>'


def _columns(lang: str, info: DatasetInfo) -> str:
    """What was read as what, and what is not used, with its rows; a long list is folded behind its beginning."""
    read, unused = read_text(lang, info), unused_text(lang, info)
    shown = "".join(
        f'<p class="ls-note">{escape(said)}</p>'
        for said in (origin_text(lang, info), mixed_text(lang, info), files_text(lang, info), read)
        if said
    )
    if not unused:
        return shown
    short = unused_text(lang, info, SHOWN_UNUSED)
    help = escape(t(lang, "dataset.unused_help"))
    if short == unused:
        return f'{shown}<p class="ls-unused" title="{help}">{escape(unused)}</p>'
    return (
        f'{shown}<details class="ls-unused" title="{help}"><summary>{escape(short)}</summary>{escape(unused)}</details>'
    )


def notes_html(lang: str, seen: dict[str, Any]) -> str:
    """What the base's template leaves out of rows that are trained, and the date that it writes."""
    said = [_note(lang, note, rows, seen) for note, rows in seen.get("notes", {}).items()]
    if seen.get("dates"):
        said.append(t(lang, "dataset.note_date", dates=", ".join(seen["dates"])))
    return "".join(f'<p class="ls-warn ls-data-note" role="status">! {escape(sentence)}</p>' for sentence in said)


def _note(lang: str, note: str, rows: list[int], seen: dict[str, Any]) -> str:
    exact = seen["measured"] == seen["of"]
    count = about(lang, len(rows) if exact else round(len(rows) * seen["of"] / seen["measured"]), exact)
    named = ", ".join(f"{row:,}" for row in rows[:NOTED_ROWS]) + (" …" if len(rows) > NOTED_ROWS else "")
    return t(lang, f"dataset.note_{note}", count=count, rows=named)


def dropped_table(lang: str, info: DatasetInfo, seen: dict[str, Any] | None) -> str:
    """Rows left out with their numbers and reasons: those the file lost first, then those the settings leave out."""
    found = info.dropped_rows(SHOWN_DROPPED) + (seen["first_dropped"] if seen else [])
    counts = of_preview(info, seen)
    count = counts.dropped
    if not count:
        return ""
    body = "".join(
        f"<tr><td>{escape(row_text(info, one, lang))}</td><td>{escape(reason_text(lang, one))}</td></tr>"
        for one in found[:SHOWN_DROPPED]
    )
    more = count - min(len(found), SHOWN_DROPPED)
    if more > 0:
        body += f"<tr><td></td><td>{escape(t(lang, 'dataset.problems_more', count=about(lang, more, counts.exact)))}</td></tr>"
    title = escape(t(lang, "dataset.problems", count=about(lang, count, counts.exact)))
    heads = "".join(f'<th scope="col">{escape(t(lang, f"dataset.{key}"))}</th>' for key in ("row", "why"))
    is_open = " open" if count <= 5 else ""
    return (
        f'<details class="ls-dropped"{is_open}><summary>{title}</summary>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></details>"
    )
