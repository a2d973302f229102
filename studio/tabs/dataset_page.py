"""What the Dataset tab shows, as HTML: pure functions of a dataset, a preview and a language."""

from __future__ import annotations

import time
from html import escape
from typing import Any

import gradio as gr

from estimator.core.problems import Problem
from studio.datasets.store import DatasetInfo
from studio.datasets.words import read_text, reason_text, recognised_text, split_text, unused_text
from studio.i18n import t
from studio.tabs.notices import problem_html
from studio.widgets.length_histogram import length_histogram
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


def reading(lang: str, file: str, event: dict[str, Any] | None) -> str:
    """How far a file has been read; `event` is what the worker last said."""
    if event is None:
        return waiting(lang, "starting", file)
    share, counts = round(100 * event["read"]), {key: f"{event[key]:,}" for key in ("kept", "dropped")}
    text = escape(t(lang, "dataset.reading", file=file, share=share, **counts))
    if "counted" in event:
        share = round(100 * event["counted"] / max(1, event["kept"]))
        text = escape(t(lang, "dataset.counting", file=file, counted=f"{event['counted']:,}", kept=counts["kept"]))
    return f'<div class="ls-reading" role="status"><p>{text}</p><progress max="100" value="{share}"></progress></div>'


def waiting(lang: str, key: str = "waiting", file: str = "") -> str:
    """What is being done, while it takes a moment."""
    return f'<p class="ls-note ls-waiting" role="status">{escape(t(lang, f"dataset.{key}", file=file))}</p>'


def head(lang: str, info: DatasetInfo | None, seen: dict[str, Any] | None = None) -> str:
    """What was recognised, and the three numbers; `seen` (a preview) adds what the sequence length leaves out."""
    if info is None:
        title, text = escape(t(lang, "dataset.empty_title")), escape(t(lang, "dataset.empty"))
        return f'<div class="ls-empty"><strong>{title}</strong>{text}</div>'
    lost = _left_out(seen)
    counts = {"kept": info.kept - lost, "dropped": info.dropped + lost, "changed": info.changed}
    shown = {
        key: _about(lang, count, seen) if lost and key != "changed" else f"{count:,}" for key, count in counts.items()
    }
    short = t(lang, "dataset.fingerprint", short=info.fingerprint[:12])
    facts = f"{recognised_text(lang, info)} · {split_text(lang, info)}"
    numbers = "".join(
        f'<div title="{escape(t(lang, f"dataset.{key}_help"))}" class="ls-count-{key}">'
        f"<dt>{escape(t(lang, f'dataset.{key}'))}</dt><dd>{escape(count)}</dd></div>"
        for key, count in shown.items()
    )
    return (
        f'<section class="ls-data-head"><h2>{escape(info.file_name)}</h2><p class="ls-note">{escape(facts)}</p>'
        f'<dl class="ls-counts">{numbers}</dl>{_columns(lang, info)}<p class="ls-note" title="{info.fingerprint}">{escape(short)}</p></section>'
    )


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


def _left_out(seen: dict[str, Any] | None) -> int:
    """Rows that the settings leave out; where a sample was measured, its share of all."""
    return round(seen["dropped"] * seen["of"] / seen["measured"]) if seen and seen["measured"] else 0


def _about(lang: str, count: int, seen: dict[str, Any] | None) -> str:
    """A count; two figures and a word where it comes from a sample."""
    if not seen or seen["measured"] == seen["of"] or not seen["dropped"]:
        return f"{count:,}"
    digits = max(0, len(str(count)) - 2)
    return t(lang, "dataset.about", count=f"{round(count, -digits):,}")


def notes_html(lang: str, seen: dict[str, Any]) -> str:
    """What the base's template leaves out of rows that are trained, and the date that it writes."""
    said = [_note(lang, note, rows, seen) for note, rows in seen.get("notes", {}).items()]
    if seen.get("dates"):
        said.append(t(lang, "dataset.note_date", dates=", ".join(seen["dates"])))
    return "".join(f'<p class="ls-warn ls-data-note" role="status">! {escape(sentence)}</p>' for sentence in said)


def _note(lang: str, note: str, rows: list[int], seen: dict[str, Any]) -> str:
    count = f"{len(rows):,}"
    if seen["measured"] < seen["of"]:
        count = t(lang, "dataset.about", count=f"{round(len(rows) * seen['of'] / seen['measured']):,}")
    named = ", ".join(f"{row:,}" for row in rows[:NOTED_ROWS]) + (" …" if len(rows) > NOTED_ROWS else "")
    return t(lang, f"dataset.note_{note}", count=count, rows=named)


def dropped_table(lang: str, info: DatasetInfo, seen: dict[str, Any] | None) -> str:
    """Rows left out with their numbers and reasons: those the file lost first, then those the settings leave out."""
    found = info.dropped_rows(SHOWN_DROPPED) + (seen["first_dropped"] if seen else [])
    count = info.dropped + _left_out(seen)
    if not count:
        return ""
    body = "".join(
        f"<tr><td>{one['row']:,}</td><td>{escape(reason_text(lang, one))}</td></tr>" for one in found[:SHOWN_DROPPED]
    )
    more = count - min(len(found), SHOWN_DROPPED)
    if more > 0:
        body += f"<tr><td></td><td>{escape(t(lang, 'dataset.problems_more', count=_about(lang, more, seen)))}</td></tr>"
    title = escape(t(lang, "dataset.problems", count=_about(lang, count, seen)))
    heads = "".join(f'<th scope="col">{escape(t(lang, f"dataset.{key}"))}</th>' for key in ("row", "why"))
    is_open = " open" if count <= 5 else ""
    return (
        f'<details class="ls-dropped"{is_open}><summary>{title}</summary>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def rows_html(lang: str, seen: dict[str, Any], limit: int) -> str:
    """The page of rows, under the meaning of tint and box; above it, that nothing fits where nothing does."""
    first, last = seen["offset"] + 1, seen["offset"] + len(seen["rows"])
    place = t(lang, "dataset.rows_range", first=f"{first:,}", last=f"{last:,}", total=f"{seen['total']:,}")
    shortest = min(
        (one["params"]["length"] for one in seen["first_dropped"] if one["reason"] == "too_long"), default=None
    )
    warning = ""
    if not seen["kept"] and shortest:
        warning = problem_html(t(lang, "dataset.none_fits", limit=f"{limit:,}", shortest=f"{shortest:,}"))
    return (
        f"<section><h3>{escape(t(lang, 'dataset.rows_title'))}</h3>{warning}"
        f'<div class="ls-rows-head">{legend(lang)}<p class="ls-note">{escape(place)}</p></div>'
        f"{''.join(token_mask(lang, row) for row in seen['rows'])}</section>"
    )


def picture(lang: str, info: DatasetInfo, seen: dict[str, Any], limit: int) -> tuple[Any, ...]:
    """All of the right side: head, dropped, rows, pager, its two buttons, lengths."""
    last = seen["offset"] + len(seen["rows"])
    return (
        head(lang, info, seen) + notes_html(lang, seen),
        dropped_table(lang, info, seen),
        rows_html(lang, seen, int(limit)),
        gr.Row(visible=seen["total"] > ROWS_A_PAGE),
        gr.Button(interactive=seen["offset"] > 0),
        gr.Button(interactive=last < seen["total"]),
        length_histogram(lang, seen, int(limit)),
    )
