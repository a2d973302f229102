"""`python -m tests.bench [name ...]`: print the figures of every module here, or of those named.

With `--against REF_OR_DIR` another checkout is measured by the same code, in turn with this one (this, other, this,
other), and each figure comes with its ratio, of time and of processor time: on a machine that others use too, only
these can be compared.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tests.bench
from tests.serving import CHECKOUT

ROUNDS = 2
Row = dict[str, Any]


def main(argv: list[str]) -> int:
    modules = [info.name for info in pkgutil.iter_modules(tests.bench.__path__) if not info.name.startswith("_")]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(modules)} (default: all)")
    parser.add_argument(
        "--against", metavar="REF_OR_DIR", help="a commit of this repository, or a folder with a checkout"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each checkout (default %(default)s)")
    options = parser.parse_args(argv)
    if unknown := set(options.names) - set(modules):
        parser.error(f"no figures named {', '.join(sorted(unknown))}; there are {', '.join(modules)}")
    makers = {name: importlib.import_module(f"tests.bench.{name}").figures for name in options.names or modules}
    if not options.against:
        _print_figures(makers)
        return 0
    both = {name: make for name, make in makers.items() if "checkout" in inspect.signature(make).parameters}
    if left := makers.keys() - both.keys():
        print(f"of this checkout alone, not compared: {', '.join(sorted(left))}", file=sys.stderr)
    with _checkout(options.against) as other:
        _print_ratios(both, other, options.rounds)
    return 0


def _print_figures(makers: dict[str, Any]) -> None:
    print(f"{'figure':<78} {'value':>12}  {'target':>12}  {'processor':>12}")
    for make in makers.values():
        for row in make():
            cpu = _shown(row["cpu"], row["unit"]) if "cpu" in row else ""
            print(
                f"{row['name']:<78} {_shown(row['value'], row['unit']):>12}  {row.get('target', ''):>12}  {cpu:>12}",
                flush=True,
            )


def _print_ratios(makers: dict[str, Any], other: Path, rounds: int) -> None:
    print(f"{'figure':<78} {'this':>12}  {'other':>12}  {'ratio':>6}  {'processor':>9}")
    for make in makers.values():
        turns = [(make(), make(checkout=other)) for _ in range(rounds)]
        for name in [row["name"] for row in turns[0][0]]:
            pairs = [tuple(next((row for row in side if row["name"] == name), None) for side in turn) for turn in turns]
            if all(here and there for here, there in pairs):
                print(_compared(name, pairs), flush=True)


def _compared(name: str, pairs: list[tuple[Row, Row]]) -> str:
    """Medians of both, and the median of the ratios pair by pair."""
    here, there = (
        _shown(statistics.median(pair[side]["value"] for pair in pairs), pairs[0][0]["unit"]) for side in (0, 1)
    )
    ratios = {key: [pair[0][key] / pair[1][key] for pair in pairs if pair[1].get(key)] for key in ("value", "cpu")}
    value, cpu = (f"{statistics.median(found):.2f}x" if found else "" for found in ratios.values())
    return f"{name:<78} {here:>12}  {there:>12}  {value:>6}  {cpu:>9}"


def _shown(value: float, unit: str) -> str:
    return f"{value:,.3g} {unit}"


@contextmanager
def _checkout(given: str) -> Iterator[Path]:
    """The folder, or a worktree of the commit for as long as it is measured."""
    if Path(given).is_dir():
        yield Path(given).resolve()
        return
    git = ["git", "-C", str(CHECKOUT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*git, "add", "--quiet", "--detach", f"{folder}/other", given], check=True)
        try:
            yield Path(folder) / "other"
        finally:
            subprocess.run([*git, "remove", "--force", f"{folder}/other"], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
