"""What commands ask of a run's time and money: flags of `Costing`, or the same keys of a recipe file; and how the
answer is told."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any

from estimator.advice.ranking import Candidate
from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.cost.throughput import Range
from estimator.recipe.costing import COSTING, Costing
from estimator.recipe.recipe_file import read_recipe

HELP = {
    "rows": ("N", "rows of the dataset, all of --tokens-per-row"),
    "tokens_per_row": ("T", "tokens a row (default: max_length)"),
    "devices": ("N", "cards, 1 to 8, by the recipe's distributed_type, else the first way that fits (default: the "
    "recipe's, or as many as it takes)"),
    "usd_per_kwh": ("USD", "price of your electricity; without it none is counted"),
    "hours_per_month": ("H", "hours of use a month, for the cost of a month and the months until buying pays"),
    "owned": ("CARD", "cards that you own, such as 'RTX 3060' or '2 x RTX 4090': they cost their electricity alone"),
    "compare": ("CARD", "up to three cards side by side, such as 'RTX 5090' '2 x RTX 4090' 'H100 SXM5'"),
}  # fmt: skip
assert set(HELP) == set(COSTING)
LISTS = ("owned", "compare")
UNKNOWN = "unknown"


def add_costing(parser: argparse.ArgumentParser, *left_out: str) -> None:
    """A flag for each field of `Costing`."""
    for name, (metavar, words) in HELP.items():
        if name not in left_out:
            many = {"nargs": "+"} if name in LISTS else {}
            parser.add_argument("--" + name.replace("_", "-"), dest=name, metavar=metavar, help=words, **many)


def costing_of(options: dict[str, Any]) -> Costing:
    """What the flags say, before what the recipe's file does. Raises `Problem` naming the field."""
    stated = read_recipe(options["recipe"]) if options.get("recipe") is not None else {}
    given = {name: _value(name, options[name]) for name in COSTING if options.get(name) is not None}
    return Costing(**{name: stated[name] for name in COSTING if name in stated} | given)


def _value(name: str, given: Any) -> Any:
    if name in LISTS:
        return tuple(given)
    return number(name, given) if float in COSTING[name].kinds else whole(name, given)


def number(name: str, text: str | None) -> float | None:
    """A figure above 0 (electricity may be free). Raises `Problem`."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise Problem("recipe.type", field=name, value=text[:40], allowed="a number") from None
    if not math.isfinite(value) or value < 0 or (value == 0 and name != "usd_per_kwh"):
        raise Problem("recipe.range", field=name, value=text[:40], allowed="above 0")
    return value


def whole(name: str, text: str) -> int:
    try:
        return int(text.replace("_", "").replace(",", ""))
    except ValueError:
        raise Problem("recipe.type", field=name, value=text[:40], allowed="a whole number") from None


def run_lines(one: Candidate) -> Iterator[str]:
    """Time and money of a run on one card, or on several, for a reader."""
    speed, several = one.throughput, f"{one.count} x " if one.count > 1 else ""
    yield f"  the run on {several}{one.gpu.name}" + ("" if one.runs.fits else ", which does not fit")
    if one.strategy:
        room = "" if one.runs.headroom_bytes is None else f", headroom {human_bytes(one.runs.headroom_bytes)}"
        yield f"  {'each card':<18} {human_bytes(one.runs.device_bytes):>16}{room}"
    yield f"  {'hours':<18} {spelled_range(speed.hours, 2)}"
    yield f"  {'energy, kWh':<18} {spelled_range(speed.energy_kwh, 2)}"
    yield f"  {'cost, USD':<18} {spelled_range(one.cost.run_usd, 2)}"
    yield from (f"  {said}" for said in one.answer)
    notes = [one.strategy, *speed.why, speed.place, *one.cost.why]
    yield from (f"  note: {note}" for note in notes if note)


def spelled_range(value: Range | None, digits: int) -> str:
    """Likely, and from where to where."""
    if value is None:
        return f"{UNKNOWN:>16}"
    return f"{value.central:>16,.{digits}f}  ({value.low:,.{digits}f} to {value.high:,.{digits}f})"
