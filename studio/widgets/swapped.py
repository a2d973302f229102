"""Many settings that changed at once: what they were and are, and one button to the other side."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from studio.i18n import t
from studio.widgets.runs_table import short_model

if TYPE_CHECKING:
    from studio.tabs.train_form import Swap


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
