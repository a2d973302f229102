"""`lora-studio models [--search WORDS] [--gpu NAME]`: the models on board; with a card, which of them suit it.
Exit codes: 0, 2 bad input, 3 nothing found."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from estimator.advice.advise import newest_models
from estimator.cli import cli
from estimator.cli.words import fits_word, row, word
from estimator.core.problems import Problem, say
from estimator.core.units import human_bytes
from estimator.estimates.estimate import Estimate
from estimator.model.catalog import ModelPreset, models
from estimator.model.search import searched
from estimator.recipe.recipe import Recipe

COLUMNS = (52, -8, 8, -10, 24)
SUITING = (52, -8, -10, 28)
FAMILIES = 12


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="lora-studio models",
        description="The models on board, by name; with --gpu those of the newest families that it trains by QLoRA.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--search", metavar="WORDS", help="only those with these words, such as 'qwen 32b' or '千问 7b'"
    )
    parser.add_argument("--gpu", help="a card: of each of the newest families the largest that it trains")
    cli.add_machine(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    cli.add_language(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run_command("models", build_parser(), _run, argv)


def _run(options: dict[str, Any]) -> int:
    found = searched(options["search"] or "")
    if options["gpu"]:
        where = cli.machine_of(options)
        made = [one for one in suiting(options["gpu"], **where) if one.source.recipe.model in {m.id for m in found}]
        told: list[dict[str, Any]] = [
            {"id": one.source.recipe.model, "parameters": one.total_parameters, "device_bytes": one.device_bytes}
            for one in made
        ]
        lines = suiting_lines(made)
    else:
        told = [_told(preset) for preset in found]
        lines = [row([word(name) for name in ("model", "parameters", "released", "context", "license")], COLUMNS)]
        lines += [row(_cells(preset), COLUMNS) for preset in found]
    if not told:
        raise Problem("model.none_found", field="search", value=options["search"] or options["gpu"])
    print(json.dumps(told, indent=2, ensure_ascii=False) if options["json"] else "\n".join(map(cli.one_line, lines)))
    return cli.FITS


def suiting(gpu: str, **where: Any) -> list[Estimate]:
    """Of each of the newest families the largest that the card trains by the recipe's defaults. Raises `Problem`."""
    return newest_models(Recipe(model=next(iter(models()))), gpu, families=FAMILIES, **where)


def suiting_lines(made: list[Estimate]) -> list[str]:
    lines = [row([word(name) for name in ("model", "parameters", "memory_each", "fits")], SUITING)]
    for one in made:
        cells = [one.source.recipe.model, _short(one.total_parameters), human_bytes(one.device_bytes), fits_word(one)]
        lines.append(row(cells, SUITING))
    return [*lines, say("cli.suiting")]


def _told(preset: ModelPreset) -> dict[str, Any]:
    names = ("id", "family", "parameters", "context_length", "released", "license", "gated", "is_causal")
    return {name: getattr(preset, name) for name in names}


def _cells(preset: ModelPreset) -> list[str]:
    context = f"{preset.context_length:,}" if preset.context_length else "-"
    return [preset.id, _short(preset.parameters), preset.released or "-", context, preset.license]


def _short(parameters: int) -> str:
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M"


if __name__ == "__main__":
    raise SystemExit(main())
