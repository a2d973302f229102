"""`lora-studio dataset check|build|show FILE...`: what the Dataset page does with files, without the page; `clean`,
`card` and `mix` stand in `clean_command`."""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets import clean_command
from studio.datasets.cleaning.run import files_of, look
from studio.datasets.cleaning.steps import defaults
from studio.datasets.cleaning.words import doubts
from studio.datasets.counts import of_file
from studio.datasets.forms import TASKS, for_task
from studio.datasets.hub.bring import bring
from studio.datasets.hub.given import CHOICES, given, references
from studio.datasets.hub.reference import HUBS, Reference
from studio.datasets.ingest import EVAL_SHARE_LIMITS, ingest, run
from studio.datasets.store import IS_ID, DatasetInfo, DatasetStore
from studio.datasets.words import (
    files_text,
    left_text,
    mixed_text,
    origin_text,
    other_shapes_text,
    problem_text,
    read_text,
    reason_text,
    recognised_text,
    row_text,
    split_text,
    tasks_text,
    unused_text,
)
from studio.i18n import LANGUAGES, t
from studio.space import Space

SHOWN_DROPPED = 20
SHOWN_ROWS = 5
TOLD = (
    "read", "shape", "language", "encoding", "kept", "dropped", "changed", "reasons", "shapes", "forms", "tasks",
    "other_shapes", "columns", "unused", "fingerprint", "origin",
)  # fmt: skip
"""Fields of `DatasetInfo` in the answer as JSON."""


def main(argv: list[str]) -> int:
    """Exit status: 0; 1 where `--task` can train none of the rows; 2 where a file cannot be used (with `check` and
    `show` the others are looked at all the same)."""
    options = parser().parse_args(argv[1:])
    if options.run:
        return int(options.run(options))
    answers = [
        _answer(options, paths) for paths in ([options.files] if options.build else [[one] for one in options.files])
    ]
    if options.json:
        print(json.dumps(answers[0] if len(answers) == 1 else answers, ensure_ascii=False, indent=2))
    else:
        if said := [answer["text"] for answer in answers if "problem" not in answer]:
            print("\n\n".join(said))
        for answer in answers:
            if "problem" in answer:
                print(f"lora-studio: {answer['text']}", file=sys.stderr)
    if any("problem" in answer for answer in answers):
        return 2
    return 1 if options.task and any(not answer["trainable"] for answer in answers) else 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lora-studio dataset", description="Files of rows to train on.")
    commands = parser.add_subparsers(required=True, metavar="check|build|show|clean|card|mix")
    check = commands.add_parser(
        "check",
        help="what is read of a file, what is left out and why, what is not used",
        description="Read files as the Dataset page does, say what became of their rows and what is doubtful, "
        "and store nothing.",
    )
    build = commands.add_parser(
        "build",
        help="store files as one dataset of the studio",
        description="Read files as the Dataset page does and store them as one dataset, which the page lists too.",
    )
    show = commands.add_parser(
        "show",
        help="the rows as they would be stored",
        description="Print rows as they would be stored, one JSON object a line, and store nothing.",
    )
    for command in (check, build, show):
        _add_common(command)
        command.set_defaults(build=command is build, check=command is check, rows=0, run=None)
    show.add_argument("--rows", type=int, default=SHOWN_ROWS, metavar="N", help="how many (default %(default)s)")
    _add_splits(build)
    clean_command.add(commands)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "files", nargs="+", metavar="FILE",
        help="a file, folder or archive, or a dataset of a hub: org/name, modelscope:org/name, or its address",
    )  # fmt: skip
    command.add_argument("--hub", choices=HUBS, help="where a dataset of a hub is (default huggingface)")
    command.add_argument("--config", metavar="NAME", help="which config of a dataset of a hub")
    command.add_argument("--split", metavar="NAME", help="which of its splits; several with + between them")
    command.add_argument("--revision", metavar="NAME", help="which branch, tag or commit of it (default: its main one)")
    command.add_argument(
        "--shape", help="what the rows are, where it is not what is recognised; a wrong name lists all"
    )
    command.add_argument(
        "--column", action="append", default=[], metavar="PART=COLUMN", dest="columns",
        help="read this column as that part, such as output=reply; an empty one as no part (may be given again)",
    )  # fmt: skip
    command.add_argument(
        "--entry",
        metavar="NAME",
        help="which entry of a dataset_info.json, or of axolotl's datasets, that is given too",
    )
    command.add_argument("--task", choices=TASKS, help="exit with 1 where this task can train none of the rows")
    command.add_argument("--json", action="store_true", help="print one JSON object (a list of them for several files)")
    command.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the sentences (default en)")


def _add_splits(command: argparse.ArgumentParser) -> None:
    low, high = EVAL_SHARE_LIMITS
    command.add_argument("--name", help="what the dataset is called (default: as its files)")
    command.add_argument(
        "--eval-share", type=float, default=0.1, help=f"share of rows that validate, {low:g} to {high:g} (default 0.1)"
    )
    command.add_argument("--test-share", type=float, default=0.0, help="share of rows kept to test (default 0)")
    command.add_argument("--stratify", action="store_true", help="keep the shares of labels in each split")
    command.add_argument("--seed", type=int, default=42, help="of the splits (default 42)")
    command.add_argument("--data-dir", type=Path, help="where datasets are kept (default: as the page's)")


def _answer(options: argparse.Namespace, files: list[str]) -> dict[str, Any]:
    """A dataset's counts, reasons and unused columns, or its problem; `text` says it. What is no file but the id of a
    stored one is that."""
    if not options.build and IS_ID.fullmatch(files[0]) and not Path(files[0]).exists():
        try:
            return _told(options, DatasetStore(_space(options).datasets).get(files[0]))
        except Problem as problem:
            return {"file": files[0], "problem": problem.to_dict(), "text": problem_text(options.lang, problem, True)}
    with _store(options) as store:
        try:
            mapping = dict(map(_column, options.columns))
            how: dict[str, Any] = {"eval_share": 0}
            if options.build:
                names = ("eval_share", "test_share", "stratify", "seed", "name")
                how = {name: getattr(options, name) for name in names}
            named = references(files, {key: getattr(options, key) for key in CHOICES})
            brought = run(given(named, _space(options).cache))
            how["name"] = how.get("name") or brought.name or None
            about = {"origin": brought.origin, "left": brought.left, "entry": options.entry, "beside": True}
            about["fetch"] = functools.partial(_bring, _space(options).cache)
            info = run(ingest(store, brought.given, shape=options.shape, mapping=mapping, **about, **how))
        except Problem as problem:
            text = problem_text(options.lang, problem, here=True)
            return {"file": Path(files[0]).name, "problem": problem.to_dict(), "text": text}
        return _told(options, info)


def _told(options: argparse.Namespace, info: DatasetInfo) -> dict[str, Any]:
    told = {"file": info.file_name, **{name: getattr(info, name) for name in TOLD}, "dropped_rows": info.dropped_rows()}
    lines = [_text(options.lang, info)]
    if options.check:
        report = look(info.rows(), defaults(), files=files_of(info))
        found = [one for one in report.steps if one.touched]
        told["doubtful"] = {one.step: {"rows": one.touched, "reasons": one.reasons} for one in found}
        lines += ["  " + t(options.lang, "cleaning.doubtful", found=one) for one in doubts(options.lang, info, report)]
    if options.task:
        told["trainable"] = sum(for_task(row, options.task) is not None for row in info.rows())
        lines.append("  " + t(options.lang, "dataset.trainable", task=options.task, rows=f"{told['trainable']:,}"))
    if options.build:
        told |= {"id": info.id, "train_rows": info.train_rows, "eval_rows": info.eval_rows, "test_rows": info.test_rows}
        counts = {name: f"{told[name]:,}" for name in ("train_rows", "eval_rows", "test_rows")}
        lines.append("  " + t(options.lang, "dataset.stored_as", id=info.id, **counts))
    if options.rows:
        shown = list(islice(info.rows(), max(0, options.rows)))
        told["rows"] = shown
        lines = [json.dumps(row, ensure_ascii=False) for row in shown]
    return told | {"text": "\n".join(lines)}


@contextmanager
def _store(options: argparse.Namespace) -> Iterator[DatasetStore]:
    """The user's own to build in; else one that goes."""
    if options.build:
        space = _space(options).prepare()
        yield DatasetStore(space.datasets, space.trash)
        return
    with tempfile.TemporaryDirectory(prefix="lora-studio-") as folder:
        yield DatasetStore(Path(folder) / "datasets")


def _bring(cache: Path, reference: Reference, stop: Callable[[], None]) -> Any:
    return bring(cache, reference, None, stop)


def _space(options: argparse.Namespace) -> Space:
    return Space(options.data_dir) if getattr(options, "data_dir", None) else Space.default()


def _column(said: str) -> tuple[str, str | None]:
    part, is_there, column = said.partition("=")
    if not is_there:
        raise Problem("dataset.mapping", field="mapping", value=said[:80])
    return part.strip(), column.strip() or None


def _text(lang: str, info: DatasetInfo) -> str:
    """The page's head and its table of dropped rows, as lines."""
    joined = of_file(info).joined
    counts = " · ".join(
        f"{count:,} {t(lang, f'dataset.{key}')}"
        for key, count in (
            *((key, getattr(info, key)) for key in ("read", "kept", "dropped")),
            *([("joined", joined)] if joined else []),
            ("changed", info.changed),
        )
    )
    said = (
        split_text(lang, of_file(info)) if info.eval_rows or info.test_rows else "",
        origin_text(lang, info), tasks_text(lang, info),
        mixed_text(lang, info), other_shapes_text(lang, info), *left_text(lang, info), files_text(lang, info),
        read_text(lang, info), unused_text(lang, info),
    )  # fmt: skip
    lines = [f"{info.file_name}: {recognised_text(lang, info)}", f"  {counts}", *(f"  {line}" for line in said if line)]
    for one in info.dropped_rows(SHOWN_DROPPED):
        lines.append(
            "  " + t(lang, "dataset.first_reason", row=row_text(info, one, lang), reason=reason_text(lang, one))
        )
    if info.dropped > SHOWN_DROPPED:
        lines.append("  " + t(lang, "dataset.problems_more", count=f"{info.dropped - SHOWN_DROPPED:,}"))
    return "\n".join(lines)
