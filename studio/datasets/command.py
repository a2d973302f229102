"""`lora-studio dataset check FILE...`: what the Dataset page says of files, without storing them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.counts import of_file
from studio.datasets.ingest import ingest, run
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.datasets.words import (
    left_text,
    mixed_text,
    other_shapes_text,
    problem_text,
    read_text,
    reason_text,
    recognised_text,
    unused_text,
)
from studio.i18n import LANGUAGES, t

SHOWN_DROPPED = 20
SAID_HERE = ("dataset.unreadable", "dataset.broken_json")
"""What has another remedy where the file lies on this machine and is not uploaded."""


def main(argv: list[str]) -> int:
    """Exit status: 0, or 2 where a file cannot be used; the others are checked all the same."""
    options = parser().parse_args(argv[1:])
    answers = [_checked(path, options.lang) for path in options.files]
    if options.json:
        print(json.dumps(answers[0] if len(answers) == 1 else answers, ensure_ascii=False, indent=2))
    else:
        print("\n\n".join(answer["text"] for answer in answers if "problem" not in answer))
        for answer in answers:
            if "problem" in answer:
                print(f"lora-studio: {answer['text']}", file=sys.stderr)
    return 2 if any("problem" in answer for answer in answers) else 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lora-studio dataset", description="Files of rows to train on.")
    commands = parser.add_subparsers(required=True, metavar="check")
    check = commands.add_parser(
        "check",
        help="what is read of a file, what is left out and why, what is not used",
        description="Read files as the Dataset page does, say what became of their rows, and store nothing.",
    )
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a file, folder or archive")
    check.add_argument("--json", action="store_true", help="print one JSON object (a list of them for several files)")
    check.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the sentences (default en)")
    return parser


def _checked(path: Path, lang: str) -> dict[str, Any]:
    """A file's counts, reasons and unused columns, or its problem; `text` says it."""
    with tempfile.TemporaryDirectory(prefix="lora-studio-") as folder:
        try:
            info = run(ingest(DatasetStore(Path(folder) / "datasets"), path, eval_share=0))
        except Problem as problem:
            here = Problem(f"{problem.code}_here", **problem.params) if problem.code in SAID_HERE else problem
            return {"file": path.name, "problem": problem.to_dict(), "text": problem_text(lang, here)}
        names = (
            "read",
            "shape",
            "language",
            "encoding",
            "kept",
            "dropped",
            "changed",
            "reasons",
            "shapes",
            "forms",
            "tasks",
            "other_shapes",
            "columns",
            "unused",
            "fingerprint",
        )
        counts = {name: getattr(info, name) for name in names}
        return {"file": info.file_name, **counts, "dropped_rows": info.dropped_rows(), "text": _text(lang, info)}


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
    lines = [
        f"{info.file_name}: {recognised_text(lang, info)}",
        f"  {counts}",
        *(
            f"  {line}"
            for line in (
                mixed_text(lang, info),
                other_shapes_text(lang, info),
                *left_text(lang, info),
                read_text(lang, info),
                unused_text(lang, info),
            )
            if line
        ),
    ]
    for one in info.dropped_rows(SHOWN_DROPPED):
        lines.append("  " + t(lang, "dataset.first_reason", row=f"{one['row']:,}", reason=reason_text(lang, one)))
    if info.dropped > SHOWN_DROPPED:
        lines.append("  " + t(lang, "dataset.problems_more", count=f"{info.dropped - SHOWN_DROPPED:,}"))
    return "\n".join(lines)
