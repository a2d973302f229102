"""`lora-studio dataset advise FILE...|ID`: what the rows of files, or of a stored dataset, ask of a run on a base."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from estimator.core.problems import Problem
from estimator.model.catalog import Model
from estimator.recipe.recipe import Recipe
from studio.datasets.ingest import ingest, run
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.datasets.words import problem_text
from studio.i18n import LANGUAGES, t
from studio.models.bases import open_tokenizer
from studio.models.find import EMBEDDED_ID, STARTS, base_name, find_model
from studio.outlook.advice_words import advice_text
from studio.outlook.advisor import Advice, advise, known_of
from studio.rendering import preview
from studio.rendering.rendering import load_tokenizer
from studio.space import Space

EVAL_SHARE = 0.1
"""Held out of files that are read here, as on the page."""


def main(argv: list[str]) -> int:
    """Exit status: 0, or 2 where rows or base cannot be read."""
    options = parser().parse_args(argv[1:])
    try:
        info, advice = _advised(options)
    except Problem as problem:
        print(f"lora-studio: {problem_text(options.lang, problem, here=True)}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"dataset": info.name, **advice.to_dict()}, ensure_ascii=False, indent=2))
    else:
        print(t(options.lang, "advisor.help", model=advice.recipe.model, rows=f"{info.train_rows:,}"))
        print(advice_text(options.lang, advice))
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lora-studio dataset advise",
        description="Propose rank, learning rate, epochs, length and packing from the rows, and say why.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE|ID", help="files that are one dataset, or a stored dataset")
    parser.add_argument(
        "--model", default=EMBEDDED_ID, help="the base: its tokenizer and template read the rows (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the sentences (default en)")
    parser.add_argument("--data-dir", type=Path, help="where datasets are kept (default: as the page's)")
    return parser


def _advised(options: argparse.Namespace) -> tuple[DatasetInfo, Advice]:
    space = (Space(options.data_dir) if options.data_dir else Space.default()).prepare()
    stored = DatasetStore(space.datasets, space.trash)
    if len(options.files) == 1 and not Path(options.files[0]).exists():
        info = stored.get(options.files[0])
        return info, advised(space, info, options.model)
    with tempfile.TemporaryDirectory(prefix="lora-studio-") as folder:
        files = [(Path(file), Path(file).name) for file in options.files]
        info = run(ingest(DatasetStore(Path(folder) / "datasets"), files, eval_share=EVAL_SHARE))
        return info, advised(space, info, options.model)


def advised(space: Space, info: DatasetInfo, name: str) -> Advice:
    """The rows read with the tokenizer of a base. Raises `Problem`."""
    begun = Recipe.from_dict({**STARTS.get(name, {}), "model": base_name(space, name, folders=True)})
    model = _known(space, begun.model)
    tokenizer = load_tokenizer(open_tokenizer(space, begun.model), begun.model)
    measured = preview.measure(info, tokenizer, begun)
    return advise(begun, model, known_of(preview.view(info, tokenizer, begun, measured, 0, 0)["batches"]))


def _known(space: Space, name: str) -> Model | None:
    """What is known of a base without the worker that looks into folders; None where that is nothing."""
    try:
        return find_model(space, name, None, False)
    except Problem:
        return None
