"""`lora-studio gpus --for RECIPE`: every card for one recipe, ranked. Exit codes: 0, 2 bad input, 3 no card fits (or
none within the budget)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from estimator.advice.priced import compared, dataset
from estimator.advice.priced import ranked as priced_all
from estimator.advice.rank_table import Filter, to_csv, vendors
from estimator.advice.ranking import RANKED_COUNTS, SORTS, Candidate, rent_usd
from estimator.cli.cli import DOES_NOT_FIT, FITS, add_machine, asked, machine_of, one_line, recipe_parser, run_command
from estimator.cli.costing_flags import (
    add_costing,
    add_own_cards,
    beside_lines,
    costing_of,
    noted,
    number,
    own_cards_of,
    own_in_query,
    short_range,
)
from estimator.cli.words import padded, row, word
from estimator.core.problems import Problem, say
from estimator.core.units import human_bytes
from estimator.cost.rows import Epoch, epoch, packed, read_lengths
from estimator.cost.throughput import Range
from estimator.estimates.conditions import Conditions
from estimator.estimates.take_away import query
from estimator.hardware import card_text
from estimator.hardware.cards import read_as
from estimator.recipe.batches import Batches
from estimator.recipe.costing import Costing
from estimator.recipe.recipe import Recipe
from estimator.recipe.recipe_file import read_recipe

SHOWN = 15
ABOUT_ALL = ("gpu.spills", "model.read_as", "model.same_structure", "model.stored_by_name")
"""Warnings of an estimate that are printed below the cards."""


def build_parser() -> argparse.ArgumentParser:
    parser = recipe_parser(
        "gpus",
        "Every accelerator for one recipe: does it fit, how fast is it, what does it cost.",
        recipe_flags=("--for",),
    )
    add_machine(parser)
    add_costing(parser)
    add_own_cards(parser)
    parser.add_argument("--lengths", metavar="FILE", help="tokens of each row instead, one number a line")
    parser.add_argument(
        "--budget",
        metavar="USD",
        help="leave out what costs more: the run on the cheapest offer, or with --buy the card",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--rent", action="store_true", help="only cards that somebody rents out")
    way.add_argument("--buy", action="store_true", help="only cards whose price is known; the budget is for the card")
    order = "fits (default: sure before close, then cost), cost, hours, memory (smallest first)"
    parser.add_argument("--sort", choices=SORTS, default="fits", help=order)
    parser.add_argument("--search", metavar="WORDS", help="only cards with these words in their name")
    parser.add_argument("--vendor", metavar="NAME", help=f"only cards of one maker: {', '.join(vendors())}")
    parser.add_argument("--least-gib", metavar="GIB", help="only cards with at least this memory")
    parser.add_argument(
        "--most-usd-per-hour", metavar="USD", help="only cards that somebody rents out for at most this"
    )
    parser.add_argument("--only-owned", action="store_true", help="only cards of --owned")
    parser.add_argument("--all", action="store_true", help=f"print every card, not the first {SHOWN} that fit")
    parser.add_argument("--csv", action="store_true", help="print what is shown as CSV")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("gpus", build_parser(), _run, argv)


def _run(options: dict[str, Any]) -> int:
    budget = number("budget", options["budget"])
    wanted = Filter(
        search=options["search"] or "",
        vendors=(options["vendor"],) if options["vendor"] else (),
        least_gib=number("least_gib", options["least_gib"]),
        most_usd_per_hour=number("most_usd_per_hour", options["most_usd_per_hour"]),
        way="owned" if options["only_owned"] else "rent" if options["rent"] else "buy" if options["buy"] else "any",
    )
    with asked(options) as (recipe, model, gpu, loop):
        given_machine = machine_of(options | {"gpu": "any"})
        conditions = Conditions(
            system=given_machine["system"], mig=given_machine["mig"], gpu_memory=given_machine["memory_gib"]
        )
        costing = costing_of(options)
        if gpu and options["gpu"]:  # one card is a comparison of one
            if costing.compare:
                words = {"value": gpu, "other": "compare", "allowed": "Name the cards in one of them"}
                raise Problem("recipe.conflict", field="gpu", **words)
            costing = replace(costing, compare=(gpu,))
        if recipe.num_processes > 1 and not _says_how(options):  # a count alone: the way is chosen, and said
            costing = replace(costing, devices=costing.devices or recipe.num_processes)
            recipe = recipe.replace(num_processes=1)
        lengths = read_lengths(options["lengths"]) if options["lengths"] is not None else None
        data = _dataset(costing, recipe, lengths)
        batches = Batches(padded=data is not None and data.padded_tokens > data.tokens and not recipe.packing)
        own = own_cards_of(options)
        made = {"model": model, "loop": loop, "derive": True, "batches": batches, "conditions": conditions, "own": own}
        if costing.compare:
            ranked = compared(recipe, costing, data, **made)
            said = [*names_read(costing, conditions.gpu_memory, {card.gpu.name.casefold() for card in own})]
        else:
            ranked = priced_all(recipe, costing, data, sort=options["sort"], **made)
    kept = ranked if costing.compare else [one for one in ranked if wanted.takes(one)]
    kept = [one for one in kept if _affordable(one, options["buy"], budget, data is not None)]
    if options["csv"]:
        print(to_csv(kept), end="")
    elif options["json"]:
        told = {
            "recipe": recipe.to_dict(),
            **conditions.stated(),
            "costing": costing.stated(),
            "dataset": _told(data, recipe, lengths),
            "gpus": [one.to_dict() for one in kept],
        }
        print(json.dumps(told, indent=2, ensure_ascii=False))
    elif costing.compare:
        link = say("cli.link", query=query(recipe, None, conditions, costing) + own_in_query(options))
        print("\n".join(map(one_line, (*beside_lines(kept, said), *([] if options["config"] else [link])))))
    else:
        print("\n".join(map(one_line, _lines(recipe, data, lengths, kept, options))))
    return FITS if any(one.devices for one in kept) else DOES_NOT_FIT


def _says_how(options: dict[str, Any]) -> bool:
    """Whether the flags or the file name a `distributed_type`."""
    stated = read_recipe(options["recipe"]) if options["recipe"] is not None else {}
    return options["distributed_type"] is not None or "distributed_type" in stated


def _dataset(costing: Costing, recipe: Recipe, lengths: list[int] | None) -> Epoch | None:
    if lengths is None:
        return dataset(recipe, costing)
    for name in ("rows", "tokens_per_row"):
        if getattr(costing, name) is not None:
            raise Problem(
                "recipe.conflict", field=name, value=getattr(costing, name), other="lengths", allowed="Give one of them"
            )
    return epoch(lengths, recipe)


def _affordable(one: Candidate, buy: bool, budget: float | None, has_data: bool) -> bool:
    if budget is None:
        return True
    if buy:
        return one.cost.purchase_usd <= budget
    if not has_data:
        raise Problem("recipe.missing", field="rows", allowed="the dataset, for what its run costs (or --buy)")
    return rent_usd(one) <= budget


def _told(data: Epoch | None, recipe: Recipe, lengths: list[int] | None) -> dict[str, Any] | None:
    """The epoch, and beside it the same rows sorted by length and packed."""
    if data is None:
        return None
    made = {"as_trained": data}
    if lengths is not None and not recipe.packing:
        made |= {"by_length": epoch(lengths, recipe, "length"), "packed": packed(lengths, recipe)}
    names = ("rows", "dropped_rows", "tokens", "padded_tokens", "steps", "wasted")
    return {way: {name: getattr(one, name) for name in names} for way, one in made.items()}


def _lines(
    recipe: Recipe, data: Epoch | None, lengths: list[int] | None, kept: list[Candidate], options: dict[str, Any]
) -> Iterator[str]:
    size = {"batch": recipe.per_device_train_batch_size, "tokens": f"{recipe.max_length:,}"}
    yield say("cli.gpus_head", model=recipe.model, method=recipe.method, **size)
    for way, told in (_told(data, recipe, lengths) or {}).items():
        figures = {name: f"{told[name]:,}" for name in ("rows", "tokens", "steps")}
        said = say("cli.rows_told", wasted=f"{told['wasted']:.1%}", **figures)
        if told["dropped_rows"]:
            said = say("cli.rows_dropped", told=said, dropped=f"{told['dropped_rows']:,}")
        yield f"  {padded(word(way), 11)} {said}"
    fitting = [one for one in kept if one.devices]
    own = {card.gpu.name for card in own_cards_of(options)}
    shown = kept if options["all"] else [one for at, one in enumerate(fitting) if at < SHOWN or one.gpu.name in own]
    if shown and shown[0].course:
        yield f"  {shown[0].course}"
    head = ("card", "fits", "room", "tokens_s", "hours", "run_usd" if data else "usd_tokens", "offer", "to_buy")
    yield "  " + row([*map(word, head)], COLUMNS)
    for one in shown:
        yield "  " + row(_cells(one), COLUMNS)
    if not fitting:
        yield "  " + say("cli.no_card_within" if options["budget"] else "cli.no_card")
    elif not options["all"]:
        counts = ", ".join(map(str, RANKED_COUNTS))
        yield "  " + say("cli.cards_fit", fitting=len(fitting), all=len(kept), counts=counts)
    if data is None:
        yield "  " + say("cli.give_rows")
    yield from (f"  {note}" for note in noted(shown, _notes))


COLUMNS = (42, 8, -10, -15, -16, -18, 42, -12)


def _cells(one: Candidate) -> list[str]:
    """Where several cards do what one cannot, the room is that of each."""
    made, rent = one.estimate, one.cost.cheapest
    fits = (
        word("unknown")
        if made.fits is None
        else word("close" if made.is_close else "yes")
        if made.fits
        else say("cli.n_cards", count=one.devices)
        if one.devices
        else word("no")
    )
    held = one.sharded or made
    room = word("unknown") if held.headroom_bytes is None else human_bytes(held.headroom_bytes)
    usd = word("unknown")
    if rent and rent.usd_per_million_tokens is not None:
        usd = short_range(rent.usd, 2) if rent.usd else f"{rent.usd_per_million_tokens:.3f}"
    offer = word("no_offer")
    if rent:
        beside = ", ".join(filter(None, (f"{rent.offer.gpu_count}x", rent.offer.as_of_date)))  # one's own has no date
        offer = f"{rent.offer.provider} {rent.offer.usd_per_hour:g}/h ({beside})"
    if one.cost.way == "own":
        usd, offer = (short_range(one.cost.run_usd, 2) if one.cost.run_usd else usd), word("owned")
    buy = (
        word("unknown")
        if one.cost.purchase_usd is None
        else ("~" if one.cost.purchase_is_estimate else "") + f"{one.cost.purchase_usd:,.0f}"
    )
    speed, hours = _span(one.throughput.tokens_per_second, 0), short_range(one.throughput.hours, 1)
    return [one.gpu.name, fits, room, speed, hours, usd, offer, buy]


def _span(value: Range | None, digits: int) -> str:
    return f"{value.low:,.{digits}f}-{value.high:,.{digits}f}" if value else word("unknown")


def _notes(one: Candidate) -> list[Problem]:
    """What the ranges come from and what is not counted."""
    return [
        *(note for note in one.throughput.why if note.field != "gpu" or note.code == "time.slice"),
        *(note for note in one.estimate.warnings if note.code in ABOUT_ALL),
        *(note for note in one.cost.why if note.field != "gpu" and note.code != "money.as_of"),
    ]


def names_read(costing: Costing, memory_gib: float | None, own: Collection[str] = ()) -> Iterator[Problem]:
    """What has to be said of the names of cards: which of several was taken, what was mended. Those in `own` are
    one's own."""
    for field in ("compare", "owned"):
        for text in getattr(costing, field) or ():
            _, name = card_text.counted(text)
            if name.casefold() not in own and (note := read_as(name, memory_gib)):
                yield Problem(note.code, **note.params | {"field": field})


if __name__ == "__main__":
    raise SystemExit(main())
