"""`lora-studio advise [RECIPE] --gpu NAME`: what to change, and the largest that fits. Exit codes: 0 fits, 2 bad input,
3 does not fit as it is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from estimator.advice.advise import Advice, Proposal, advise
from estimator.cli.cli import DOES_NOT_FIT, FITS, add_machine, asked, machine_of, one_line, recipe_parser, run_command
from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.recipe.recipe import Recipe


def build_parser() -> argparse.ArgumentParser:
    parser = recipe_parser(
        "advise",
        "What to change so that a recipe fits a card, and the largest that fits. RECIPE is a TOML or JSON file; flags "
        "go before it.",
    )
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
    with asked(options) as (recipe, model, gpu, loop):
        if not gpu:
            raise Problem("recipe.missing", field="gpu", allowed="the name of an accelerator, such as 'RTX 4090'")
        advice = advise(recipe, gpu, model=model, loop=loop, **machine_of(options | {"gpu": gpu}))
    print(json.dumps(advice.to_dict(), indent=2, ensure_ascii=False) if options["json"] else table(recipe, advice))
    return FITS if advice.estimate.fits else DOES_NOT_FIT


def table(recipe: Recipe, advice: Advice) -> str:
    """The advice for a reader."""
    return "\n".join(map(one_line, _lines(recipe, advice)))


def _lines(recipe: Recipe, advice: Advice) -> Iterator[str]:
    made = advice.estimate
    room = human_bytes(abs(made.headroom_bytes))
    verdict = (f"fits, {room} left" if made.fits else f"does not fit, {room} over") + (
        ", within the error bar" if made.is_close else ""
    )
    yield f"{recipe.model}  {recipe.method} on {made.gpu}: {verdict}; takes {human_bytes(made.device_bytes)}"
    if advice.cheapest:
        yield "  the mildest that makes it fit:" + ("" if len(advice.cheapest.changes) == 1 else " all of")
        yield from _proposal(advice.cheapest)
    elif not made.fits:
        yield "  nothing known here makes it fit: take a larger card or a smaller model"
    if advice.surest:
        yield "  the mildest that makes it fit beyond doubt:" + ("" if len(advice.surest.changes) == 1 else " all of")
        yield from _proposal(advice.surest)
    yield "  single changes, mildest first:"
    for proposal in advice.singles:
        yield from _proposal(proposal)
    yield "  the largest that fits beyond doubt, with the rest as it is:"
    for name, value in advice.largest.values.items():
        room = advice.largest.room.get(name)
        said = "none" if value is None else f"{value:,}" if isinstance(value, int) else value
        takes = (
            f"  takes {human_bytes(room.device_bytes)}, at most {human_bytes(room.high_bytes)} of "
            f"{human_bytes(room.edge_bytes)}"
            if room
            else ""
        )
        yield f"    {name:<28} {said:<12}{takes}"
    yield f"  note: {advice.largest.note}"
    yield from (f"  note: {note}" for note in made.warnings if note.field == "model")


def _proposal(proposal: Proposal) -> Iterator[str]:
    made = proposal.estimate
    fits = ("fits" if made.fits else "does not fit") + (", within the error bar" if made.is_close else "")
    time = f", {proposal.time_ratio:.2f} x the time" if proposal.time_ratio else ""
    yield f"    saves {human_bytes(proposal.saved_bytes):>10}  {fits:<14}  costs: {proposal.cost}{time}"
    for change in proposal.changes:
        yield f"      {change.note}"


if __name__ == "__main__":
    raise SystemExit(main())
