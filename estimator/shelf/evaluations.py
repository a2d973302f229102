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
from typing import Any

from estimator.core.problems import Problem
from estimator.law.law import Law
from estimator.law.question import Question
from estimator.law.stamp import STAMP
from estimator.model.catalog import load_preset, models, presets_dir
from estimator.recipe.recipe import METHODS, Recipe
from estimator.shelf import laws
from estimator.shelf.shelf import Shelf, shipped_file, write_stamps

INDIFFERENT = ("gradient_checkpointing", "use_reentrant", "accumulates", "one_row", "lora_dropout", "init_lora_weights")
"""What of a training law's structure an evaluation does not see."""
FILE = "evaluations.json.gz"


def key_of(question: Question) -> str:
    made = laws.structure(question)
    return laws.hashed({name: value for name, value in made.items() if name not in INDIFFERENT} | {"evaluates": True})


def find(question: Question) -> Law | None:
    """A law that is at hand, shipped or derived on this machine."""
    return EVALUATIONS.find(question.model, key_of(question), question.cache_dir)


@functools.lru_cache(maxsize=256)
def _shipped_law(id: str, key: str) -> Law | None:
    data = _at_hand().get(id, {}).get(key)
    return Law.from_dict(data) if data else None


@functools.cache
def _at_hand() -> dict[str, Any]:
    return read_shipped() if shipped_file(FILE) else {}


def read_shipped() -> dict[str, Any]:
    """What ships, whichever tracer made it: laws as JSON by model and key."""
    path = presets_dir() / FILE
    return json.loads(gzip.decompress(path.read_bytes())) if path.is_file() else {}


EVALUATIONS = Shelf("evaluations", Law.from_dict, Law.to_dict, lambda model, key: _shipped_law(model.id, key))


def derive(question: Question) -> Law:
    """Trace the law and keep it. Raises `Problem` (`estimator.law.untraced`), also where torch is not installed."""
    law = traced(question)
    EVALUATIONS.keep(law, question.model, key_of(question), question.cache_dir)
    return law


def traced(question: Question) -> Law:
    two_rows = {"per_device_train_batch_size": 2, "gradient_checkpointing": False, "lora_dropout": 0.0}
    return laws.traced(question.but(recipe=question.recipe.replace(**two_rows)), evaluates=True)


def main(argv: list[str] | None = None) -> int:
    """Trace the evaluation of every causal preset, or only of the named ones anew: full, LoRA and QLoRA on the studio's
    loop."""
    named = sys.argv[1:] if argv is None else argv
    made = read_shipped() if named else {}
    for id in named or [id for id, preset in models().items() if preset.is_causal]:
        model, own = load_preset(id), {}
        for method in METHODS:
            question = Question(Recipe(model=id, method=method), model)
            try:
                own[key_of(question)] = traced(question).to_dict()
            except Problem as problem:
                print(f"{id}: {problem}", flush=True)
        made |= {id: own} if own else {}
        text = json.dumps(made, separators=(",", ":"), sort_keys=True)
        (presets_dir() / FILE).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    if not named:  # of one made anew in part the rest is as old as it was
        write_stamps([FILE], STAMP)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
