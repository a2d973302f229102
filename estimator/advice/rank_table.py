"""Ranked cards as a table: what passes a filter, a row of plain figures a card, the same for CSV, JSON and the page. No
torch."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from estimator.advice.ranking import Candidate
from estimator.cost.efficiency import efficiency_of
from estimator.cost.throughput import Range
from estimator.estimates.take_away import neutral
from estimator.hardware.cards import gpus

WAYS = ("any", "rent", "buy", "owned")


@functools.cache
def vendors() -> tuple[str, ...]:
    """Makers of the catalogue's cards, in its order."""
    return tuple(dict.fromkeys(gpu.vendor for gpu in gpus().values()))


@dataclass(frozen=True)
class Filter:
    """Which cards to show. What is left out leaves nothing out; `way` leaves those that somebody rents out, whose price
    is known, or that one owns."""

    search: str = ""
    vendors: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    least_gib: float | None = None
    most_usd_per_hour: float | None = None
    way: str = "any"

    def takes(self, one: Candidate) -> bool:
        gpu, rent, name = one.gpu, one.cost.cheapest, one.gpu.name.lower()
        return not (
            not all(word in name for word in self.search.lower().split())
            or (self.vendors and gpu.vendor.lower() not in [vendor.lower() for vendor in self.vendors])
            or (self.kinds and gpu.family not in self.kinds)
            or (self.least_gib and (gpu.memory_gib or 0) < self.least_gib)
            or (self.most_usd_per_hour and (rent is None or rent.offer.usd_per_hour > self.most_usd_per_hour))
            or (self.way == "rent" and rent is None)
            or (self.way == "buy" and one.cost.purchase_usd is None)
            or (self.way == "owned" and not one.owned)
        )


def figures(one: Candidate) -> dict[str, Any]:
    """One card as plain figures: bytes, hours, kWh and USD, each range with its likely value. None is unknown."""
    made, cost, rent = one.runs, one.cost, one.cost.cheapest
    speed = one.throughput
    return {
        "card": one.gpu.name,
        "vendor": one.gpu.vendor,
        "memory_gib": one.gpu.memory_gib,
        "cards": one.count,
        "distributed_type": one.recipe.distributed_type if one.count > 1 else None,
        "method": one.recipe.method,
        "fits": {True: "yes", False: "no", None: "unknown"}[made.fits],
        "within_error_bar": made.is_close,
        "device_bytes": made.device_bytes,
        "device_low_bytes": made.uncertainty.low_bytes,
        "device_high_bytes": made.uncertainty.high_bytes,
        "headroom_bytes": made.headroom_bytes,
        **_span("tokens_per_second", speed.tokens_per_second),
        **_span("hours", speed.hours),
        "hours_stand_on": efficiency_of(one.gpu).basis if speed.place else None,
        **_span("energy_kwh", speed.energy_kwh),
        "way": cost.way,
        "usd_per_hour": rent.offer.usd_per_hour if rent else None,
        "provider": rent.offer.provider if rent else None,
        "price_of": rent.offer.as_of_date if rent else None,
        "price_source": rent.offer.source_url if rent else None,
        **_span("run_usd", cost.run_usd),
        **_span("rent_usd", rent.usd if rent else None),
        **_span("electricity_usd", cost.electricity),
        "purchase_usd": cost.purchase_usd,
        "break_even_hours": cost.break_even_hours,
        "answer": " ".join(map(str, one.answer)),
    }


def _span(name: str, value: Range | None) -> dict[str, float | None]:
    ends = ("low", "central", "high")
    return {f"{name}_{end}" if end != "central" else name: getattr(value, end) if value else None for end in ends}


def to_csv(shown: Iterable[Candidate]) -> str:
    """A row a card, in their order; a cell that a spreadsheet would run is made text."""
    out, rows = io.StringIO(), [figures(one) for one in shown]
    if rows:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([neutral(cell) for cell in row.values()] for row in rows)
    return out.getvalue()
