"""Many settings that changed at once: what they were and are, and one button to the other side."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from estimator.core.field_text import shown_in_box
from estimator.recipe.recipe import FIELDS
from studio.i18n import t
from studio.widgets.runs_table import short_model


@dataclass(frozen=True)
class Swap:
    """Many settings changed at once: what the controls held and what they hold now, and the recipe under them, on both
    sides. `shown` is the side that the form shows. Kept in the page's session as a dict."""

    why: str
    """`base`: another base was chosen; `reset`: all was reset; `advice`: what the rows of a dataset ask for was set."""
    old_model: str
    new_model: str
    before: dict[str, Any]
    after: dict[str, Any]
    base_before: dict[str, Any]
    base_after: dict[str, Any]
    shown: str = "after"

    @property
    def changed(self) -> list[tuple[str, str, str]]:
        """(field, before, after) as text, of controls and of what has none."""
        pairs = [(name, self.before[name], self.after[name]) for name in self.before if name != "model"]
        bare = [name for name in FIELDS if name not in self.before and name != "model"]
        pairs += [(name, self.base_before.get(name), self.base_after.get(name)) for name in bare]
        return [(name, _text(old), _text(new)) for name, old, new in pairs if old != new]


def _text(value: object) -> str:
    return shown_in_box(value) or "–"


def swapped(lang: str, swap: Swap) -> str:
    """Nothing where nothing differs."""
    if not swap.changed:
        return ""
    words = {"old": short_model(swap.old_model), "new": short_model(swap.new_model)}
    items = "".join(
        f"<li><code>{escape(name)}</code> {escape(before)} → {escape(after)}</li>"
        if swap.shown == "after"
        else f"<li><code>{escape(name)}</code> {escape(before)}</li>"
        for name, before, after in swap.changed
    )
    title = t(lang, f"train.swap_{swap.why}_{swap.shown}", **words)
    button = t(lang, f"train.swap_{swap.why}_{'back' if swap.shown == 'after' else 'again'}", **words)
    return (
        f'<section class="ls-also ls-swapped" role="status"><p>{escape(title)}</p><ul>{items}</ul>'
        f'<button type="button" class="ls-button" data-set-back="*">{escape(button)}</button></section>'
    )
