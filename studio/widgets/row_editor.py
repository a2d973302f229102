"""A row to be written: a box for each turn and each text, JSON for what is no text. What comes back is put together
here, too."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from studio.datasets.revising import decoded
from studio.i18n import strings, t
from studio.widgets.fields import area, button, select

ROLES = ("system", "user", "assistant", "tool")
BOX = ("role", "content")
NEW = {
    "chat": {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]},
    "text": {"text": ""},
    "preference": {
        "prompt": [{"role": "user", "content": ""}],
        "chosen": [{"role": "assistant", "content": ""}],
        "rejected": [{"role": "assistant", "content": ""}],
    },
    "unpaired": {
        "prompt": [{"role": "user", "content": ""}],
        "completion": [{"role": "assistant", "content": ""}],
        "label": True,
    },
    "labelled": {"text": "", "label": ""},
    "tags": {"tokens": [], "tags": []},
    "span": {"question": "", "context": "", "answers": {"text": [], "answer_start": []}},
    "pairs": {"anchor": "", "positive": ""},
    "seq2seq": {"source": "", "target": ""},
}
"""An empty row of each form."""


def row_editor(lang: str, content: dict[str, Any], place: int | None, row: int | None, why: str = "") -> str:
    """`place` and `row` (its number) of one that is there; `why` it was not taken, as HTML."""
    title = t(lang, "rows.edit_title", row=f"{row:,}") if row is not None else t(lang, "rows.add_title")
    parts = "".join(_part(lang, key, value, n == 0) for n, (key, value) in enumerate(content.items()))
    about = {"place": place, "row": row}
    buttons = button("save", t(lang, "rows.save"), **about) + button("close_editor", t(lang, "rows.cancel"))
    return (
        f'<section class="ls-panel ls-editor"><h3>{escape(title)}</h3><p class="ls-note">'
        f"{escape(t(lang, 'rows.edit_note'))}</p>{why}<form>{parts}"
        f'<p class="ls-actions">{buttons}</p></form></section>'
    )


def written(fields: list[tuple[str, Any]], row: int | str) -> dict[str, Any]:
    """The row of the fields of such a form. Raises `Problem` `dataset.row_json`."""
    made: dict[str, Any] = {}
    for name, value in fields:
        kind, _, key = name.partition(":")
        text = str(value).replace("\r\n", "\n")
        if kind == "turns":
            made.setdefault(key, [])
        elif kind == "role":
            made.setdefault(key, []).append({"role": text})
        elif kind in ("content", "more") and made.get(key):
            turn = made[key][-1]
            more = decoded(text, row) if kind == "more" and text.strip() else {}
            turn |= {"content": text} if kind == "content" else more if isinstance(more, dict) else {"content": more}
        elif kind == "text":
            made[key] = text
        elif kind == "json" and text.strip():
            made[key] = decoded(text, row)
    return made


def _part(lang: str, key: str, value: Any, is_first: bool) -> str:
    first = " data-first" if is_first else ""
    label = strings(lang).get(f"rows.part_{key}", key)
    if isinstance(value, list) and (not value and key != "tools" or value and _is_turns(value)):
        if value or key in ("prompt", "messages"):
            return _turns(lang, key, value, label, first)
    if isinstance(value, str):
        return area(f"text:{key}", value, label, first)
    if isinstance(value, bool):
        options = [("true", t(lang, "rows.good")), ("false", t(lang, "rows.bad"))]
        return select(f"json:{key}", options, json.dumps(value), label)
    shown = json.dumps(value, ensure_ascii=False, indent=None if isinstance(value, (int, float)) else 1)
    return area(f"json:{key}", shown, f"{label} (JSON)", f'class="ls-mono"{first}')


def _is_turns(value: list[Any]) -> bool:
    return all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in value)


def _turns(lang: str, key: str, turns: list[dict[str, Any]], label: str, first: str) -> str:
    boxes = "".join(_turn(lang, key, turn, first if n == 0 else "") for n, turn in enumerate(turns))
    add = f'<button type="button" class="ls-link-button" data-local="add">{escape(t(lang, "rows.add_turn"))}</button>'
    empty = _turn(lang, key, {"role": "user", "content": ""}, "")
    return (
        f'<fieldset data-turns><legend>{escape(label)}</legend><input type="hidden" name="turns:{escape(key)}" value="">'
        f"<div data-list>{boxes}</div><template>{empty}</template>{add}</fieldset>"
    )


def _turn(lang: str, key: str, turn: dict[str, Any], first: str) -> str:
    """Who speaks and what; calls, thoughts and marks as JSON below it."""
    roles = [(role, t(lang, f"dataset.role_{role}")) for role in ROLES]
    content = turn.get("content") or ""
    rest = {name: value for name, value in turn.items() if name not in BOX}
    role = select(f"role:{key}", roles, turn["role"], more=f'aria-label="{escape(t(lang, "rows.speaker"))}"')
    drop = (
        f'<button type="button" class="ls-link-button" data-local="drop">{escape(t(lang, "rows.drop_turn"))}</button>'
    )
    box = area(f"content:{key}", str(content), "", f'aria-label="{escape(t(lang, "rows.said"))}"{first}')
    more = (
        area(f"more:{key}", json.dumps(rest, ensure_ascii=False), t(lang, "rows.more"), 'class="ls-mono"')
        if rest
        else ""
    )
    return f'<div class="ls-turn" data-turn><p>{role}{drop}</p>{box}{more}</div>'
