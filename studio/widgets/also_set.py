"""Fields of a recipe that a form has no control for: each with its value, and a button that sets it back."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from estimator.core.field_text import shown_in_box, spelled
from estimator.core.fields import FieldInfo
from studio import shipped
from studio.i18n import strings, t

ON_LOAD = shipped.script("elements/set_back")
EVERY = "*"
"""What the button that sets all back says instead of a field."""


@dataclass(frozen=True)
class Setting:
    """A field and its value as plain JSON types; `is_read`: whether a run looks at it, with the rest as it is."""

    info: FieldInfo
    value: Any
    is_read: bool


def also_set(lang: str, tab: str, settings: list[Setting]) -> str:
    """Nothing where nothing is set. An entry has the id of a control of the tab, so that a problem is marked at it."""
    if not settings:
        return ""
    items = "".join(_item(lang, tab, setting) for setting in settings)
    every = _button(EVERY, t(lang, "train.also_all"), t(lang, "train.also_all")) if len(settings) > 1 else ""
    return (
        f'<section class="ls-also" '
        f'aria-label="{escape(t(lang, "train.also_title"))}"><h3>{escape(t(lang, "train.also_title"))}</h3>'
        f'<p class="ls-note">{escape(t(lang, "train.also_help"))}</p><ul>{items}</ul>{every}</section>'
    )


def _item(lang: str, tab: str, setting: Setting) -> str:
    name, default = setting.info.name, setting.info.default
    meaning = strings(lang)[f"recipe.{name}_help"]
    back = t(lang, "train.also_back", field=name, value=shown_in_box(default) or t(lang, "train.also_nothing"))
    unread = "" if setting.is_read else f" <small>{escape(t(lang, 'train.also_unread'))}</small>"
    said = f"<code>{name} = {escape(spelled(setting.info, setting.value))}</code>{unread}"
    return f'<li id="{tab}-{name}"><span title="{escape(meaning)}">{said}</span>{_button(name, "×", back)}</li>'


def _button(field: str, text: str, label: str) -> str:
    return f'<button type="button" class="ls-button" data-set-back="{field}" title="{escape(label)}" aria-label="{escape(label)}">{escape(text)}</button>'
