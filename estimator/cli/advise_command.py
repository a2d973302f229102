"""`lora-studio advise [RECIPE] --gpu NAME`: what to change, and the largest that fits. Exit codes: 0 fits, 2 bad input,
3 does not fit as it is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from estimator.advice.advise import Advice, Proposal, advise
from estimator.advice.proposals import Room
from estimator.cli.cli import (
    DOES_NOT_FIT,
    FITS,
    add_batches,
    add_machine,
    asked,
    batches_of,
    conditions_of,
    machine_of,
    one_line,
    recipe_parser,
    run_command,
)
from estimator.cli.models_command import suiting, suiting_lines
from estimator.cli.words import afterwards, cards_of, fits_word, padded, word
from estimator.core.problems import Problem, say
from estimator.core.units import human_bytes
from estimator.estimates.take_away import query
from estimator.recipe.recipe import FIELDS, Recipe


def build_parser() -> argparse.ArgumentParser:
    parser = recipe_parser(
        "advise",
        "What to change so that a recipe fits a card, and the largest that fits. RECIPE is a TOML, YAML or JSON file; "
        "flags go before it.",
    )
    add_batches(parser)
    add_machine(parser)
    parser.add_argument("file", nargs="?", metavar="RECIPE", help="the same as --recipe")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("advise", build_parser(), _run, argv)


def _run(options: dict[str, Any]) -> int:
    if options["file"] is not None and options["recipe"] is not None:
        raise Problem(
            "recipe.conflict", field="recipe", value=options["recipe"], other=options["file"], allowed="Give one file"
        )
    options["recipe"] = options["recipe"] or options["file"]
    if options["model"] is options["recipe"] is options["config"] is None and options["gpu"]:
        return _models_for(options)
    with asked(options) as (recipe, model, gpu, loop):
        if not gpu:
            raise Problem("recipe.missing", field="gpu", allowed="the name of an accelerator, such as 'RTX 4090'")
        where = machine_of(options | {"gpu": gpu})
        advice = advise(recipe, gpu, model=model, loop=loop, **where, **batches_of(options))
    if options["json"]:
        print(json.dumps(advice.to_dict(), indent=2, ensure_ascii=False))
        return FITS if advice.estimate.fits else DOES_NOT_FIT
    print(table(recipe, advice))
    if not options["config"]:
        print(one_line("  " + say("cli.link", query=query(recipe, gpu, conditions_of(where, options)))))
    return FITS if advice.estimate.fits else DOES_NOT_FIT


def _models_for(options: dict[str, Any]) -> int:
    """Without a model: which of the newest suit the card."""
    made = suiting(options["gpu"], **machine_of(options))
    if options["json"]:
        raise Problem("recipe.missing", field="model", allowed=FIELDS["model"].allowed)
    print("\n".join(map(one_line, [say("cli.no_model", gpu=options["gpu"]), *suiting_lines(made)])))
    return FITS if made else DOES_NOT_FIT


def table(recipe: Recipe, advice: Advice) -> str:
    """The advice for a reader."""
    return "\n".join(map(one_line, _lines(recipe, advice)))


def _lines(recipe: Recipe, advice: Advice) -> Iterator[str]:
    made = advice.estimate
    room = human_bytes(abs(made.headroom_bytes))
    verdict = say("cli.left" if made.fits else "cli.over", verdict=fits_word(made), room=room)
    said = {"model": recipe.model, "method": recipe.method, "cards": cards_of(made)}
    head = say("cli.advice_head", verdict=verdict, size=human_bytes(made.device_bytes), **said)
    yield say("cli.semicolon").join(filter(None, (head, afterwards(made))))
    if advice.cheapest:
        yield "  " + say("cli.mildest" if len(advice.cheapest.changes) == 1 else "cli.mildest_all")
        yield from _proposal(advice.cheapest)
        yield f"      {advice.cheapest.kept}"
    elif not made.fits:
        yield "  " + say("cli.nothing_fits_several" if made.parallel else "cli.nothing_fits")
    if advice.surest:
        yield "  " + say("cli.surest" if len(advice.surest.changes) == 1 else "cli.surest_all")
        yield from _proposal(advice.surest)
        yield f"      {advice.surest.kept}"
    enough = [proposal for proposal in advice.singles if proposal.estimate.fits]
    for code, proposals in (("singles", enough), ("singles_short", [p for p in advice.singles if p not in enough])):
        if proposals:
            yield "  " + say(f"cli.{code}")
        for proposal in proposals:
            yield from _proposal(proposal)
    yield "  " + say("cli.largest_is")
    for name, value in advice.largest.values.items():
        yield f"    {name:<28} {_largest(value, advice.largest.room.get(name))}"
    yield f"  {say('cli.note', note=advice.largest.note)}"
    yield from (f"  {say('cli.note', note=note)}" for note in made.warnings if note.field in ("model", "gpu"))


def _largest(value: Any, room: Room | None) -> str:
    if value is None:
        return say("cli.not_even")
    said = f"{value:,}" if isinstance(value, int) else value
    if not room:
        return said
    sizes = {"size": room.device_bytes, "high": room.high_bytes, "edge": room.edge_bytes}
    return f"{said:<12}  " + say("cli.takes", **{name: human_bytes(size) for name, size in sizes.items()})


def _proposal(proposal: Proposal) -> Iterator[str]:
    fits = padded(fits_word(proposal.estimate), 14)
    saves = say("cli.saves", size=f"{human_bytes(proposal.saved_bytes):>10}")
    cost, ratio = word(proposal.cost), proposal.time_ratio
    costs = say("cli.costs_time", cost=cost, ratio=f"{ratio:.2f}") if ratio else say("cli.costs", cost=cost)
    yield f"    {saves}  {fits}  {costs}"
    for change in proposal.changes:
        yield f"      {change.note}"


if __name__ == "__main__":
    raise SystemExit(main())
