"""Take the tracer's stamp anew: `python -m estimator.make.stamp [--all]`, with the train extra.

Where the tracer's code is another than that of `estimator.law.stamp.STAMP`, a law of each architecture that ships
(with `--all` of each model), the evaluations and the caches of some are traced again. Those that are equal to what
ships keep it, under the new stamp; where one is not, nothing is written and the files to make again are named. Ten
seconds to some minutes.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from estimator.law import stamp
from estimator.law.law import Law
from estimator.law.question import Question
from estimator.model.catalog import load_preset, models
from estimator.recipe.recipe import Recipe
from estimator.shelf import caches, evaluations, laws
from estimator.shelf.shelf import read_stamps, traced_files, write_stamps

PACKAGE = Path(__file__).parents[1]
MADE_BY = ("trace/*.py", "recipe/loop.py")
EVALUATED = ("Qwen/Qwen2.5-0.5B", "google/gemma-2-2b", "mistralai/Mixtral-8x7B-v0.1")


def stamp_of(package: Path = PACKAGE) -> str:
    """Of the code under `package`, as Python writes it out again: without comments, docstrings and layout."""
    files = sorted(file for pattern in MADE_BY for file in package.glob(pattern))
    said = [f"{file.relative_to(package).as_posix()}\n{_plain(file.read_text('utf-8'))}" for file in files]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:12]


class _Bare(ast.NodeTransformer):
    """Without what changes no answer: docstrings (text that stands alone)."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def _plain(source: str) -> str:
    """Quotes are left out too: one Python writes others around them than the next."""
    return re.sub(r"[\"'\\]", "", ast.unparse(_Bare().visit(ast.parse(source))))


def differing(every_model: bool) -> Iterator[str]:
    """Of the shipped files looked at, those whose record is traced otherwise today."""
    seen: set[str] = set()
    for id, preset in models().items():
        at_hand = laws.read_shipped(preset.stem)
        if not at_hand or preset.model_type in seen and not every_model:
            continue
        seen.add(preset.model_type)
        question = Question(Recipe(model=id, max_length=64), load_preset(id))
        law = at_hand.get(laws.key_of(question))
        print(id, end=" ", flush=True)
        if law and laws.traced(question) != law:
            yield f"laws/{preset.stem}.json.gz"
    for id in EVALUATED:
        question = Question(Recipe(model=id), load_preset(id))
        known = evaluations.read_shipped().get(id, {}).get(evaluations.key_of(question))
        if known and evaluations.traced(question) != Law.from_dict(known):
            yield evaluations.FILE
        if caches.read_shipped().get(id) != caches.derive(question.model):
            yield caches.FILE


def main(argv: list[str] | None = None) -> int:
    found = stamp_of()
    if found == stamp.STAMP and set(read_stamps().values()) == {found}:
        print(f"{found}: as before")
        return 0
    others = list(differing("--all" in (sys.argv[1:] if argv is None else argv)))
    if others:
        print("\ntraced otherwise than it ships, make it again:", *others, sep="\n  ")
        return 1
    own = Path(stamp.__file__)
    own.write_text(re.sub(r'STAMP = ".*"', f'STAMP = "{found}"', own.read_text("utf-8")), encoding="utf-8")
    write_stamps(traced_files(), found)
    print(f"\n{found}: what ships is as today's tracer makes it")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
