"""Fields and buttons of the forms that stand in one element of the page (`assets/scripts/elements/deed.js`)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any


def select(
    name: str, options: Iterable[tuple[str, str]], chosen: str, label: str = "", more: str = "", help: str = ""
) -> str:
    """`options` are values with what is shown; one that is chosen and not among them is none."""
    inner = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(shown)}</option>'
        for value, shown in options
    )
    return _labelled(label, f'<select name="{escape(name)}" {more}>{inner}</select>', help)


def number(name: str, value: Any, label: str, low: float, high: float, step: float | str = 1) -> str:
    field = f'<input type="number" name="{escape(name)}" value="{escape(str(value))}" min="{low}" max="{high}" step="{step}">'
    return _labelled(label, field)


def text(name: str, value: str, label: str, more: str = "") -> str:
    return _labelled(label, f'<input type="text" name="{escape(name)}" value="{escape(value)}" {more}>')


def check(name: str, is_on: bool, label: str) -> str:
    return (
        f'<label class="ls-check"><input type="checkbox" name="{escape(name)}"{" checked" if is_on else ""}> '
        f"<span>{escape(label)}</span></label>"
    )


def area(name: str, value: str, label: str, more: str = "") -> str:
    """As many lines as it has, within bounds; the first line end of a value is not lost."""
    rows = max(2, min(16, sum(1 + len(line) // 90 for line in value.split("\n"))))
    return _labelled(
        label, f'<textarea name="{escape(name)}" rows="{rows}" dir="auto" {more}>\n{escape(value)}</textarea>'
    )


def button(does: str, shown: str, primary: bool = False, **told: Any) -> str:
    """Pressed, it says what is to be done, with `told` and the fields of its form. The primary one of a form is what the
    Enter key presses, too."""
    about = f' data-with="{escape(json.dumps(told))}"' if told else ""
    kind = " ls-button-primary" if primary else ""
    return (
        f'<button type="button" class="ls-button{kind}" data-do="{escape(does)}"{about}'
        f"{' data-default' if primary else ''}>{escape(shown)}</button>"
    )


def _labelled(label: str, field: str, help: str = "") -> str:
    note = f'<small class="ls-note">{escape(help)}</small>' if help else ""
    return f'<label class="ls-field"><span>{escape(label)}</span>{field}{note}</label>' if label else field
