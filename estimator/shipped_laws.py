"""Make the laws that ship: `python -m estimator.shipped_laws [ID ...]`, for every causal preset or the named ones.

For each the studio's loop on a card with flash attention, bf16, adapters on all linear layers: full, LoRA and QLoRA, with and
without checkpointing, one row and more. A law that cannot be traced is left out, and said. About 5 s a model on one core.
"""

from __future__ import annotations

import gzip
import itertools
import json
import sys
import time

from estimator import laws
from estimator.catalog import load_preset, models, presets_dir
from estimator.platforms import Platform
from estimator.problems import Problem
from estimator.recipe import METHODS, Recipe

LOOP = "trl"


def recipes(model: str) -> list[Recipe]:
    choices = itertools.product(METHODS, (True, False), (1, 2))
    return [Recipe(model=model, method=method, gradient_checkpointing=kept, per_device_train_batch_size=rows) for method, kept, rows in choices]


def main(argv: list[str] | None = None) -> int:
    named = sys.argv[1:] if argv is None else argv
    for id in named or [id for id, preset in models().items() if preset.is_causal]:
        started = time.perf_counter()
        made, reasons = _laws(id)
        _write(models()[id].stem, made)
        print(f"{id}: {len(made)} laws, {time.perf_counter() - started:.1f} s {'; '.join(sorted(reasons))}", flush=True)
    return 0


def _laws(id: str) -> tuple[dict[str, dict], set[str]]:
    """Laws by key, and why some are missing."""
    model, made, reasons = load_preset(id), {}, set()
    for recipe in recipes(id):
        try:
            law = laws.traced(recipe, model, LOOP, Platform())
        except Problem as problem:
            reasons.add(str(problem))
        else:
            made[laws.key_of(recipe, LOOP, Platform())] = law.to_dict()
    return made, reasons


def _write(stem: str, made: dict[str, dict]) -> None:
    """The same bytes for the same laws: no time in the header."""
    path = presets_dir() / "laws" / f"{stem}.json.gz"
    path.parent.mkdir(exist_ok=True)
    if not made:
        path.unlink(missing_ok=True)
        return
    text = json.dumps(made, separators=(",", ":"), sort_keys=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    raise SystemExit(main())
