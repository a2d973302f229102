"""Which column of a file plays which part, with what stands in them; to be changed, and read again so."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from studio.datasets.asked import ROLE, SPEAKERS, TURN_CONTENT, TURN_ROLE
from studio.datasets.looking import parts_offered
from studio.datasets.shapes.formats import SHAPES
from studio.i18n import strings, t
from studio.widgets.fields import button, select

TURNS = ("openai", "sharegpt", "preference", "unpaired", "threads")
"""Shapes that may hold turns."""


def columns_view(lang: str, seen: dict[str, Any], of: str, chosen: str, told: dict[str, Any], why: str = "") -> str:
    """`seen` is `looking.look`; `of` the dataset whose file it is, empty for one that was refused; `chosen` the shape
    that its user chose, `told` the mapping; `why` it cannot be read so, as HTML."""
    title = escape(t(lang, "rows.columns_title", file=seen["file"]))
    note = escape(t(lang, "rows.columns_note", rows=f"{seen['rows']:,}"))
    examples = {one["name"]: " · ".join(one["examples"]) for one in seen["columns"]}
    buttons = button("read", t(lang, "rows.read_again"), primary=True, of=of)
    buttons += button("close_columns", t(lang, "rows.close"))
    return (
        f'<section class="ls-panel ls-columns"><h2>{title}</h2><p class="ls-note">{note}</p>{why}'
        f'<form data-examples="{escape(json.dumps(examples))}">{_shape(lang, seen, of, chosen)}'
        f"{_parts(lang, seen, told, examples)}{_words(lang, seen, told)}"
        f'<p class="ls-actions">{buttons}</p></form>{_all(lang, seen)}</section>'
    )


def _shape(lang: str, seen: dict[str, Any], of: str, chosen: str) -> str:
    known = t(lang, f"dataset.shape_{seen['shape']}") if seen["shape"] and not chosen else ""
    first = t(lang, "rows.shape_recognised", shape=known) if known else t(lang, "rows.shape_none")
    options = [("", first if known or not chosen else t(lang, "rows.shape_as_recognised"))]
    options += [(shape, f"{t(lang, f'dataset.shape_{shape}')}: {t(lang, f'dataset.why_{shape}')}") for shape in SHAPES]
    more = f'data-do="look" data-with="{escape(json.dumps({"of": of}))}"'
    return select("shape", options, chosen, t(lang, "rows.shape"), more)


def _parts(lang: str, seen: dict[str, Any], told: dict[str, Any], examples: dict[str, str]) -> str:
    """A row for each part of the shape: what it is, the column, what stands in it."""
    names = [(one["name"], one["name"]) for one in seen["columns"]]
    rows = [_part(lang, part, mark, seen, told, names, examples) for part, mark in parts_offered(seen["shape"]).items()]
    if seen["shape"] in TURNS and seen["turn_keys"]:
        keys = [(key, key) for key in seen["turn_keys"]]
        rows += [_part(lang, part, "", seen, told, keys, {}) for part in (TURN_ROLE, TURN_CONTENT)]
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">{escape(t(lang, f"rows.{key}"))}</th>' for key in ("part", "column", "examples"))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _part(
    lang: str, part: str, mark: str, seen: dict[str, Any], told: dict[str, Any], names: list[tuple[str, str]],
    examples: dict[str, str],
) -> str:  # fmt: skip
    """What was told goes along as it is; else only what is changed."""
    chosen = seen["parts"].get(part, "")
    none = t(lang, "rows.as_usual" if part in (TURN_ROLE, TURN_CONTENT) else "rows.no_column")
    more = "data-part" + ("" if part in told else " data-if-changed")
    label = escape(_word(lang, part))
    field = select(f"part:{part}", [("", none), *names], chosen, more=f'{more} aria-label="{label}"')
    about = f" <small>{escape(t(lang, f'rows.{mark}'))}</small>" if mark else ""
    shown = escape(examples.get(chosen, ""))
    return f'<tr><th scope="row">{label}{about}</th><td>{field}</td><td dir="auto" data-shown>{shown}</td></tr>'


def _word(lang: str, part: str) -> str:
    """What a part is, and its name where several are called the same."""
    return f"{strings(lang).get(f'dataset.part_{part}', part)} ({part})"


def _words(lang: str, seen: dict[str, Any], told: dict[str, Any]) -> str:
    """Words for speakers that nobody knows."""
    speakers = [("", t(lang, "rows.nobody")), *((one, t(lang, f"rows.speaker_{one}")) for one in SPEAKERS)]
    fields = [
        select(f"part:{ROLE}{word}", speakers, str(told.get(f"{ROLE}{word}") or ""), t(lang, "rows.word", word=word))
        for word in seen["words"]
    ]
    return f'<div class="ls-fields">{"".join(fields)}</div>' if fields else ""


def _all(lang: str, seen: dict[str, Any]) -> str:
    """Every column of the file, what it is read as, and those that are not used."""
    if not seen["columns"]:
        return ""
    used = {column: part for part, column in seen["parts"].items()}
    body = "".join(
        f"<tr><td>{escape(one['name'])}</td><td>{escape(_use(lang, one['name'], used))}</td><td>{one['rows']:,}</td>"
        f'<td dir="auto">{escape(" · ".join(one["examples"]))}</td></tr>'
        for one in seen["columns"]
    )
    keys = ("column", "read_as", "rows_with", "examples")
    heads = "".join(f'<th scope="col">{escape(t(lang, f"rows.{key}"))}</th>' for key in keys)
    title = escape(t(lang, "rows.all_columns", count=f"{len(seen['columns']):,}"))
    unfolded = "" if seen["shape"] else " open"
    return (
        f"<details{unfolded}><summary>{title}</summary>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _use(lang: str, name: str, used: dict[str, str]) -> str:
    if name in used:
        return strings(lang).get(f"dataset.part_{used[name]}", used[name])
    inside = any(column.startswith(f"{name}.") for column in used)
    outer = name.rpartition(".")[0]
    return t(lang, "rows.partly") if inside or outer in used else t(lang, "rows.not_used")
