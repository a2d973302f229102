"""The peak of an evaluation: the Trainer's forward and loss in eval mode, as a law of its own. Only `derive` imports
torch.

Nothing is kept for gradients and nothing is recomputed, so checkpointing, accumulation and dropout make no difference,
and one law serves every batch. The studio computes no metrics, so `Trainer.evaluation_loop` accumulates losses alone (4
bytes a row); TRL's fused head makes no logits in evaluation either (`SFTTrainer.compute_loss`). Laws of the presets
ship in `presets/evaluations.json.gz` (`python -m estimator.shelf.evaluations [ID ...]`, needs the train extra).
"""

from __future__ import annotations

import functools
import gzip
import json
import sys
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.hardware.platforms import Platform
from estimator.law.law import Law
from estimator.model.catalog import Model, load_preset, models, presets_dir
from estimator.recipe.batches import Batches
from estimator.recipe.recipe import METHODS, Recipe
from estimator.shelf import laws

INDIFFERENT = ("gradient_checkpointing", "use_reentrant", "accumulates", "one_row", "lora_dropout", "init_lora_weights")
"""What of a training law's structure an evaluation does not see."""
FILE = "evaluations.json.gz"


def key_of(recipe: Recipe, loop: str, platform: Platform, batches: Batches = Batches()) -> str:
    made = laws.structure(recipe, loop, platform, batches)
    return laws.hashed({name: value for name, value in made.items() if name not in INDIFFERENT} | {"evaluates": True})


def find(
    recipe: Recipe,
    model: Model,
    loop: str,
    platform: Platform,
    cache_dir: Path | None = None,
    batches: Batches = Batches(),
) -> Law | None:
    """A law that is at hand, shipped or derived on this machine."""
    key = key_of(recipe, loop, platform, batches)
    if (law := shipped(model.id, key)) is not None:
        return law
    return laws.kept(model, key, cache_dir) if model.config else None


@functools.lru_cache(maxsize=256)
def shipped(id: str, key: str) -> Law | None:
    data = _file().get(id, {}).get(key)
    return Law.from_dict(data) if data else None


@functools.cache
def _file() -> dict[str, Any]:
    path = presets_dir() / FILE
    return json.loads(gzip.decompress(path.read_bytes())) if path.is_file() else {}


def derive(
    recipe: Recipe,
    model: Model,
    loop: str,
    platform: Platform,
    cache_dir: Path | None = None,
    batches: Batches = Batches(),
) -> Law:
    """Trace the law and keep it. Raises `Problem` (`estimator.law.untraced`), also where torch is not installed."""
    law = traced(recipe, model, loop, platform, batches)
    laws.keep(model, key_of(recipe, loop, platform, batches), law, cache_dir)
    return law


def traced(recipe: Recipe, model: Model, loop: str, platform: Platform, batches: Batches = Batches()) -> Law:
    two_rows = recipe.replace(per_device_train_batch_size=2, gradient_checkpointing=False, lora_dropout=0.0)
    return laws.traced(two_rows, model, loop, platform, batches, evaluates=True)


def main(argv: list[str] | None = None) -> int:
    """Trace the evaluation of every causal preset, or only of the named ones anew: full, LoRA and QLoRA on the studio's
    loop."""
    named = sys.argv[1:] if argv is None else argv
    made = dict(_file()) if named else {}
    for id in named or [id for id, preset in models().items() if preset.is_causal]:
        model, own = load_preset(id), {}
        for method in METHODS:
            recipe = Recipe(model=id, method=method)
            try:
                own[key_of(recipe, "trl", Platform())] = traced(recipe, model, "trl", Platform()).to_dict()
            except Problem as problem:
                print(f"{id}: {problem}", flush=True)
        made |= {id: own} if own else {}
        text = json.dumps(made, separators=(",", ":"), sort_keys=True)
        (presets_dir() / FILE).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
