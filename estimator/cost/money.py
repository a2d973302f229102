"""What a run costs on a rented card, what the card costs to buy, and when buying pays. Dated prices from `presets/`. No torch.

Unknown stays None: a card nobody rents out has no offers, one without a launch price no purchase, and no price of electricity is
assumed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
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
    """A dated price of renting an instance, on demand and, where known, interruptible; USD an hour for the whole of it."""

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


@functools.cache
def offers() -> dict[str, tuple[Offer, ...]]:
    """All rows of `presets/cloud_prices.csv` by card, in the file's order."""
    made: dict[str, list[Offer]] = {}
    for row in rows("cloud_prices.csv"):
        prices = {name: float(row[name]) if row[name] else None for name in ("usd_per_hour", "spot_usd_per_hour")}
        made.setdefault(row["gpu"], []).append(Offer(**{**row, **prices, "gpu_count": int(row["gpu_count"])}))
    return {gpu: tuple(rows) for gpu, rows in made.items()}


@dataclass(frozen=True)
class Rent:
    """One offer for a run: USD for the whole instance, of which `used_gpus` work; `usd_per_month` at the hours a month given."""

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
    """What a run costs on one kind of card. `rents` are cheapest first; `break_even_hours` of use is where the purchase has cost as
    much as the cheapest offer (electricity counted where its price was given), `break_even_months` at the hours a month given."""

    rents: tuple[Rent, ...]
    purchase_usd: float | None
    purchase_is_estimate: bool
    electricity_usd: float | None
    break_even_hours: float | None
    break_even_months: float | None
    why: tuple[Problem, ...]

    @property
    def cheapest(self) -> Rent | None:
        return self.rents[0] if self.rents else None

    def to_dict(self) -> dict[str, Any]:
        data = {name: value for name, value in vars(self).items() if name not in ("rents", "why")}
        said = [note.to_dict() | {"text": str(note)} for note in self.why]
        return {"rents": [rent.to_dict() for rent in self.rents], **data, "why": said}


def cost(
    gpu: Gpu,
    devices: int = 1,
    *,
    hours: Range | None = None,
    tokens_per_second: Range | None = None,
    hours_per_month: float | None = None,
    usd_per_kwh: float | None = None,
    own: Sequence[Offer] = (),
) -> Cost:
    """What `hours` of `devices` such cards cost. `hours` and `tokens_per_second` are the throughput's; prices on demand, and of the
    user's `own`."""
    rents = sorted(
        (_rent(offer, devices, hours, tokens_per_second, hours_per_month) for offer in (*own, *_usable(gpu, devices))),
        key=lambda rent: rent.offer.usd_per_hour,
    )
    notes = (
        [Problem("money.as_of", date=rents[0].offer.as_of_date)]
        if rents
        else [Problem("money.no_offer", field="gpu", value=gpu.name)]
    )
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
        electricity_usd=power * hours.high if power is not None and hours else None,
        break_even_hours=even,
        break_even_months=even / hours_per_month if even is not None and hours_per_month else None,
        why=tuple(notes),
    )


def _usable(gpu: Gpu, devices: int) -> Sequence[Offer]:
    """Offers with a price on demand and enough cards, which can hold a run."""
    found = (
        offer for offer in offers().get(gpu.name, ()) if offer.usd_per_hour is not None and offer.gpu_count >= devices
    )
    return [offer for offer in found if not any(words in offer.notes for words in NOT_FOR_TRAINING)]


def _rent(offer: Offer, devices: int, hours: Range | None, speed: Range | None, hours_per_month: float | None) -> Rent:
    return Rent(
        offer,
        devices,
        hours.scaled(offer.usd_per_hour) if hours else None,
        offer.usd_per_hour / (3600 * speed.central) * 1e6 if speed else None,
        offer.usd_per_hour * hours_per_month if hours_per_month else None,
    )


def _break_even(purchase: float | None, rents: Sequence[Rent], power_usd_per_hour: float) -> float | None:
    """Hours of use; None where a price is unknown, or where renting costs no more than the electricity of one's own."""
    if purchase is None or not rents:
        return None
    saved = rents[0].offer.usd_per_hour - power_usd_per_hour
    return purchase / saved if saved > 0 else None
