"""Up to three cards side by side: memory, time, energy, money, and the plain answer. On a narrow page each figure's
name stands above its row, so the table's roles are stated: a style sheet that changes `display` takes them away."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from estimator.advice.ranking import Candidate
from estimator.core.units import human_bytes
from estimator.cost.throughput import Range
from studio.i18n import explain, t
from studio.widgets.verdicts import SIGNS, sign_text, verdict_of


def cards_beside(lang: str, options: list[Candidate]) -> str:
    """A column an option, a row a figure. What is unknown says so."""
    heads = "".join(f'<th scope="col" role="columnheader">{escape(_name(one))}</th>' for one in options)
    corner = f'<td role="cell" class="ls-corner">{escape(t(lang, "estimate.beside_figure"))}</td>'
    body = "".join(_row(lang, name, cell, options) for name, cell in ROWS.items())
    title = escape(t(lang, "estimate.beside_title"))
    return (
        f'<h3>{title}</h3><table class="ls-table ls-beside" role="table" aria-label="{title}" style="--ls-options: '
        f'{len(options)}">'
        f'<thead role="rowgroup"><tr role="row">{corner}{heads}</tr></thead><tbody '
        f'role="rowgroup">{body}</tbody></table>'
    )


def _name(one: Candidate) -> str:
    return f"{one.count} × {one.gpu.name}" if one.count > 1 else one.gpu.name


def _row(lang: str, name: str, cell: Callable[[str, Candidate], str], options: list[Candidate]) -> str:
    cells = "".join(
        f'<td role="cell" data-figure="{name}">{cell(lang, one) or escape(t(lang, "estimate.unknown"))}</td>'
        for one in options
    )
    return (
        f'<tr role="row"><th scope="row" role="rowheader">{escape(t(lang, f"estimate.beside_{name}"))}</th>{cells}</tr>'
    )


def _fits(lang: str, one: Candidate) -> str:
    verdict = verdict_of(one.runs)
    way = f"<small>{escape(explain(lang, one.strategy))}</small>" if one.strategy else ""
    return f'<span class="ls-sign-{verdict}">{SIGNS[verdict]} {escape(sign_text(lang, one.runs))}</span>{way}'


def _memory(lang: str, one: Candidate) -> str:
    made = one.runs
    of = f" / {human_bytes(made.edge_bytes)}" if made.edge_bytes is not None else ""
    bar = f"{human_bytes(made.uncertainty.low_bytes)} – {human_bytes(made.uncertainty.high_bytes)}"
    return escape(human_bytes(made.device_bytes) + of) + _small(bar)


def _headroom(lang: str, one: Candidate) -> str:
    room = one.runs.headroom_bytes
    return "" if room is None else escape(human_bytes(room))


def _hours(lang: str, one: Candidate) -> str:
    basis = one.throughput.place and t(
        lang, f"estimate.cards_basis_{one.throughput.place.code.removeprefix('why.place_')}"
    )
    return _ranged(one.throughput.hours, 2) + (_small(basis) if basis and one.throughput.hours else "")


def _energy(lang: str, one: Candidate) -> str:
    return _ranged(one.throughput.energy_kwh, 2)


def _price(lang: str, one: Candidate) -> str:
    rent = one.cost.cheapest
    if rent is None:
        return ""
    provider = rent.offer.provider if rent.offer.source_url else t(lang, "estimate.cards_own_price")
    return escape(t(lang, "estimate.cards_an_hour", usd=f"{rent.offer.usd_per_hour:,.2f}")) + _small(
        f"{provider} {rent.offer.as_of_date}"
    )


def _total(lang: str, one: Candidate) -> str:
    usd = one.cost.run_usd
    way = t(lang, f"estimate.beside_way_{one.cost.way}") if one.cost.way else ""
    return _ranged(usd, 2) + _small(way if usd else "") if usd else ""


def _buy(lang: str, one: Candidate) -> str:
    cost = one.cost
    return "" if cost.purchase_usd is None else ("~" if cost.purchase_is_estimate else "") + f"{cost.purchase_usd:,.0f}"


def _even(lang: str, one: Candidate) -> str:
    cost = one.cost
    if cost.break_even_hours is None:
        return ""
    months = (
        f" ({cost.break_even_months:,.1f} {t(lang, 'estimate.months')})" if cost.break_even_months is not None else ""
    )
    return escape(t(lang, "estimate.cards_in_hours", hours=f"{cost.break_even_hours:,.0f}") + months)


def _answer(lang: str, one: Candidate) -> str:
    return escape(" ".join(explain(lang, said) for said in one.answer))


ROWS: dict[str, Callable[[str, Candidate], str]] = {
    "fits": _fits, "memory": _memory, "headroom": _headroom, "hours": _hours, "energy": _energy, "price": _price,
    "total": _total,
    "buy": _buy, "even": _even, "answer": _answer,
}  # fmt: skip


def _ranged(value: Range | None, digits: int) -> str:
    """The likely figure, its range below; nothing where it is unknown."""
    if value is None:
        return ""
    return f"{value.central:,.{digits}f}" + _small(f"{value.low:,.{digits}f} – {value.high:,.{digits}f}")


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>" if text else ""
