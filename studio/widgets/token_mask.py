"""A row as the model reads it: trained tokens tinted and underlined, special tokens boxed, blanks made visible.

Everything in a row is someone's text: it is escaped, and what could hide or reorder text (bidirectional controls, zero
widths) is shown by its code point.
"""

from __future__ import annotations

import itertools
import re
from html import escape
from typing import Any

from studio.datasets.words import reason_text
from studio.i18n import strings, t
from studio.widgets.fields import button

_HIDDEN = re.compile("[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\u0000-\u0008\u000b-\u001f\u007f]")


def token_mask(lang: str, row: dict[str, Any]) -> str:
    """One row of the data worker's `preview` as HTML."""
    marks = [t(lang, "dataset.row_tokens", length=f"{row['length']:,}", trained=f"{row['trained']:,}")]
    dropped = ""
    if row["dropped"]:
        reason = t(lang, "dataset.row_dropped", reason=reason_text(lang, row["dropped"]))
        dropped = f'<p class="ls-row-dropped">✕ {escape(reason)}</p>'
    dropped += "".join(
        f'<p class="ls-row-noted">! {escape(t(lang, f"dataset.row_note_{note}"))}</p>' for note in row.get("notes", ())
    )
    more = (
        f'<p class="ls-note">{escape(t(lang, "dataset.row_more", count=format(row["more"], ",")))}</p>'
        if row["more"]
        else ""
    )
    return (
        f'<article class="ls-row">{row_head(lang, row, marks)}{dropped}'
        f'<div class="ls-tokens" dir="auto">{_parts(lang, row)}</div>{more}{_said(lang, row)}</article>'
    )


def row_head(lang: str, row: dict[str, Any], marks: list[str]) -> str:
    """The row's number, file and split, `marks` about it, and what can be done with it."""
    split = [t(lang, f"rows.split_{row['split']}")] if row["split"] != "train" else []
    title = escape(t(lang, "dataset.row_title", row=f"{row['row']:,}"))
    title += f" <small>{escape(row['file'])}</small>" if row.get("file") else ""
    acts = ""
    if "place" in row:
        told = {"place": row["place"], "row": row["row"]}
        acts = button("edit", t(lang, "rows.edit"), **told) + button("remove", t(lang, "rows.remove"), **told)
    return (
        f'<header><h4>{title}</h4><p class="ls-note">{escape(" · ".join([*marks, *split]))}</p>'
        f'<span class="ls-row-acts">{acts}</span></header>'
    )


def _said(lang: str, row: dict[str, Any]) -> str:
    """What stands in the row beside what is trained, each part with who says it."""
    parts = [
        f'<dt>{escape(_speaker(lang, one))}</dt><dd dir="auto">{visible(_shown(lang, one))}</dd>'
        for one in row.get("said", ())
    ]
    is_answer = any(one.get("trained") for one in row.get("said", ()))
    title = escape(t(lang, "rows.trained_as_answer" if is_answer else "rows.not_trained"))
    return f'<div class="ls-said"><h5>{title}</h5><dl>{"".join(parts)}</dl></div>' if parts else ""


def _speaker(lang: str, one: dict[str, Any]) -> str:
    part = strings(lang).get(f"rows.part_{one['part']}", one["part"])
    role = one["role"] and strings(lang).get(f"dataset.role_{one['role']}", one["role"])
    return " · ".join(filter(None, [part, role]))


def _shown(lang: str, one: dict[str, Any]) -> str:
    marks = {"true": "rows.good", "false": "rows.bad"}
    return t(lang, marks[one["text"]]) if one["part"] == "label" and one["text"] in marks else one["text"]


def _parts(lang: str, row: dict[str, Any]) -> str:
    """The row's tokens, with a mark where another example begins, or where it is cut off."""
    edges = [0, *row.get("parts", ()), len(row["pieces"])]
    shown = []
    for number, (first, last) in enumerate(itertools.pairwise(edges), start=1):
        pieces = row["pieces"][first:last]
        if number > 1:
            is_on = any(trained for _, trained, _ in pieces)
            shown.append(
                f'<span class="ls-row-part">✂ '
                f"{escape(t(lang, 'dataset.row_part' if is_on else 'dataset.row_cut'))}</span>"
            )
        shown.append(tokens(pieces))
    return "".join(shown)


def tokens(pieces: list[tuple[str, bool, bool]]) -> str:
    """Pieces `(text, trained, special)` as HTML; neighbours of one kind share an element."""
    parts = []
    for (trained, special), group in itertools.groupby(pieces, key=lambda piece: (piece[1], piece[2])):
        texts = [visible(piece[0]) for piece in group]
        if special:
            parts.extend(f'<span class="ls-special{" ls-trained" * trained}">{text}</span>' for text in texts)
        elif trained:
            parts.append(f'<mark class="ls-trained">{"".join(texts)}</mark>')
        else:
            parts.append(f"<span>{''.join(texts)}</span>")
    return "".join(parts)


def visible(text: str) -> str:
    """Escaped; line ends get a sign, hidden characters their code point."""
    shown = escape(text).replace("\n", '<span class="ls-blank" aria-hidden="true">↵</span>\n')
    return _HIDDEN.sub(lambda found: f'<span class="ls-special">U+{ord(found[0]):04X}</span>', shown)


def legend(lang: str) -> str:
    """What tint, underline and box mean."""
    trained, special, other = (escape(t(lang, f"dataset.legend_{kind}")) for kind in ("trained", "special", "other"))
    return (
        f'<p class="ls-mask-legend"><mark class="ls-trained">{trained}</mark>'
        f'<span class="ls-special">{special}</span><span>{other}</span></p>'
    )
