"""The loss curve of one run, or of several over each other, as SVG.

The drawing stretches with the page (`preserveAspectRatio="none"`, strokes do not scale); its numbers are HTML placed in
percent, so that they keep their size at every width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from studio.i18n import t

WIDTH, HEIGHT = 1000.0, 400.0
# More points than pixels cost time and show nothing.
MOST_POINTS = 500
NOTHING = 1e-300
COLOURS = ("var(--ls-weights)", "var(--ls-optimizer_states)", "var(--ls-adapters)", "var(--ls-activations)")


@dataclass(frozen=True)
class Line:
    """One line of a picture: points are (step, value); `dots` marks each of them (few points only)."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    dots: bool = False
    faint: bool = False


def loss_curve(lang: str, metrics: list[dict[str, Any]], evals: list[dict[str, Any]], total_steps: int | None) -> str:
    """Training loss (faint as logged, bold smoothed) and evaluation loss of one run."""
    raw = [(m["step"], m["loss"]) for m in metrics if m.get("loss") is not None]
    held_out = [(e["step"], e["eval_loss"]) for e in evals if e.get("eval_loss") is not None]
    lines = [
        Line(t(lang, "train.curve_raw"), raw, COLOURS[0], faint=True),
        Line(t(lang, "train.curve_train"), smoothed(raw), COLOURS[0]),
        Line(t(lang, "train.curve_eval"), held_out, COLOURS[1], dots=True),
    ]
    return picture(lang, [line for line in lines if line.points], total_steps)


def picture(lang: str, lines: list[Line], total_steps: int | None = None) -> str:
    """The lines in one frame, with a legend and a table for those who cannot see them."""
    points = [point for line in lines for point in line.points]
    if not points:
        return f'<div class="ls-curve ls-curve-empty">{escape(t(lang, "train.curve_empty"))}</div>'
    last_step = max(total_steps or 0, max(x for x, _ in points), 1)
    ticks_y = nice_ticks(min(y for _, y in points), max(y for _, y in points))
    frame = _Frame(0.0, float(last_step), ticks_y[0], ticks_y[-1])
    drawn = "".join(_drawn(frame, line) for line in lines)
    grid = "".join(f'<path class="ls-grid" d="M0 {frame.y(v):.1f}H{WIDTH:.0f}"/>' for v in ticks_y)
    label = t(lang, "train.curve_label", first=_number(points[0][1]), last=_number(lines[-1].points[-1][1]))
    return (
        f'<figure class="ls-curve"><div class="ls-plot">{_labels(frame, ticks_y)}'
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" '
        f'preserveAspectRatio="none">'
        f"{grid}{drawn}</svg></div>{_legend(lines)}{_table(lang, lines)}</figure>"
    )


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Exponential moving average, freed of its start's bias: after n points the weights sum to 1 - weight^n.

    It remembers about a twentieth of the curve, at most 20 points, so that a short curve does not lag.
    """
    result, mean = [], 0.0
    weight = 1 - 1 / min(20, max(1, len(points) / 20))
    if not weight:
        return list(points)
    for n, (x, y) in enumerate(points, start=1):
        mean = weight * mean + (1 - weight) * y
        result.append((x, mean / (1 - weight**n)))
    return result


def thinned(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most about `most` points that look the same: the lowest and the highest of each stretch stay."""
    if len(points) <= most:
        return list(points)
    stretch = math.ceil(len(points) / (most // 2))
    kept = []
    for start in range(0, len(points), stretch):
        part = range(start, min(start + stretch, len(points)))
        ends = {min(part, key=lambda i: points[i][1]), max(part, key=lambda i: points[i][1])}
        kept += [points[i] for i in sorted(ends)]
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers that enclose `low` to `high`."""
    # numbers below `NOTHING` cannot be divided into steps: they are drawn as 0
    span = next(size for size in (high - low, abs(high), 1.0) if size > NOTHING)
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class _Frame:
    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return (value - self.x0) / (self.x1 - self.x0) * WIDTH

    def y(self, value: float) -> float:
        return HEIGHT - (value - self.y0) / (self.y1 - self.y0) * HEIGHT


def _drawn(frame: _Frame, line: Line) -> str:
    spots = [f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in thinned(line.points)]
    kind = "ls-line-faint" if line.faint else "ls-line"
    path = f'<path class="{kind}" style="stroke:{line.colour}" d="M{"L".join(spots)}"/>'
    if line.dots or len(spots) == 1:  # a round cap on a line of no length is a dot that does not stretch
        path += f'<path class="ls-dot" style="stroke:{line.colour}" d="{"".join(f"M{s}h0" for s in spots)}"/>'
    return path


def _labels(frame: _Frame, ticks_y: list[float]) -> str:
    ys = "".join(
        f'<span class="ls-y" style="top:{frame.y(v) / HEIGHT * 100:.2f}%">{_number(v)}</span>' for v in ticks_y
    )
    steps = [tick for tick in nice_ticks(frame.x0, frame.x1) if tick <= frame.x1 and tick == int(tick)]
    xs = "".join(f'<span class="ls-x" style="left:{frame.x(v) / WIDTH * 100:.2f}%">{v:,.0f}</span>' for v in steps)
    return ys + xs


def _legend(lines: list[Line]) -> str:
    items = "".join(
        f'<li><span class="ls-key{" ls-key-dot" if line.dots else ""}" style="--c:{line.colour}"></span>'
        f"{escape(line.label)} <b>{_number(line.points[-1][1])}</b></li>"
        for line in lines
        if not line.faint
    )
    return f'<figcaption><ul class="ls-legend">{items}</ul></figcaption>'


def _table(lang: str, lines: list[Line], rows: int = 20) -> str:
    """The same numbers as a table, thinned to about `rows`, for screen readers."""
    body = ""
    for line in (line for line in lines if not line.faint):
        every = max(1, len(line.points) // rows)
        for x, y in line.points[::every]:
            body += f"<tr><td>{escape(line.label)}</td><td>{x:,.0f}</td><td>{_number(y)}</td></tr>"
    head = f"<tr><th>{escape(t(lang, 'train.curve'))}</th><th>{escape(t(lang, 'train.step'))}</th><th>{escape(t(lang, 'train.loss'))}</th></tr>"
    return f'<table class="ls-visually-hidden"><thead>{head}</thead><tbody>{body}</tbody></table>'


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
