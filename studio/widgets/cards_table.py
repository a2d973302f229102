"""Cards for one recipe as a table: room, speed, the run, renting and buying. On a narrow page each row becomes a block
with the column's name before each figure, so the table's roles are stated: a style sheet that changes `display` takes
them away."""

from __future__ import annotations

import functools
from html import escape

from estimator.advice.priced import counted
from estimator.advice.ranking import Candidate
from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.cost.throughput import Range
from estimator.hardware.cards import gpus
from estimator.model.catalog import rows
from estimator.recipe.costing import Costing
from studio.i18n import t
from studio.widgets.verdicts import SIGNS, sign_text, verdict_of

COLUMNS = ("card", "fits", "run", "offer", "buy", "speed")


def cards_table(lang: str, shown: list[Candidate], chosen: str, costing: Costing = Costing()) -> str:
    """A row a card; that of the card called `chosen` is marked, and what of `costing` is owned or compared. What is
    unknown says so."""
    heads = {name: escape(t(lang, f"estimate.cards_{name}")) for name in COLUMNS}
    head = "".join(f'<th scope="col" role="columnheader">{text}</th>' for text in heads.values())
    body = "".join(_row(lang, one, heads, one.gpu.name == chosen, costing) for one in shown)
    label = escape(t(lang, "estimate.panel_cards"))
    return (
        f'<table class="ls-table ls-cards" role="table" aria-label="{label}"><thead role="rowgroup"><tr '
        f'role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _row(lang: str, one: Candidate, heads: dict[str, str], is_chosen: bool, costing: Costing) -> str:
    made = {"fits": _fits, "run": _run, "offer": _offer, "buy": _buy, "speed": _speed}
    cells = "".join(f'<td role="cell" data-label="{heads[name]}">{cell(lang, one)}</td>' for name, cell in made.items())
    size = f"<small>{one.gpu.memory_gib:g} GiB</small>" if one.gpu.memory_gib else ""
    mark = " aria-current=true" if is_chosen else ""
    return f'<tr role="row"{mark} data-card="{escape(one.gpu.name)}"><th scope="row" role="rowheader">{escape(one.gpu.name)}{size}{_buttons(lang, one, costing)}</th>{cells}</tr>'


def _buttons(lang: str, one: Candidate, costing: Costing) -> str:
    """Put the card beside others, or say that one has it (`panels.cards.ON_LOAD`)."""
    name = f"{one.count} x {one.gpu.name}" if one.count > 1 else one.gpu.name
    made = ""
    for key, names in (("compare", costing.compare), ("owned", costing.owned)):
        there = next((text for text in names or () if _is(one, text, key)), None)
        pressed, listed = str(there is not None).lower(), there or name
        label = escape(t(lang, f"estimate.cards_{key}_button"))
        said = escape(t(lang, f"estimate.cards_{key}_named", card=name))
        made += (
            f'<button type="button" class="ls-chip" data-list="{key}" data-name="{escape(listed)}" aria-pressed="{pressed}" '
            f'aria-label="{said}">{label}</button>'
        )
    return f'<span class="ls-chips">{made}</span>'


def _is(one: Candidate, text: str, key: str) -> bool:
    """Whether a name in a list means this card, and so many of it."""
    try:
        count, gpu = counted(text, key, {one.gpu.name: one.gpu})
    except Problem:
        return False
    return gpu.name == one.gpu.name and (count or 1) == one.count


def _fits(lang: str, one: Candidate) -> str:
    verdict, made = "several" if one.sharded else verdict_of(one.estimate), one.runs
    word = t(lang, "estimate.cards_several", count=one.devices) if one.sharded else sign_text(lang, made)
    if one.count > 1 and not one.sharded:  # a chosen count
        kind = t(lang, "estimate.cards_of_several", count=one.count, kind=one.recipe.distributed_type.upper())
        word = f"{word} · {kind}"
    room = ""
    if made.headroom_bytes is not None:
        room = t(
            lang,
            "estimate.cards_spare" if made.headroom_bytes >= 0 else "estimate.cards_short",
            room=human_bytes(abs(made.headroom_bytes)),
        )
    return f'<span class="ls-sign-{verdict}">{SIGNS[verdict]} {escape(word)}</span>{_small(escape(room))}'


def _run(lang: str, one: Candidate) -> str:
    """Cost and hours of the stated dataset, what is likely and the range; without one the price of a million tokens."""
    rent, hours, cost = one.cost.cheapest, one.throughput.hours, one.cost.run_usd
    if hours:
        usd, span = t(lang, "estimate.unknown"), ""
        if one.cost.way == "own" and cost is None:
            usd = t(lang, "estimate.cards_electricity")
        if cost:
            usd, span = t(lang, "estimate.cards_usd", usd=f"{cost.central:,.2f}"), _span(cost, 2)
        basis = one.throughput.place.code.removeprefix("why.place_") if one.throughput.place else "rated"
        return (
            escape(usd)
            + _small(span)
            + _small(escape(t(lang, "estimate.cards_in_hours", hours=_span(hours, 1 if hours.low >= 1 else 2))))
            + _small(escape(t(lang, f"estimate.cards_basis_{basis}")))
        )
    if rent and rent.usd_per_million_tokens is not None:
        usd = rent.usd_per_million_tokens
        return escape(t(lang, "estimate.cards_per_million", usd=f"{usd:,.2f}" if usd >= 0.01 else "< 0.01"))
    return escape(t(lang, "estimate.unknown"))


def _offer(lang: str, one: Candidate) -> str:
    """The cheapest, with whose it is and of when."""
    rent = one.cost.cheapest
    if rent is None:
        return escape(t(lang, "estimate.unknown"))
    offer = rent.offer
    several = f"{offer.gpu_count} × " if offer.gpu_count > 1 else ""
    provider = offer.provider if offer.source_url else t(lang, "estimate.cards_own_price")
    price = escape(t(lang, "estimate.cards_an_hour", usd=f"{offer.usd_per_hour:,.2f}"))
    return price + _small(escape(several + provider)) + _small(_link(offer.source_url, offer.as_of_date))


def _buy(lang: str, one: Candidate) -> str:
    """The price, of which year, and after how long it has cost as much as renting."""
    cost = one.cost
    if cost.purchase_usd is None:
        return escape(t(lang, "estimate.unknown"))
    known, dated = gpus().get(one.gpu.name), escape(t(lang, "estimate.cards_own_price"))
    if known and known.launch_msrp_usd == one.gpu.launch_msrp_usd:
        year, url = _launched()[known.name]
        dated = _link(
            url, t(lang, "estimate.cards_market" if cost.purchase_is_estimate else "estimate.cards_launch", year=year)
        )
    even = ""
    if cost.break_even_hours is not None:
        even = t(lang, "estimate.cards_even", hours=f"{cost.break_even_hours:,.0f}")
    if cost.break_even_months is not None:
        even += f" ({cost.break_even_months:,.1f}\u00a0{t(lang, 'estimate.months')})"
    about = "~" if cost.purchase_is_estimate else ""
    price = t(lang, "estimate.cards_usd", usd=f"{cost.purchase_usd:,.0f}")
    return f"{about}{escape(price)}{_small(dated)}{_small(escape(even))}"


def _speed(lang: str, one: Candidate) -> str:
    return _span(one.throughput.tokens_per_second, 0) or escape(t(lang, "estimate.unknown"))


@functools.cache
def _launched() -> dict[str, tuple[str, str]]:
    """(year of launch, first source) of every card."""
    return {row["name"]: (row["year"], row["source_urls"].partition(";")[0]) for row in rows("gpus.csv")}


def _small(text: str) -> str:
    return f"<small>{text}</small>" if text else ""


def _link(url: str, text: str) -> str:
    return (
        f'<a href="{escape(url)}" rel="noreferrer" target="_blank">{escape(text)}</a>' if url and text else escape(text)
    )


def _span(value: Range | None, digits: int) -> str:
    if value is None:
        return ""
    low, high = f"{value.low:,.{digits}f}", f"{value.high:,.{digits}f}"
    return low if low == high else f"{low}\u00a0–\u00a0{high}"
