"""Numbers of a dataset by role, language and label: the names that a reader knows, a note, and tables.
`plots.names_figure` draws them."""

from __future__ import annotations

from html import escape

from studio.i18n import strings, t

Counts = dict[str, dict[str, int]]


def in_words(lang: str, numbers: dict[str, Counts]) -> dict[str, Counts]:
    """`numbers` as `studio.rendering.tallies.Tally.result` gives them, by the names that a reader knows."""
    return {
        kind: {_name(lang, kind, name): counts for name, counts in found.items()} for kind, found in numbers.items()
    }


def numbers_note(lang: str, numbers: dict[str, Counts]) -> str:
    return f'<p class="ls-note">{escape(t(lang, "dataset.numbers_note" if any(numbers.values()) else "dataset.numbers_none"))}</p>'


def numbers_tables(lang: str, numbers: dict[str, Counts]) -> str:
    """`numbers` as `in_words` gives them; nothing where nothing was counted."""
    tables = "".join(_table(lang, kind, found) for kind, found in numbers.items() if found)
    if not tables:
        return ""
    summary = escape(t(lang, "dataset.numbers_tables"))
    return f'<details class="ls-numbers"><summary>{summary}</summary>{tables}</details>'


def _table(lang: str, kind: str, found: Counts) -> str:
    units = list(next(iter(found.values())))
    heads = "".join(f'<th scope="col">{escape(t(lang, f"dataset.unit_{unit}"))}</th>' for unit in units)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{counts.get(unit, 0):,}</td>" for unit in units)}</tr>'
        for name, counts in found.items()
    )
    title = escape(t(lang, f"dataset.numbers_{kind}"))
    return (
        f'<div class="ls-scroll" tabindex="0"><table class="ls-table"><thead><tr><th scope="col">{title}</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _name(lang: str, kind: str, name: str) -> str:
    return strings(lang).get(f"dataset.{kind}_{name}", name) if kind != "label" else name
