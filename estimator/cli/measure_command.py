"""`lora-studio measure`: a recipe's real step on this machine's GPU, beside its estimate. Exit codes: 0 (also where
memory ran out: that is a result), 2 bad input or no GPU."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from typing import Any

from estimator.cli.cli import asked, recipe_parser, run_command
from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.estimates import calibration
from estimator.estimates.estimate import Estimate
from estimator.hardware import cards
from estimator.hardware.cards import Gpu
from estimator.measure.measure import (
    COMPARED,
    MEASURED_STEPS,
    OK,
    WARM_UP_STEPS,
    Measurement,
    check_device,
    estimates,
    measure,
    this_platform,
)
from estimator.recipe.recipe import Recipe


def table(recipe: Recipe, made: Measurement, beside: dict[str, Estimate]) -> str:
    """Measured and estimated, for a reader."""
    size = lambda value: "-" if value is None else human_bytes(value)  # noqa: E731
    percent = lambda value: "" if value is None else f"{100 * value:+.2f} %"  # noqa: E731
    quantization = f" {recipe.quantization}" if recipe.is_quantized else ""
    lines = [
        f"{recipe.model}  {recipe.method}{quantization}  loop {made.loop}  on {made.gpu or 'the CPU'}: "
        f"{made.status.replace('_', ' ')}",
        f"  {'':<18} {'measured':>14}" + "".join(f"  {engine:>14} {'error':>9}" for engine in beside),
    ]
    for name in COMPARED:
        estimated = "".join(
            f"  {size(getattr(e, name)):>14} {percent(made.error(e, name)):>9}" for e in beside.values()
        )
        lines.append(
            f"  {name.removesuffix('_bytes').replace('_', ' '):<18} {size(getattr(made, name)):>14}{estimated}"
        )
    lines.append(f"  {'context':<18} {size(made.context_bytes):>14}")
    if made.gpu is None:
        lines.append(f"  {'resident growth':<18} {size(made.resident_growth_bytes):>14}")
    if made.steps_per_second:
        lines.append(f"  {'speed':<18} {made.steps_per_second:>14.3f} steps/s, {made.tokens_per_second:,.0f} tokens/s")
    lines.append("  " + ", ".join(f"{name} {version}" for name, version in made.versions.items() if version))
    return "\n".join(lines + ([f"  {made.reason}"] if made.reason else []))


def to_dict(made: Measurement, beside: dict[str, Estimate]) -> dict[str, Any]:
    answers = {}
    for engine, answer in beside.items():
        answers[engine] = answer.to_dict() | {"error": {name: made.error(answer, name) for name in COMPARED}}
    return {"measured": vars(made), "estimated": answers}


def build_parser() -> argparse.ArgumentParser:
    parser = recipe_parser(
        "measure", "The real step of a recipe on this machine's GPU, with random weights, beside its estimate."
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=MEASURED_STEPS,
        help=f"measured steps, after {WARM_UP_STEPS} to warm up (default {MEASURED_STEPS})",
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS
    )  # cpu: the tests' own
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """`--engine trace` adds the replayed estimate to the law's; `--gpu` names the card to compare with, else torch
    does."""
    return run_command("measure", build_parser(), _run, argv)


def _run(options: dict[str, Any]) -> int:
    if options["steps"] < 1:
        raise Problem("recipe.range", field="steps", value=options["steps"], allowed="1 and more")
    check_device(options["device"])
    with asked(options) as (recipe, model, gpu, loop):
        made = measure(recipe, model, loop=loop, steps=options["steps"], device=options["device"])
        card = cards.find_gpu(gpu) if gpu else cards.known_gpu(made.gpu) if made.gpu else None
        engines = ("law", "trace") if options["engine"] == "trace" else ("law",)
        beside = estimates(recipe, model, loop, card, engines, this_platform(options["device"]))
        calibration.note(records(recipe, made, beside, card))
        print(
            json.dumps(to_dict(made, beside), indent=2, ensure_ascii=False)
            if options["json"]
            else table(recipe, made, beside)
        )
    return 0


def records(
    recipe: Recipe, made: Measurement, beside: dict[str, Estimate], card: Gpu | None
) -> list[calibration.Record]:
    """What later estimates for this card may know of the run; nothing of a run that failed or had no card."""
    if made.gpu is None or made.status != OK:
        return []
    device = card.name if card else made.gpu
    kept = functools.partial(calibration.record_of, recipe, device, loop=made.loop, versions=made.versions)
    found = [
        kept(calibration.RESERVED, e.peak_reserved_bytes, made.peak_reserved_bytes or 0, engine=e.engine)
        for e in beside.values()
    ]
    context = made.context_bytes or 0
    return [*found, kept(calibration.CONTEXT, context, context, engine="")]


if __name__ == "__main__":
    raise SystemExit(main())
