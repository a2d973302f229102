"""Make the generation caches that ship: `python -m estimator.make.caches [ID ...]`, needs the train extra."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

from estimator.law.stamp import STAMP
from estimator.memory.kv_cache import FORMAT
from estimator.model.catalog import load_preset, models, presets_dir
from estimator.shelf import caches
from estimator.shelf.shelf import write_stamps


def main(argv: list[str] | None = None) -> int:
    """Write `presets/caches.json`: every causal preset, or only the named ones anew."""
    named = sys.argv[1:] if argv is None else argv
    path = presets_dir() / caches.FILE
    made = {id: cache.to_list() for id, cache in caches.read_shipped().items()} if named else {}
    for id in named or [id for id, preset in models().items() if preset.is_causal]:
        model = load_preset(id)
        try:
            made[id] = caches.derive(model).to_list()
        except Exception as error:  # said, and left out: unknown
            print(f"{id}: {type(error).__name__}: {' '.join(str(error).split())[:150]}", flush=True)
    lines = ",\n".join(f"  {json.dumps(id)}: {json.dumps(groups)}" for id, groups in sorted(made.items()))
    versions = json.dumps({"transformers": version("transformers")})
    path.write_text(f'{{"format": {FORMAT}, "versions": {versions}, "models": {{\n{lines}\n}}}}\n', encoding="utf-8")
    if not named:  # of one made anew in part the rest is as old as it was
        write_stamps([caches.FILE], STAMP)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
