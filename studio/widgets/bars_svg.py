"""The bars as one SVG file that needs no style sheet, for slides and issues."""

from __future__ import annotations

from html import escape

from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from studio.i18n import explain, t
from studio.widgets.memory_bar import PARTS, SIGNS, Bar, parts_of

WIDTH, LEFT, RIGHT, ROW = 960, 130, 200, 44
# The light colours of assets/theme/tokens.css; a file has no theme. tests/studio/test_widgets.py holds them equal.
COLOURS = {
    "weights": "#0072b2",
    "quantization_state": "#56b4e9",
    "adapters": "#009e73",
    "gradients": "#e69f00",
    "optimizer_states": "#d55e00",
    "activations": "#cc79a7",
    "logits_and_loss": "#f0e442",
    "temporary": "#8c6bb1",
    "workspace": "#7f7f7f",
    "context": "#b3b3b3",
}
# What tells components apart where colours do not, as on the page (assets/theme/estimate.css): tile, width and course
# of the lines.
HATCHES = {
    "weights": (8, 0, ""),
    "quantization_state": (6, 1, "M0 6L6 0"),
    "adapters": (4, 1, "M1.5 2h1"),
    "gradients": (6, 1, "M0 0L6 6"),
    "optimizer_states": (4, 1, "M0 2h4"),
    "activations": (4, 1, "M2 0v4"),
    "logits_and_loss": (7, 1, "M0 0L7 7M0 7L7 0"),
    "temporary": (6, 1, "M3 0v6M0 3h6"),
    "workspace": (8, 3, "M0 8L8 0"),
    "context": (8, 3, "M2.5 4h3"),
}


def bars_svg(lang: str, bars: list[Bar], title: str) -> str:
    """`bars` on one scale with the card's edge; a method without an estimate says why."""
    answers = [bar.answer for bar in bars if not isinstance(bar.answer, Problem)]
    edge = answers[0].edge_bytes if answers else None
    scale = max([answer.device_bytes for answer in answers] + [edge or 1]) * 1.02
    wide, height = WIDTH - LEFT - RIGHT, 48 + ROW * len(bars) + 76
    rows = "".join(_row(lang, bar, 48 + n * ROW, wide / scale) for n, bar in enumerate(bars))
    mark = ""
    if edge:
        x = LEFT + edge * wide / scale
        label = escape(t(lang, "estimate.card_edge", gpu=answers[0].gpu, memory=human_bytes(edge)))
        bottom = 48 + ROW * len(bars)
        mark = f'<path d="M{x:.1f} 40V{bottom}" stroke="#17202b" stroke-width="2" stroke-dasharray="4 3"/><text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13" fill="#17202b">'
        f'<defs>{"".join(map(_pattern, PARTS))}</defs><rect width="{WIDTH}" height="{height}" fill="#ffffff"/><text x="16" y="26" font-size="16" font-weight="600">{escape(title)}</text>{rows}{mark}{_legend(lang, height)}</svg>'
    )


def _pattern(part: str) -> str:
    size, width, course = HATCHES[part]
    lines = f'<path d="{course}" stroke="#000000" stroke-opacity="0.38" stroke-width="{width}"/>' if course else ""
    return (
        f'<pattern id="{part}" width="{size}" height="{size}" patternUnits="userSpaceOnUse">'
        f'<rect width="{size}" height="{size}" fill="{COLOURS[part]}"/>{lines}</pattern>'
    )


def _row(lang: str, bar: Bar, y: int, per_byte: float) -> str:
    name = f'<text x="16" y="{y + 20}">{escape(bar.name)}</text>'
    if isinstance(bar.answer, Problem):
        return f'{name}<text x="{LEFT}" y="{y + 20}" fill="#566373">{escape(explain(lang, bar.answer)[:110])}</text>'
    x, drawn = float(LEFT), []
    for part, size in parts_of(bar.answer).items():
        drawn.append(f'<rect x="{x:.2f}" y="{y}" width="{size * per_byte:.2f}" height="28" fill="url(#{part})"/>')
        x += size * per_byte
    said = f"{human_bytes(bar.answer.device_bytes)} {SIGNS[bar.verdict]} {t(lang, f'estimate.sign_{bar.verdict}')}"
    return f'{name}{"".join(drawn)}<text x="{WIDTH - RIGHT + 12}" y="{y + 20}" font-weight="600">{escape(said)}</text>'


def _legend(lang: str, height: int) -> str:
    items = []
    for n, part in enumerate(PARTS):
        x, y = 16 + n % 5 * 186, height - 40 + n // 5 * 22
        items.append(
            f'<rect x="{x}" y="{y}" width="12" height="12" fill="url(#{part})"/><text x="{x + 18}" y="{y + 11}">{escape(t(lang, f"estimate.{part}"))}</text>'
        )
    return "".join(items)
