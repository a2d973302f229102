"""A card or a price of one's own beside the catalogue: what a user states is checked, and nothing else is made up. No
torch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from estimator.core.problems import Problem
from estimator.cost.money import Offer
from estimator.hardware.cards import Gpu, find_gpu

LIMITS = {
    "memory_gib": 100_000,
    "usd_per_hour": 100_000,
    "purchase_usd": 100_000_000,
    "bandwidth_gbs": 1_000_000,
    "fp16_bf16_dense_tflops": 1_000_000,
}
"""Highest values taken; all are above 0, and only the memory of a card that the catalogue does not know is needed."""
MOST_NAME = 80


@dataclass(frozen=True)
class OwnCard:
    """A card to rank with the catalogue's, in the place of the one with its name; `offer` is the user's own price of an
    hour."""

    gpu: Gpu
    offer: Offer | None

    @property
    def offers(self) -> tuple[Offer, ...]:
        return (self.offer,) if self.offer else ()


def own_card(stated: Mapping[str, Any]) -> OwnCard:
    """From `name` and any of LIMITS. A name that the catalogue knows keeps its data but for what is stated. Raises
    `Problem`."""
    name = " ".join(str(stated.get("name") or "").split())
    if not name or len(name) > MOST_NAME or not name.isprintable():
        raise Problem("recipe.missing", field="own_name", allowed=f"a name of at most {MOST_NAME} characters")
    numbers = {key: _number(key, stated[key], high) for key, high in LIMITS.items() if stated.get(key) is not None}
    known = None
    with contextlib.suppress(Problem):
        known = find_gpu(name)
    if known is None and "memory_gib" not in numbers:
        raise Problem("recipe.missing", field="own_memory_gib", allowed="the GiB that the card's programs can use")
    gpu = known or Gpu(name, "own", "own", "", "", None, None, None, "", None, "stated by the user")
    if "memory_gib" in numbers:
        gpu = replace(gpu, memory_gib=numbers["memory_gib"], memory_mib_cuda_total=int(numbers["memory_gib"] * 1024))
    if "purchase_usd" in numbers:
        gpu = replace(gpu, launch_msrp_usd=numbers["purchase_usd"], notes="price stated by the user")
    rates: dict[str, Any] = {key: numbers[key] for key in ("bandwidth_gbs", "fp16_bf16_dense_tflops") if key in numbers}
    gpu = replace(gpu, **rates)
    price = numbers.get("usd_per_hour")
    offer = (
        Offer("own price", "", gpu.name, 1, price, None, "", "", "", "stated by the user")
        if price is not None
        else None
    )
    return OwnCard(gpu, offer)


def _number(key: str, value: Any, high: float) -> float:
    good = (
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 < value <= high
    )
    if not good:
        raise Problem("recipe.range", field=f"own_{key}", value=str(value)[:40], allowed=f"above 0, at most {high:,}")
    return float(value)


def read_card(text: str) -> OwnCard:
    """Of `card_stated`. Raises `Problem`."""
    return own_card(card_stated(text))


def card_stated(text: str) -> dict[str, Any]:
    """`My card, memory_gib=24, usd_per_hour=0.4`: a name, then any of LIMITS, as `own_card` takes them. Raises
    `Problem`."""
    name, *parts = (part.strip() for part in text.split(","))
    stated: dict[str, Any] = {"name": name}
    for part in parts:
        key, _, value = (word.strip() for word in part.partition("="))
        if key not in LIMITS:
            raise Problem("recipe.choice", field="own_card", value=part[:40], allowed=", ".join(LIMITS))
        try:
            stated[key] = float(value)
        except ValueError:
            raise Problem("recipe.type", field=f"own_{key}", value=value[:40], allowed="a number") from None
    return stated


def card_text(stated: Mapping[str, Any]) -> str:
    """What `read_card` reads; a comma in the name becomes a blank."""
    numbers = [f"{key}={stated[key]:g}" for key in LIMITS if stated.get(key) is not None]
    return ", ".join([" ".join(str(stated["name"]).replace(",", " ").split()), *numbers])
