"""What a run costs on a rented card, what the card costs to buy, and when buying pays. Dated prices from `presets/`. No
torch.

Unknown stays None: a card nobody rents out has no offers, one without a launch price no purchase, and no price of
electricity is assumed. A card that one owns costs its electricity alone. Several cards of a provider who rents by the
card (`presets/rented_by_the_card.csv`) cost as many times the price of one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from estimator.core.problems import Problem
from estimator.cost.throughput import Range
from estimator.hardware.cards import Gpu
from estimator.model.catalog import rows

ESTIMATED_PRICE = "price is a market estimate"
"""How `presets/gpus.csv` marks a price that is no list price."""
NOT_FOR_TRAINING = "not for training runs", "short function calls only"
"""How `presets/cloud_prices.csv` marks what cannot hold a run."""
WATTS_PER_KILOWATT = 1000


@dataclass(frozen=True)
class Offer:
    """A dated price of renting an instance, on demand and, where known, interruptible; USD an hour for the whole of
    it."""

    provider: str
    instance_or_flavor: str
    gpu: str
    gpu_count: int
    usd_per_hour: float | None
    spot_usd_per_hour: float | None
    as_of_date: str
    source_url: str
    region: str
    notes: str
    by_the_card: bool = False
    """Whether the price is that of one card, as many times as cards are taken."""


@functools.cache
def offers() -> dict[str, tuple[Offer, ...]]:
    """All rows of `presets/cloud_prices.csv` by card, in the file's order."""
    made: dict[str, list[Offer]] = {}
    for row in rows("cloud_prices.csv"):
        prices: dict[str, Any] = {
            name: float(row[name]) if row[name] else None for name in ("usd_per_hour", "spot_usd_per_hour")
        }
        made.setdefault(row["gpu"], []).append(Offer(**{**row, **prices, "gpu_count": int(row["gpu_count"])}))
    return {gpu: tuple(rows) for gpu, rows in made.items()}


@functools.cache
def _by_the_card() -> dict[str, int]:
    """Most cards in one machine, by provider, of those who rent by the card."""
    return {row["provider"]: int(row["most_cards"]) for row in rows("rented_by_the_card.csv")}


@dataclass(frozen=True)
class Rent:
    """One offer for a run: USD for the whole instance, of which `used_gpus` work; `usd_per_month` at the hours a month
    given."""

    offer: Offer
    used_gpus: int
    usd: Range | None
    usd_per_million_tokens: float | None
    usd_per_month: float | None

    @property
    def usd_per_used_gpu_hour(self) -> float:
        return self.offer.usd_per_hour / self.used_gpus

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self.offer), "used_gpus": self.used_gpus, "usd": vars(self.usd) if self.usd else None,
                "usd_per_million_tokens": self.usd_per_million_tokens, "usd_per_month": self.usd_per_month}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What a run costs on one kind of card. `rents` are cheapest first; `break_even_hours` of use is where the purchase
    has cost as much as the cheapest offer (electricity counted where its price was given), `break_even_months` at the
    hours a month given.

    `electricity` is that of one's own boards at full power, where its price was given. `way` is the plain answer
    (WAYS): what is owned already, else what costs least for this run; `answer` says it in sentences, by the `hours` of
    the run and the `kwh` of the boards.
    """

    rents: tuple[Rent, ...]
    purchase_usd: float | None
    purchase_is_estimate: bool
    electricity: Range | None
    break_even_hours: float | None
    break_even_months: float | None
    why: tuple[Problem, ...]
    way: str | None = None
    hours: Range | None = None
    kwh: Range | None = None
    usd_per_kwh: float | None = None

    @functools.cached_property
    def answer(self) -> tuple[Problem, ...]:
        return plain_answer(self)

    @property
    def cheapest(self) -> Rent | None:
        return self.rents[0] if self.rents else None

    @property
    def electricity_usd(self) -> float | None:
        """At the most."""
        return self.electricity.high if self.electricity else None

    @property
    def run_usd(self) -> Range | None:
        """What the run costs: on one's own card its electricity, else the rent of the cheapest offer; None where that
        is unknown."""
        if self.way == "own":
            return self.electricity
        return self.cheapest.usd if self.cheapest else None

    def to_dict(self) -> dict[str, Any]:
        said = {
            name: [note.to_dict() | {"text": str(note)} for note in getattr(self, name)] for name in ("why", "answer")
        }
        known = {"electricity": self.electricity, "run_usd": self.run_usd}
        ranges = {name: vars(value) if value else None for name, value in known.items()}
        beside = ("rents", "hours", "kwh", *said, *ranges)  # hours and energy are the throughput's
        data = {name: value for name, value in vars(self).items() if name not in beside}
        rents = [rent.to_dict() for rent in self.rents]
        return {"rents": rents, **data, "electricity_usd": self.electricity_usd, **ranges, **said}


def cost(
    gpu: Gpu,
    devices: int = 1,
    *,
    hours: Range | None = None,
    tokens_per_second: Range | None = None,
    hours_per_month: float | None = None,
    usd_per_kwh: float | None = None,
    own: Sequence[Offer] = (),
    owned: bool = False,
) -> Cost:
    """What `hours` of `devices` such cards cost. `hours` and `tokens_per_second` are the throughput's; prices on
    demand, and of the user's `own`. `owned` says that the user has these cards."""
    rents = sorted(
        (
            _rent(offer, devices, hours, tokens_per_second, hours_per_month)
            for offer in (*own, *_usable(gpu.name, devices))
        ),
        key=lambda rent: rent.offer.usd_per_hour,
    )
    notes = [Problem("money.left_out") if rents else Problem("money.no_offer", field="gpu", value=gpu.name)]
    if rents and rents[0].offer.as_of_date:  # one's own price is of no list
        notes.insert(0, Problem("money.as_of", date=rents[0].offer.as_of_date))
    if rents and rents[0].offer.by_the_card:
        notes.append(Problem("money.by_the_card", field="gpu", value=rents[0].offer.provider, count=devices))
    purchase = gpu.launch_msrp_usd * devices if gpu.launch_msrp_usd else None
    estimated = ESTIMATED_PRICE in gpu.notes
    if purchase is None:
        notes.append(Problem("money.no_purchase", field="gpu", value=gpu.name))
    else:
        notes.append(Problem("money.market" if estimated else "money.launch"))
    power = gpu.tdp_w * devices / WATTS_PER_KILOWATT * usd_per_kwh if gpu.tdp_w and usd_per_kwh is not None else None
    if usd_per_kwh is None:
        notes.append(Problem("money.no_electricity"))
    even = _break_even(purchase, rents, power or 0.0)
    return Cost(
        rents=tuple(rents),
        purchase_usd=purchase,
        purchase_is_estimate=estimated,
        electricity=hours.scaled(power) if power is not None and hours else None,
        break_even_hours=even,
        break_even_months=even / hours_per_month if even is not None and hours_per_month else None,
        why=tuple(notes),
        way=_way(rents, purchase, even, hours, owned),
        hours=hours,
        kwh=hours.scaled(gpu.tdp_w * devices / WATTS_PER_KILOWATT) if hours and gpu.tdp_w else None,
        usd_per_kwh=usd_per_kwh,
    )


WAYS = ("own", "buy", "rent")
"""How one comes to a card: it is there already and costs its electricity; bought; rented by the hour."""


def _way(
    rents: Sequence[Rent], purchase: float | None, even: float | None, hours: Range | None, owned: bool
) -> str | None:
    """What costs least for this run; without one renting, which binds nobody. None where no price is known."""
    if owned:
        return "own"
    if not rents:
        return "buy" if purchase is not None else None
    return "buy" if even is not None and hours is not None and hours.central >= even else "rent"


def plain_answer(made: Cost) -> tuple[Problem, ...]:
    """Own, buy or rent: what the run costs that way, and when buying pays."""
    if made.way is None:
        return (Problem("answer.unknown"),)
    if made.way == "own":
        return (_of_ones_own(made),)
    price = {"usd": f"{made.purchase_usd:,.0f}"} if made.purchase_usd is not None else {}
    if not made.rents:
        return (Problem("answer.buy_only", **price),)
    said, hours = _rented(made), made.hours
    if not price:
        return (said,)
    if made.break_even_hours is None:
        return said, Problem("answer.never", **price)
    even = {"hours": f"{made.break_even_hours:,.0f}", **price}
    if made.way == "buy":
        return Problem("answer.buy", run=f"{hours.central:,.0f}", **even), said
    if made.break_even_months is not None:
        return said, Problem("answer.even_months", months=f"{made.break_even_months:,.1f}", **even)
    if hours is None:
        return said, Problem("answer.even", **even)
    return said, Problem("answer.even_runs", runs=f"{made.break_even_hours / hours.central:,.0f}", **even)


def _of_ones_own(made: Cost) -> Problem:
    kwh, usd = made.kwh, made.electricity
    if kwh is None:
        missing = "power" if made.hours else "run" if made.usd_per_kwh is not None else "price"
        return Problem(f"answer.own_no_{missing}")
    energy = {"kwh": figure(kwh.central), "low_kwh": figure(kwh.low), "high_kwh": figure(kwh.high)}
    if usd is None:
        return Problem("answer.own_unpriced", **energy)
    return Problem("answer.own", price=f"{made.usd_per_kwh:g}", **energy, **_usd(usd))


def _rented(made: Cost) -> Problem:
    rent = made.cheapest
    offer = rent.offer
    words = {"price": f"{offer.usd_per_hour:,.2f}", "provider": offer.provider, "date": offer.as_of_date or "-"}
    if rent.usd is None:
        return Problem("answer.rent_no_run", **words)
    return Problem("answer.rent", hours=figure(made.hours.central), **words, **_usd(rent.usd))


def _usd(value: Range) -> dict[str, str]:
    return {"usd": f"{value.central:,.2f}", "low": f"{value.low:,.2f}", "high": f"{value.high:,.2f}"}


def figure(value: float) -> str:
    """Hours or kWh as a sentence says them: two digits after the point below ten, one up to a thousand."""
    return f"{value:,.{2 if value < 10 else 1 if value < 1000 else 0}f}"


@functools.lru_cache(maxsize=1024)
def _usable(name: str, devices: int) -> Sequence[Offer]:
    """Offers of a card with a price on demand, enough cards, or as many as one asks for, which can hold a run."""
    found = (offer for offer in offers().get(name, ()) if offer.usd_per_hour is not None)
    usable = [offer for offer in found if not any(words in offer.notes for words in NOT_FOR_TRAINING)]
    return tuple(made for offer in usable if (made := _for_devices(offer, devices)))


def _for_devices(offer: Offer, devices: int) -> Offer | None:
    """The offer where it has enough cards; of one card, by a provider who rents by the card, as many times its
    price."""
    if offer.gpu_count >= devices:
        return offer
    if offer.gpu_count > 1 or devices > _by_the_card().get(offer.provider, 0):
        return None
    return replace(
        offer, gpu_count=devices, usd_per_hour=devices * offer.usd_per_hour, spot_usd_per_hour=None, by_the_card=True
    )


def _rent(offer: Offer, devices: int, hours: Range | None, speed: Range | None, hours_per_month: float | None) -> Rent:
    return Rent(
        offer,
        devices,
        hours.scaled(offer.usd_per_hour) if hours else None,
        offer.usd_per_hour / (3600 * speed.central) * 1e6 if speed else None,
        offer.usd_per_hour * hours_per_month if hours_per_month else None,
    )


def _break_even(purchase: float | None, rents: Sequence[Rent], power_usd_per_hour: float) -> float | None:
    """Hours of use; None where a price is unknown, or where renting costs no more than the electricity of one's own.

    hours = purchase / (rent an hour - electricity an hour), USD
    """
    if purchase is None or not rents:
        return None
    saved = rents[0].offer.usd_per_hour - power_usd_per_hour
    return purchase / saved if saved > 0 else None
