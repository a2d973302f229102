"""W + B A for an adapted layer of one's choice, drawn to one scale: the frozen matrix, the two strips that train, and
the counts."""

from __future__ import annotations

from html import escape

from estimator.adapters.adapters import AdapterGroup, Trainables
from studio import shipped
from studio.i18n import t

SIDE = 160
THINNEST = 2.0
# Which layer is looked at is the page's own affair: every kind's picture is there, and a repaint keeps the choice.
ON_LOAD = shipped.script("elements/layers")


def low_rank(lang: str, trained: Trainables) -> str:
    """A picture for each kind of adapted layer, first the one with most parameters; nothing where no pair of matrices
    trains."""
    groups = [group for group in trained.adapters if _pair(group)]
    if not groups:
        return ""
    first = max(range(len(groups)), key=lambda n: sum(map(sum, _pair(groups[n]))))
    options = "".join(
        f'<option value="{n}"{" selected" if n == first else ""}>{escape(_name(group))}</option>'
        for n, group in enumerate(groups)
    )
    figures = "".join(_figure(lang, n, group, n == first) for n, group in enumerate(groups))
    label = escape(t(lang, "estimate.low_rank_layer"))
    return f'<h3>{escape(t(lang, "estimate.low_rank_title"))}</h3><label class="ls-choice">{label} <select data-layers aria-label="{label}">{options}</select></label>{figures}'


def _pair(group: AdapterGroup) -> tuple[tuple[int, ...], ...]:
    """(A, B): A is r x in and B out x r; nothing for what is no pair of matrices."""
    shapes = [shape for shape in group.trained.values() if len(shape) == 2]
    return tuple(shapes) if len(shapes) == 2 and shapes[0][0] == shapes[1][1] else ()


def _name(group: AdapterGroup) -> str:
    return f"{group.leaf} · {group.out_features:,} × {group.in_features:,} · {group.count} ×"


def _figure(lang: str, n: int, group: AdapterGroup, is_shown: bool) -> str:
    (rank, wide), (high, _) = _pair(group)
    scale = SIDE / max(wide, high)
    w, h, r = max(wide * scale, THINNEST), max(high * scale, THINNEST), max(rank * scale, THINNEST)
    words = {
        "rank": rank,
        "inputs": f"{wide:,}",
        "outputs": f"{high:,}",
        "whole": f"{wide * high:,}",
        "pair": f"{rank * (wide + high):,}",
    }
    words["share"] = f"{rank * (wide + high) / (wide * high):.2%}"
    text = escape(t(lang, "estimate.low_rank", **words))
    at_b, at_a = w + 56, w + 56 + r + 40
    return (
        f'<figure class="ls-low-rank" data-layer="{n}"{"" if is_shown else " hidden"}>'
        f'<svg viewBox="0 0 {at_a + w + 8:.0f} {max(h, SIDE) + 28:.0f}" width="{at_a + w + 8:.0f}" role="img" aria-label="{text}">'
        f'{_box(0, h, w, h, "weights", "W")}<text x="{w + 24:.0f}" y="{h / 2 + 5:.0f}">+</text>'
        f'{_box(at_b, h, r, h, "adapters", "B")}<text x="{at_b + r + 16:.0f}" y="{h / 2 + 5:.0f}">×</text>'
        f"{_box(at_a, r, w, r, 'adapters', 'A')}</svg><figcaption>{text}</figcaption></figure>"
    )


def _box(x: float, label_y: float, wide: float, high: float, colour: str, name: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="0" width="{wide:.1f}" height="{high:.1f}" fill="var(--ls-{colour})"/>'
        f'<text x="{x + wide / 2:.1f}" y="{label_y + 18:.1f}" text-anchor="middle">{name}</text>'
    )
