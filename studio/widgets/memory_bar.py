"""Memory of several methods as stacked bars on one scale, the card's edge drawn through them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.estimates.estimate import Estimate
from estimator.law.law import COMPONENTS
from studio.i18n import explain, t

# Order and colours are the same in every picture; the last is what the device holds beside torch's own tensors.
PARTS = (*COMPONENTS, "context")
SIGNS = {"fits": "✓", "close": "!", "misses": "✕", "unknown": "?"}


@dataclass(frozen=True)
class Bar:
    """One method: its name as shown, and its estimate or why there is none."""

    name: str
    answer: Estimate | Problem

    @property
    def verdict(self) -> str:
        if isinstance(self.answer, Problem) or self.answer.fits is None:
            return "unknown"
        if self.answer.is_close:
            return "close"
        return "fits" if self.answer.fits else "misses"


def memory_bars(lang: str, bars: list[Bar], chosen: int, gpu_label: str, choices: Sequence[dict[str, str]] = ()) -> str:
    """The bars; `bars_legend` goes with them. `chosen` is the bar that is drawn in full.

    With `choices`, the recipe fields that each bar stands for, the bars are radio buttons.
    """
    answers = [bar.answer for bar in bars if _stands(bar)]
    if not answers:
        return ""
    edge = answers[0].edge_bytes
    # The card's edge never leaves the picture; a bar far beyond it is cut with its number beside it.
    largest = max(answer.uncertainty.high_bytes for answer in answers)
    scale = max(min(largest, 4 * edge), 1.15 * edge) if edge else largest
    reached = chosen if _stands(bars[chosen]) else next(n for n, bar in enumerate(bars) if _stands(bar))
    roles = [_role(bar, n == chosen, n == reached, choices[n]) if choices else "" for n, bar in enumerate(bars)]
    rows = "".join(_row(lang, bar, scale, n == chosen, roles[n]) for n, bar in enumerate(bars))
    mark = ""
    if edge:
        label = t(lang, "estimate.card_edge", gpu=gpu_label, memory=human_bytes(edge))
        mark = f'<div class="ls-edge" style="--at:{edge / scale:.5f}"><span>{escape(label)}</span></div>'
    label = escape(t(lang, "estimate.bars_label"))
    return f'<div class="ls-bars" role="{"radiogroup" if choices else "group"}" aria-label="{label}">{rows}{mark}</div>'


def bars_legend(lang: str, bars: list[Bar], chosen: int, gpu_label: str) -> str:
    """The parts of the bar `chosen`, the card's edge, and the numbers of all bars as a table."""
    answers = [bar.answer for bar in bars if _stands(bar)]
    if not answers:
        return ""
    table = f"<summary>{escape(t(lang, 'estimate.table'))}</summary>{_table(lang, bars)}"
    return f'{_legend(lang, bars[chosen], gpu_label, answers[0].edge_bytes)}<details class="ls-more">{table}</details>'


def _stands(bar: Bar) -> bool:
    return isinstance(bar.answer, Estimate)


def _role(bar: Bar, chosen: bool, reached: bool, values: dict[str, str]) -> str:
    """Attributes of a radio button; `reached`: by Tab. One that cannot be chosen cannot be reached."""
    checked = "true" if chosen else "false"
    if not _stands(bar):
        return f' role="radio" aria-checked="{checked}" aria-disabled="true"'
    tab = 0 if reached else -1
    return f' role="radio" aria-checked="{checked}" tabindex="{tab}" data-apply="{escape(json.dumps(values))}"'


def _row(lang: str, bar: Bar, scale: float, chosen: bool, role: str = "") -> str:
    name = f'<span class="ls-bar-name">{escape(bar.name)}</span>'
    kind = "ls-bar ls-bar-chosen" if chosen else "ls-bar"
    if isinstance(bar.answer, Problem):
        return f'<div class="{kind}"{role}>{name}<span class="ls-bar-note">{escape(explain(lang, bar.answer))}</span></div>'
    parts = parts_of(bar.answer)
    fills = "".join(
        f'<i class="ls-part ls-part-{part}" style="width:{bytes / scale * 100:.4f}%" title="{escape(part_text(lang, part, bytes))}"></i>'
        for part, bytes in parts.items()
        if bytes
    )
    low, high = bar.answer.uncertainty.low_bytes, bar.answer.uncertainty.high_bytes
    span = f'<i class="ls-range" style="left:{low / scale * 100:.3f}%;width:{(high - low) / scale * 100:.3f}%"></i>'
    word = t(lang, f"estimate.sign_{bar.verdict}")
    exact, about = f"{bar.answer.device_bytes:,} B", ""
    if bar.answer.engine in ("analytic", "nearest"):
        about = f'<abbr title="{escape(t(lang, "estimate.approximate"))}">≈</abbr> '
    return (
        f'<div class="{kind}"{role} data-verdict="{bar.verdict}">{name}<span class="ls-bar-track">{fills}{span}</span>'
        f'<b title="{exact}">{about}{human_bytes(bar.answer.device_bytes)}</b>'
        f'<span class="ls-sign ls-sign-{bar.verdict}">{SIGNS[bar.verdict]} <span>{escape(word)}</span></span></div>'
    )


def parts_of(answer: Estimate) -> dict[str, int]:
    """The components and, as `context`, what the device holds beside them; they sum to `device_bytes`."""
    beside = answer.device_bytes - answer.peak_allocated_bytes
    return {**{name: answer.components[name] for name in COMPONENTS}, "context": beside}


def part_text(lang: str, part: str, bytes: int) -> str:
    return f"{t(lang, f'estimate.{part}')} {human_bytes(bytes)}"


def swatch(part: str) -> str:
    """A component's colour and hatching, before its name."""
    return f'<span class="ls-swatch ls-part ls-part-{part}"></span>'


def _legend(lang: str, bar: Bar, gpu_label: str, edge_bytes: int | None) -> str:
    """The edge's entry is for narrow screens, where no name stands at the line itself."""
    parts = parts_of(bar.answer) if _stands(bar) else {}
    items = "".join(
        f'<li title="{bytes:,} B">{swatch(part)}{escape(t(lang, f"estimate.{part}"))} <b>{human_bytes(bytes)}</b></li>'
        for part, bytes in parts.items()
        if bytes
    )
    if edge_bytes:
        items += f'<li class="ls-edge-key"><i></i>{escape(gpu_label)} <b>{human_bytes(edge_bytes)}</b></li>'
    return f'<ul class="ls-legend ls-components">{items}</ul>'


def _table(lang: str, bars: list[Bar]) -> str:
    """Exact bytes: nothing in the picture is only in the picture. What cannot be has no column: its row said why."""
    shown = [bar for bar in bars if _stands(bar)]
    head = "".join(f'<th scope="col">{escape(bar.name)}</th>' for bar in shown)
    lines = [(t(lang, f"estimate.{part}"), [parts_of(bar.answer)[part] for bar in shown]) for part in PARTS]
    lines.append((t(lang, "estimate.peak_allocated"), [bar.answer.peak_allocated_bytes for bar in shown]))
    lines.append((t(lang, "estimate.peak_reserved"), [bar.answer.peak_reserved_bytes for bar in shown]))
    lines.append((t(lang, "estimate.device"), [bar.answer.device_bytes for bar in shown]))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{n:,}</td>" for n in numbers)}</tr>'
        for name, numbers in lines
    )
    moments = "".join(f"<td>{escape(t(lang, f'estimate.moment_{bar.answer.peak_moment}'))}</td>" for bar in shown)
    body += f'<tr><th scope="row">{escape(t(lang, "estimate.moment"))}</th>{moments}</tr>'
    first = escape(t(lang, "estimate.component"))
    return f'<div class="ls-scroll"><table class="ls-table ls-numbers"><thead><tr><th scope="col">{first}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
