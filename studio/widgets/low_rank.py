"""W + B A for one adapted layer, drawn to one scale: the frozen matrix, the two strips that train, and the counts."""

from __future__ import annotations

from html import escape

from estimator.adapters import Trainables
from estimator.recipe import Recipe
from studio.i18n import t

SIDE = 160
THINNEST = 2.0


def low_rank(lang: str, recipe: Recipe, trained: Trainables) -> str:
    """The adapted layer with most parameters; nothing where no pair of matrices trains."""
    pairs = _pairs(trained)
    if not pairs:
        return ""
    (rank, wide), (high, _) = max(pairs, key=lambda pair: pair[0][1] * pair[1][0])
    scale = SIDE / max(wide, high)
    w, h, r = max(wide * scale, THINNEST), max(high * scale, THINNEST), max(rank * scale, THINNEST)
    words = {"rank": rank, "inputs": f"{wide:,}", "outputs": f"{high:,}", "whole": f"{wide * high:,}", "pair": f"{rank * (wide + high):,}"}
    words["share"] = f"{rank * (wide + high) / (wide * high):.2%}"
    text = escape(t(lang, "estimate.low_rank", **words))
    at_b, at_a = w + 56, w + 56 + r + 40
    return (
        f'<h3>{escape(t(lang, "estimate.low_rank_title"))}</h3><figure class="ls-low-rank">'
        f'<svg viewBox="0 0 {at_a + w + 8:.0f} {max(h, SIDE) + 28:.0f}" width="{at_a + w + 8:.0f}" role="img" aria-label="{text}">'
        f'{_box(0, h, w, h, "weights", "W")}<text x="{w + 24:.0f}" y="{h / 2 + 5:.0f}">+</text>'
        f'{_box(at_b, h, r, h, "adapters", "B")}<text x="{at_b + r + 16:.0f}" y="{h / 2 + 5:.0f}">×</text>'
        f'{_box(at_a, r, w, r, "adapters", "A")}</svg><figcaption>{text}</figcaption></figure>'
    )


def _pairs(trained: Trainables) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """(A, B) shapes: A is r x in and B out x r, one after the other."""
    shapes = [shape for shape, _ in trained.lora if len(shape) == 2]
    return [(a, b) for a, b in zip(shapes[::2], shapes[1::2], strict=False) if a[0] == b[1]]


def _box(x: float, label_y: float, wide: float, high: float, colour: str, name: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="0" width="{wide:.1f}" height="{high:.1f}" fill="var(--ls-{colour})"/>'
        f'<text x="{x + wide / 2:.1f}" y="{label_y + 18:.1f}" text-anchor="middle">{name}</text>'
    )
