"""Make the laws that ship: `python -m estimator.make.shipped_laws [--again] [ID ...]`, for every causal preset or the
named ones.

For each the studio's loop on a card with flash attention, bf16: full (gradients accumulated or not), LoRA and QLoRA;
adapters on {q, v}, {q, k, v, o} and all linear layers, by the architecture's own names; with and without checkpointing;
one row and more; each range of lengths where attention has windows. A law that cannot be traced is left out, and said.
What is there for the installed versions is kept, so a run that was stopped goes on where it was; `--again` begins anew.
About a minute a model on one core.
"""

from __future__ import annotations

import gzip
import itertools
import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from estimator.adapters.target_sets import target_sets
from estimator.core.problems import Problem
from estimator.law.law import Law
from estimator.law.question import Question
from estimator.law.stamp import STAMP
from estimator.model.catalog import Model, load_preset, models, presets_dir
from estimator.recipe.recipe import Recipe
from estimator.shelf import laws
from estimator.shelf.shelf import write_stamps


def recipes(id: str) -> Iterator[Recipe]:
    """Of short rows; `_laws` goes on to longer ones."""
    for kept, rows in itertools.product((True, False), (1, 2)):
        plain = Recipe(model=id, gradient_checkpointing=kept, per_device_train_batch_size=rows, max_length=64)
        yield plain.replace(method="full")
        yield plain.replace(
            method="full", gradient_accumulation_steps=2
        )  # of adapters `laws.find` makes it from the others
        for method, targets in itertools.product(("lora", "qlora"), target_sets(load_preset(id))):
            yield plain.replace(method=method, target_modules=targets)


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    named = [argument for argument in arguments if argument != "--again"]
    ids = named or [id for id, preset in models().items() if preset.is_causal]
    if "--again" in arguments:
        for id in ids:
            _path(id).unlink(missing_ok=True)
    for id in ids:
        started = time.perf_counter()
        made, reasons = _laws(id)
        _write(id, made)
        seconds = time.perf_counter() - started
        print(
            f"{id}: {len(made)} laws, {seconds:.1f} s",
            *(f"  {reason}" for reason in sorted(reasons)),
            sep="\n",
            flush=True,
        )
    return 0


def _laws(id: str) -> tuple[dict[str, dict], set[str]]:
    """Laws by key, and why some are missing."""
    model, reasons = load_preset(id), set()
    laws.shipped.cache_clear()
    at_hand = {
        key: law for key, law in laws.shipped(models()[id].stem).items() if _is_current(law)
    }  # of today's tracer
    made: dict[str, Law] = {}
    for recipe in recipes(id):
        try:
            made |= _ranges(recipe, model, at_hand)
        except Problem as problem:
            reasons.add(
                f"{recipe.method}, targets {recipe.target_modules if recipe.has_adapters else 'none'}: {problem}"
            )
    return {key: law.to_dict() for key, law in made.items()}, reasons


def _ranges(recipe: Recipe, model: Model, at_hand: dict[str, Law]) -> dict[str, Law]:
    """The laws of a recipe for rows of every length."""
    made: dict[str, Law] = {}
    key = first = laws.key_of(Question(recipe, model))
    while key not in made:
        made[key] = law = at_hand.get(key) or laws.traced(Question(recipe, model))
        if law.below_tokens:
            recipe, key = recipe.replace(max_length=law.below_tokens), f"{first}-{law.below_tokens}"
    return made


def _is_current(law: Law) -> bool:
    return all(version(name).partition("+")[0] == made_with for name, made_with in law.versions.items())


def _path(id: str) -> Path:
    return presets_dir() / "laws" / f"{models()[id].stem}.json.gz"


def _write(id: str, made: dict[str, dict]) -> None:
    """The same bytes for the same laws: no time in the header."""
    path = _path(id)
    path.parent.mkdir(exist_ok=True)
    if not made:
        path.unlink(missing_ok=True)
        return
    text = json.dumps(made, separators=(",", ":"), sort_keys=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    write_stamps([f"laws/{path.name}"], STAMP)


if __name__ == "__main__":
    raise SystemExit(main())
