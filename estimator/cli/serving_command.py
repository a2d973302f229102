"""`lora-studio serving`: memory of a model in use. Exit codes: 0, 2 bad input, 3 does not fit with `--check`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from estimator.advice.serving import MAX_USERS, STORAGES, Serving, serving
from estimator.cli import cli
from estimator.cli.words import padded, word
from estimator.core.problems import Problem, say
from estimator.core.units import human_bytes
from estimator.recipe.recipe import DTYPES, FIELDS, SPELLED_DTYPES, SPELLED_QUANTIZATIONS


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="lora-studio serving",
        description="Memory of a model in use: weights, adapters, a cache for each user.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, help=FIELDS["model"].allowed)
    parser.add_argument("--users", default="1", metavar="N", help=f"users at once, 1 to {MAX_USERS:,}. Default: 1")
    parser.add_argument(
        "--context", default="4096", metavar="TOKENS", help="tokens of each user's conversation. Default: 4096"
    )
    parser.add_argument(
        "--quantization", default="none", help=f"how the weights are stored: {', '.join(STORAGES)}. Default: none"
    )
    parser.add_argument("--dtype", default="bfloat16", help=f"{', '.join(DTYPES)}. Default: bfloat16")
    parser.add_argument(
        "--adapters",
        default="0",
        metavar="K",
        help="LoRA adapters held beside the base, on all linear layers. Default: 0",
    )
    parser.add_argument("--r", default="16", help="their rank. Default: 16")
    parser.add_argument("--gpu", help="name or unique alias of an accelerator, such as 'RTX 4090'")
    cli.add_machine(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    cli.add_language(parser)
    parser.add_argument("--check", action="store_true", help="exit 0 where it fits the GPU, 3 where it does not")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run_command("serving", build_parser(), _run, argv)


def _run(options: dict[str, Any]) -> int:
    if options["check"] and not options["gpu"]:
        raise Problem("recipe.missing", field="gpu", allowed="the name of an accelerator, for --check")
    whole = {name: _whole_number(name, options[name]) for name in ("users", "context", "adapters", "r")}
    made = serving(
        options["model"], options["gpu"], users=whole["users"], context_tokens=whole["context"],
        adapters=whole["adapters"], r=whole["r"],
        quantization=SPELLED_QUANTIZATIONS.get(options["quantization"], options["quantization"]),
        dtype=SPELLED_DTYPES.get(options["dtype"], options["dtype"]), **cli.machine_of(options),
    )  # fmt: skip
    print(json.dumps(made.to_dict(), indent=2, ensure_ascii=False) if options["json"] else table(made))
    return cli.verdict(made) if options["check"] else cli.FITS


def _whole_number(field: str, text: str) -> int:
    digits = text.replace("_", "")
    if not digits.lstrip("-").isdigit():
        raise Problem("recipe.type", field=field, value=text[:80], allowed="a whole number")
    return int(digits)


def table(made: Serving) -> str:
    """The sizing for a reader."""
    stored = made.dtype if made.quantization == "none" else made.quantization
    asked = {"users": f"{made.users:,}", "tokens": f"{made.context_tokens:,}"}
    bar = say("cli.range", low=human_bytes(made.low_bytes), high=human_bytes(made.high_bytes))
    sizes = {**made.components, "on_the_device": made.device_bytes, "a_token": made.token_bytes}
    lines = [
        say("cli.serving_head", model=made.model, stored=stored, **asked),
        *(
            f"  {padded(word(name), 18)} {human_bytes(size):>16}" + (f"  ({bar})" if name == "on_the_device" else "")
            for name, size in sizes.items()
        ),
    ]
    if made.gpu and made.usable_bytes is not None:
        verdict = say("cli.fits" if made.fits else "cli.misses")
        edge, room = human_bytes(made.device_bytes + made.headroom_bytes), human_bytes(made.headroom_bytes)
        most = {"max_users": f"{made.max_users:,}", "max_tokens": f"{made.max_context_tokens:,}"}
        lines += [
            "",
            f"  {say('cli.verdict', cards=made.gpu, verdict=verdict, edge=edge, room=room)}",
            f"  {say('cli.serving_most', **asked, **most)}",
        ]
    return "\n".join(map(cli.one_line, lines + [f"  {say('cli.note', note=note)}" for note in made.notes]))


if __name__ == "__main__":
    raise SystemExit(main())
