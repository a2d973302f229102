"""Memory over one training step: a stacked column for each phase, the peak named, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from estimator.core.units import human_bytes
from estimator.law.law import COMPONENTS
from studio.i18n import t
from studio.widgets.memory_bar import part_text

Moments = Sequence[tuple[str, dict[str, int]]]
"""Name and bytes by component."""


def step_curve(lang: str, moments: Moments, peak: str) -> str:
    """`moments` in the order of a step; the one called `peak` is marked."""
    top = max(sum(parts.values()) for _, parts in moments)
    columns = "".join(_column(lang, name, parts, top, name == peak) for name, parts in moments)
    label = escape(t(lang, "estimate.step_label", moment=t(lang, f"estimate.moment_{peak}"), size=human_bytes(top)))
    return (
        f'<div class="ls-step" role="img" aria-label="{label}">{columns}</div>'
        f'<details class="ls-more"><summary>{escape(t(lang, "estimate.step_table"))}</summary>{_table(lang, moments)}</details>'
    )


def _column(lang: str, name: str, parts: dict[str, int], top: int, is_peak: bool) -> str:
    """Heights are shares of the highest column's."""
    fills = "".join(
        f'<i class="ls-part ls-part-{part}" style="height:{parts[part] / top * 100:.3f}%" '
        f'title="{escape(part_text(lang, part, parts[part]))}"></i>'
        for part in reversed(COMPONENTS)
        if parts[part]
    )
    mark = f"<span>{escape(t(lang, 'estimate.step_peak'))}</span> " if is_peak else ""
    kind = "ls-step-peak" if is_peak else "ls-step-other"
    return (
        f'<div class="{kind}"><div><b>{mark}{human_bytes(sum(parts.values()))}</b>{fills}</div>'
        f"<span>{escape(t(lang, f'estimate.short_{name}'))}</span></div>"
    )


def _table(lang: str, moments: Moments) -> str:
    head = "".join(f'<th scope="col">{escape(t(lang, f"estimate.short_{name}"))}</th>' for name, _ in moments)
    body = "".join(
        f'<tr><th scope="row">{escape(t(lang, f"estimate.{component}"))}</th>{"".join(f"<td>{parts[component]:,}</td>" for _, parts in moments)}</tr>'
        for component in COMPONENTS
    )
    first = escape(t(lang, "estimate.component"))
    return f'<div class="ls-scroll"><table class="ls-table ls-numbers"><thead><tr><th scope="col">{first}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
