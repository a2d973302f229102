"""What commands ask of a run's time and money: flags of `Costing`, or the same keys of a recipe file; and how the
answer is told."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from estimator.cli.words import fits_word, padded, row, word
from estimator.core.problems import Problem, say
from estimator.core.units import human_bytes
from estimator.recipe.costing import COSTING, Costing
from estimator.recipe.recipe_file import read_recipe

if TYPE_CHECKING:  # loaded once cards are ranked: it takes a while
    from estimator.advice.ranking import Candidate
    from estimator.cost.own_cards import OwnCard
    from estimator.cost.throughput import Range

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
MOST_NAMED = 3
"""Cards named behind a note; the others are counted."""


def add_costing(parser: argparse.ArgumentParser, *left_out: str) -> None:
    """A flag for each field of `Costing`."""
    for name, (metavar, words) in HELP.items():
        if name not in left_out:
            many: dict[str, Any] = {"nargs": "+"} if name in LISTS else {}
            parser.add_argument("--" + name.replace("_", "-"), dest=name, metavar=metavar, help=words, **many)


def add_own_cards(parser: argparse.ArgumentParser) -> None:
    """A flag a card of one's own, beside the catalogue's or in the place of the one with its name."""
    words = "a card or price of your own, such as 'My card, memory_gib=24, usd_per_hour=0.4'; may be given again"
    parser.add_argument("--own-card", dest="own_cards", metavar="CARD", action="append", default=[], help=words)


def own_cards_of(options: dict[str, Any]) -> list[OwnCard]:
    """Raises `Problem`."""
    from estimator.cost.own_cards import read_card  # here: few commands have one, and it loads prices

    return [read_card(text) for text in options.get("own_cards") or ()]


def own_in_query(options: dict[str, Any]) -> str:
    """What of an address brings these cards to the page; empty without any. Raises `Problem`."""
    from estimator.cost.own_cards import card_stated

    stated = [card_stated(text) for text in options.get("own_cards") or ()]
    return "&" + urlencode({"own": json.dumps(stated, ensure_ascii=False)}) if stated else ""


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
    yield "  " + say("cli.run_on" if one.runs.fits else "cli.run_on_misses", cards=_cards(one))
    if one.strategy:
        yield f"  {padded(word('each_card'), 18)} {_each(one)}"
    if one.course:
        yield f"  {one.course}"
    for name, value in _spans(one).items():
        yield f"  {padded(word(name), 18)} {spelled_range(value, 2)}"
    yield from (f"  {said}" for said in one.answer)
    notes = [one.strategy, *one.throughput.why, one.throughput.place, *one.cost.why]
    yield from (f"  {say('cli.note', note=note)}" for note in notes if note)
    if one.course is None:
        yield "  " + say("cli.give_rows")


def _cards(one: Candidate) -> str:
    return f"{one.count} x {one.gpu.name}" if one.count > 1 else one.gpu.name


def _each(one: Candidate) -> str:
    size = human_bytes(one.runs.device_bytes)
    if one.runs.headroom_bytes is None:
        return f"{size:>16}"
    return say("cli.room", size=f"{size:>16}", room=human_bytes(one.runs.headroom_bytes))


def _spans(one: Candidate) -> dict[str, Range | None]:
    return {"hours": one.throughput.hours, "energy": one.throughput.energy_kwh, "cost": one.cost.run_usd}


def beside_lines(options: Sequence[Candidate], said: Iterable[Problem]) -> Iterator[str]:
    """Up to three options side by side, a column each, then in sentences what each costs; `said` is what has to be
    said of their names."""
    yield row(["", *map(_cards, options)], (18, *[28] * len(options)))
    spans = {name: [short_range(_spans(one)[name], 2) for one in options] for name in ("hours", "energy", "cost")}
    lines = {
        "memory_each": [human_bytes(one.runs.device_bytes) for one in options],
        "fits": [fits_word(one.runs) if one.runs.fits is not None else word("unknown") for one in options],
        **spans,
        "rent_hour": [_an_hour(one) for one in options],
        "to_buy": [_price(one.cost.purchase_usd) for one in options],
    }
    for name, cells in lines.items():
        yield row([word(name), *cells], (18, *[28] * len(options)))
    yield ""
    if courses := list(dict.fromkeys(str(one.course) for one in options if one.course)):
        yield from courses if len(courses) == 1 else (f"{_cards(one)}: {one.course}" for one in options if one.course)
    yield from (f"{_cards(one)}: {' '.join(map(str, one.answer))}" for one in options)
    notes = {
        id(one): [note for note in (one.strategy, *one.throughput.why, one.throughput.place, *one.cost.why) if note]
        for one in options
    }
    yield from (say("cli.note", note=note) for note in said)
    yield from noted(options, lambda one: notes[id(one)])
    if all(one.course is None for one in options):
        yield say("cli.give_rows")


def _an_hour(one: Candidate) -> str:
    offer = one.cost.cheapest and one.cost.cheapest.offer
    return f"USD {offer.usd_per_hour:g}, {offer.provider}" if offer else word("no_offer")


def _price(usd: float | None) -> str:
    return word("unknown") if usd is None else f"{usd:,.0f}"


def noted(shown: Sequence[Candidate], notes_of: Callable[[Candidate], Iterable[Problem]]) -> Iterator[str]:
    """Each note once, with the cards it is about where it is not about all."""
    about: dict[str, dict[str, None]] = {}
    for one in shown:
        for note in notes_of(one):
            about.setdefault(str(note), {})[_cards(one)] = None
    names = len({_cards(one) for one in shown})
    for said, cards in about.items():
        listed, more = list(cards)[:MOST_NAMED], len(cards) - MOST_NAMED
        which = ", ".join(listed) + (f", +{more}" if more > 0 else "")
        yield say("cli.note", note=said if len(cards) == names else say("cli.of_cards", note=said, cards=which))


def spelled_range(value: Range | None, digits: int) -> str:
    """Likely, and from where to where."""
    if value is None:
        return padded(word("unknown"), 16, right=True)
    ends = say("cli.range", low=f"{value.low:,.{digits}f}", high=f"{value.high:,.{digits}f}")
    return f"{value.central:>16,.{digits}f}  ({ends})"


def short_range(value: Range | None, digits: int) -> str:
    """The same in a cell of a table."""
    if value is None:
        return word("unknown")
    return f"{value.central:,.{digits}f} ({value.low:,.{digits}f}-{value.high:,.{digits}f})"
