"""`lora-studio dataset clean|card|mix`: stored datasets made into others, and told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.cleaning.card import as_markdown, card_of
from studio.datasets.cleaning.record import Choice, Option, Tokens
from studio.datasets.cleaning.run import apply
from studio.datasets.cleaning.steps import STEPS, defaults
from studio.datasets.cleaning.words import change_text
from studio.datasets.ingest import ingest, run
from studio.datasets.store import DatasetInfo, DatasetStore, as_json
from studio.datasets.versions import mix
from studio.datasets.words import problem_text
from studio.i18n import LANGUAGES, t
from studio.space import Space


def add(commands: Any) -> None:
    """The three subcommands, each with `run` among its defaults."""
    steps = ", ".join(f"{step.name} ({', '.join(step.actions)})" for step in STEPS.values())
    clean = commands.add_parser(
        "clean",
        help="a new version without what steps find, or with it mended",
        description=f"Make a new version of a stored dataset, or of files, by cleaning steps. Steps: {steps}.",
    )
    clean.add_argument("target", nargs="+", metavar="ID|FILE", help="a stored dataset, or files that make one")
    clean.add_argument(
        "--step", action="append", default=[], dest="steps", metavar="NAME[=ACTION]",
        help="run this step (may be given again; default: all but too_long, each with its first action)",
    )  # fmt: skip
    clean.add_argument(
        "--option", action="append", default=[], dest="options", metavar="NAME.OPTION=VALUE",
        help="of a step, such as near_duplicates.similarity=0.8 (may be given again)",
    )  # fmt: skip
    clean.add_argument("--model", help="the base whose tokenizer measures rows, for the step too_long")
    card = commands.add_parser(
        "card",
        help="the report card of a stored dataset",
        description="Print what a dataset is, what was done to it, what is doubtful and how much of it is trained.",
    )
    card.add_argument("target", metavar="ID", help="a stored dataset")
    mixing = commands.add_parser(
        "mix",
        help="a new dataset of several stored ones",
        description="Take the rows of several stored datasets, each row as often as its weight says.",
    )
    mixing.add_argument("target", nargs="+", metavar="ID=WEIGHT", help="0.5 takes every other row, 2 each twice")
    mixing.add_argument("--name", required=True, help="what the new dataset is called")
    mixing.add_argument("--seed", type=int, default=42, help="of the choice of rows (default 42)")
    for command, handler in ((clean, _clean), (card, _card), (mixing, _mix)):
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the sentences (default en)")
        command.add_argument("--data-dir", type=Path, help="where datasets are kept (default: as the page's)")
        command.set_defaults(run=_guarded(handler))


Handler = Callable[[argparse.Namespace, DatasetStore], tuple[dict[str, Any], str]]
"""Gives the answer as JSON and as text."""


def _guarded(handler: Handler) -> Callable[[argparse.Namespace], int]:
    """Prints what a handler answers; exit status 0, or 2 after a problem."""

    def run_it(options: argparse.Namespace) -> int:
        space = (Space(options.data_dir) if options.data_dir else Space.default()).prepare()
        try:
            told, text = handler(options, DatasetStore(space.datasets, space.trash))
        except Problem as problem:
            if options.json:
                print(json.dumps({"problem": problem.to_dict()}, ensure_ascii=False, indent=2))
            print(f"lora-studio: {problem_text(options.lang, problem, here=True)}", file=sys.stderr)
            return 2
        print(json.dumps(told, ensure_ascii=False, indent=2) if options.json else text)
        return 0

    return run_it


def _clean(options: argparse.Namespace, store: DatasetStore) -> tuple[dict[str, Any], str]:
    tokens = _tokens(options.model) if options.model else None
    choices = choices_of(options.steps, options.options, tokens is not None)
    info = _dataset(store, options.target)
    made = apply(store, info.id, choices, tokens=tokens)
    counts = {name: f"{getattr(made, name):,}" for name in ("kept", "dropped", "changed")}
    lines = [t(options.lang, "cleaning.stored_as", id=made.id, parent=info.id, **counts)]
    lines += [f"  {change_text(options.lang, one)}" for one in made.changes if one["counts"]["touched"]]
    return as_json(made), "\n".join(lines)


def _dataset(store: DatasetStore, targets: Sequence[str]) -> DatasetInfo:
    """The stored one of that id, or what the files make."""
    if len(targets) == 1 and not Path(targets[0]).exists():
        try:
            return store.get(targets[0])
        except Problem as problem:
            if problem.code != "dataset.gone":
                raise
            raise Problem("dataset.steps_unknown_file", value=targets[0][:80]) from problem
    return run(ingest(store, [(Path(one), Path(one).name) for one in targets]))


def choices_of(steps: Sequence[str], options: Sequence[str], with_tokens: bool) -> list[Choice]:
    """`NAME[=ACTION]` and `NAME.OPTION=VALUE`. Raises `Problem`: `dataset.unknown_step`, `dataset.step_*`."""
    chosen = {one.step: one.action for one in defaults(with_tokens)} if not steps else {}
    for said in steps:
        name, _, action = said.partition("=")
        chosen[name.strip()] = action.strip()
    values: dict[str, dict[str, Any]] = {}
    for said in options:
        place, is_there, value = said.partition("=")
        step, dot, option = place.strip().partition(".")
        if not (is_there and dot) or step not in STEPS:
            raise Problem("dataset.step_syntax", value=said[:80])
        chosen.setdefault(step, "")
        values.setdefault(step, {})[option] = _value(STEPS[step].options.get(option), value.strip())
    return [Choice(step, action, values.get(step, {})) for step, action in chosen.items()]


def _value(option: Option | None, said: str) -> Any:
    """A number where the option is one; what is none goes on as it is and is refused there."""
    if option is None or isinstance(option.default, str):
        return said
    try:
        return int(said) if isinstance(option.default, int) else float(said)
    except ValueError:
        return said


def _tokens(model: str) -> Tokens:
    from studio.models.bases import open_tokenizer
    from studio.rendering.lengths import RowLengths
    from studio.rendering.rendering import load_tokenizer

    return RowLengths(load_tokenizer(open_tokenizer(Space.default(), model), model), Recipe(model=model))


def _card(options: argparse.Namespace, store: DatasetStore) -> tuple[dict[str, Any], str]:
    card = card_of(store, options.target)
    return card.as_json(), as_markdown(options.lang, card).rstrip()


def _mix(options: argparse.Namespace, store: DatasetStore) -> tuple[dict[str, Any], str]:
    made = mix(store, [_part(one) for one in options.target], options.name, options.seed)
    counts = {name: f"{getattr(made, name):,}" for name in ("train_rows", "eval_rows", "test_rows")}
    return as_json(made), t(options.lang, "cleaning.mixed_as", id=made.id, **counts)


def _part(said: str) -> tuple[str, float]:
    id, is_there, weight = said.partition("=")
    try:
        return id.strip(), float(weight) if is_there else 1.0
    except ValueError as error:
        raise Problem("dataset.part_syntax", value=said[:80]) from error
