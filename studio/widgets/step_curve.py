"""Memory over one training step: a stacked column for each phase, the peak named, and the same numbers as a table."""

from __future__ import annotations

from html import escape

from estimator.law import COMPONENTS
from estimator.units import human_bytes
from studio.i18n import t

WIDTH, HEIGHT, GAP = 640, 200, 24


def step_curve(lang: str, moments: list[tuple[str, dict[str, int]]], peak: str) -> str:
    """`moments` in the order of a step: (name, bytes by component); the one called `peak` is marked."""
    top = max(sum(parts.values()) for _, parts in moments)
    wide = (WIDTH - GAP) / len(moments)
    columns = "".join(_column(lang, n, name, parts, wide, top, name == peak) for n, (name, parts) in enumerate(moments))
    label = escape(t(lang, "estimate.step_label", moment=t(lang, f"estimate.moment_{peak}"), size=human_bytes(top)))
    return (
        f'<svg class="ls-step" viewBox="0 0 {WIDTH} {HEIGHT + 44}" role="img" aria-label="{label}">{columns}</svg>'
        f'<details class="ls-more"><summary>{escape(t(lang, "estimate.step_table"))}</summary>{_table(lang, moments)}</details>'
    )


def _column(lang: str, n: int, name: str, parts: dict[str, int], wide: float, top: int, is_peak: bool) -> str:
    x, y, drawn = GAP / 2 + n * wide, float(HEIGHT + 16), []
    for component in COMPONENTS:
        high = parts[component] / top * (HEIGHT - 8)
        y -= high
        if high:
            drawn.append(f'<rect x="{x:.1f}" y="{y:.2f}" width="{wide - GAP:.1f}" height="{high:.2f}" fill="var(--ls-{component})"/>')
    middle, total = x + (wide - GAP) / 2, human_bytes(sum(parts.values()))
    mark = t(lang, "estimate.step_peak") + " " if is_peak else ""
    kind = "ls-step-peak" if is_peak else "ls-step-other"
    return (
        f'<g class="{kind}">{"".join(drawn)}<text x="{middle:.1f}" y="{y - 6:.1f}" text-anchor="middle">{escape(mark + total)}</text>'
        f'<text x="{middle:.1f}" y="{HEIGHT + 34}" text-anchor="middle">{escape(t(lang, f"estimate.short_{name}"))}</text></g>'
    )


def _table(lang: str, moments: list[tuple[str, dict[str, int]]]) -> str:
    head = "".join(f'<th scope="col">{escape(t(lang, f"estimate.short_{name}"))}</th>' for name, _ in moments)
    body = "".join(
        f'<tr><th scope="row">{escape(t(lang, f"estimate.{component}"))}</th>{"".join(f"<td>{parts[component]:,}</td>" for _, parts in moments)}</tr>'
        for component in COMPONENTS
    )
    first = escape(t(lang, "estimate.component"))
    return f'<div class="ls-scroll"><table class="ls-table ls-numbers"><thead><tr><th scope="col">{first}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
