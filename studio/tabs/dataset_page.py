"""What the Dataset tab shows, as HTML: pure functions of a dataset, a preview and a language."""

from __future__ import annotations

import time
from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio.datasets.counts import of_preview
from studio.datasets.store import DatasetInfo
from studio.datasets.words import (
    about,
    numbers_text,
    other_shapes_text,
    read_text,
    reason_text,
    recognised_text,
    split_text,
    unused_text,
)
from studio.i18n import t
from studio.tabs.notices import problem_html
from studio.widgets import characters
from studio.widgets.excess import excess
from studio.widgets.length_histogram import length_histogram
from studio.widgets.run_view import duration
from studio.widgets.token_mask import legend, token_mask

ROWS_A_PAGE = 5
SHOWN_DROPPED = 20
SHOWN_UNUSED = 12
NOTED_ROWS = 5


def stored_choices(stored: list[DatasetInfo]) -> list[tuple[str, str]]:
    """Name, rows and day of each dataset."""
    day = lambda info: time.strftime("%Y-%m-%d %H:%M", time.localtime(info.created))  # noqa: E731
    return [(f"{info.name} · {info.kept:,} · {day(info)}", info.id) for info in stored]


def damaged_choices(lang: str, damaged: dict[str, Problem]) -> list[tuple[str, str]]:
    """Those of which only the folder is known."""
    return [(t(lang, "dataset.damaged_choice", id=id), id) for id in sorted(damaged, reverse=True)]


def trouble_html(lang: str, sentence: str, kept: bool) -> str:
    """An upload's problem; `kept` says that an earlier dataset is still the one shown."""
    note = f'<p class="ls-note">{escape(t(lang, "dataset.nothing_stored"))}</p>' if kept else ""
    return problem_html(sentence) + note


def deleted_html(lang: str, key: str, name: str) -> str:
    return f'<p class="ls-good" role="status">✓ {escape(t(lang, f"dataset.{key}", name=name))}</p>'


STEPS = {"reading": 1, "joining": 1, "storing": 2, "syncing": 2, "tokenizing": 3}
"""Phases of the work, by the step that a reader counts."""


def reading(lang: str, file: str, event: dict[str, Any] | None, seconds_left: float | None = None) -> str:
    """What is being done with a file and how far that is; `event` is what the worker last said."""
    if event is None:
        return waiting(lang, "starting", file)
    phase, share = event["phase"], event["share"]
    counts = {key: f"{event[key]:,}" for key in ("kept", "dropped", "done", "of") if key in event}
    percent = "" if share is None else f"{int(100 * share)}"
    said = [
        t(lang, "dataset.step", step=STEPS[phase]),
        t(lang, f"dataset.phase_{phase}", file=file, share=percent, **counts),
    ]
    said += [] if seconds_left is None else [t(lang, "dataset.time_left", left=duration(lang, seconds_left))]
    value = f' value="{percent}"' if percent else ""
    bar = f'<progress max="100"{value} aria-label="{escape(said[1])}"></progress>'
    return f'<div class="ls-reading" role="status"><p>{escape(" ".join(said))}</p>{bar}</div>'


def waiting(lang: str, key: str = "waiting", file: str = "") -> str:
    """What is being done, while it takes a moment."""
    return f'<p class="ls-note ls-waiting" role="status">{escape(t(lang, f"dataset.{key}", file=file))}</p>'


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
    """Rows of another shape, which the first rows did not show."""
    said = other_shapes_text(lang, info)
    return f'<p class="ls-warn ls-data-note" role="status">! {escape(said)}</p>' if said else ""


def _columns(lang: str, info: DatasetInfo) -> str:
    """What was read as what, and what is not used, with its rows; a long list is folded behind its beginning."""
    read, unused = read_text(lang, info), unused_text(lang, info)
    shown = f'<p class="ls-note">{escape(read)}</p>' if read else ""
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
        f"<tr><td>{one['row']:,}</td><td>{escape(reason_text(lang, one))}</td></tr>" for one in found[:SHOWN_DROPPED]
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


def rows_html(lang: str, seen: dict[str, Any], limit: int) -> str:
    """The page of rows, under the meaning of tint and box; above it, that nothing fits where nothing does."""
    place = _place(lang, seen)
    shortest, warning = seen["lengths"].get("shortest", 0), ""
    if not seen["kept"] and shortest > limit:
        warning = problem_html(t(lang, "dataset.none_fits", limit=f"{limit:,}", shortest=f"{shortest:,}"))
    return (
        f"<section><h3>{escape(t(lang, 'dataset.rows_title'))}</h3>{warning}"
        f'<div class="ls-rows-head">{legend(lang)}<p class="ls-note">{escape(place)}</p></div>'
        f"{''.join(token_mask(lang, row) for row in seen['rows'])}</section>"
    )


def _place(lang: str, seen: dict[str, Any]) -> str:
    """Which rows of the file are shown, by their numbers in it: others may have been left out, or held back for
    validation."""
    numbers = numbers_text(lang, [one["row"] for one in seen["rows"]])
    return t(lang, "dataset.rows_shown", numbers=numbers, total=f"{seen['total']:,}")


def picture_in_characters(lang: str, info: DatasetInfo, seen: dict[str, Any], why: str) -> tuple[Any, ...]:
    """The same where the base's tokenizer is not at hand: `why`, and that nothing is said about what fits."""
    said = problem_html(why) + f'<p class="ls-note">{escape(t(lang, "dataset.characters_note"))}</p>'
    return (
        head(lang, info),
        dropped_table(lang, info, None),
        said + characters.rows(lang, seen, _place(lang, seen)),
        *_pager(seen),
        "",
        characters.lengths(lang, seen),
    )


def _pager(seen: dict[str, Any]) -> tuple[Any, ...]:
    """The row of buttons, and its two."""
    last = seen["offset"] + len(seen["rows"])
    return (
        gr.Row(visible=seen["total"] > ROWS_A_PAGE),
        gr.Button(interactive=seen["offset"] > 0),
        gr.Button(interactive=last < seen["total"]),
    )


def picture(lang: str, info: DatasetInfo, seen: dict[str, Any], limit: int) -> tuple[Any, ...]:
    """All of the right side: head, dropped, rows, pager, its two buttons, rows that are too long, lengths."""
    return (
        head(lang, info, seen) + notes_html(lang, seen),
        dropped_table(lang, info, seen),
        rows_html(lang, seen, int(limit)),
        *_pager(seen),
        excess(lang, seen, int(limit)),
        length_histogram(lang, seen, int(limit)),
    )
