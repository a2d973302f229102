"""Predicted and measured memory of runs on a CPU: `python -m tests.bench.memory_on_cpu`. With `--write` the runs become
the table that the range of a prediction is read from (`estimator.estimates.resident` says what lies between the two
figures); a test holds it to today's predictions.

Each row is a run of the studio's own worker in a process of its own, on the embedded base or on random weights of a
larger shape. `predicted` is what the run writes once it knows its longest row, `measured` the growth of its resident
memory. With `--mapped` the C allocator gives each freed tensor back at once (its limit stands at 64 KiB): what is left
is what lives.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from estimator.estimates import resident
from estimator.estimates.resident import COLUMNS, TABLE
from estimator.hub.sources import open_model
from estimator.model.catalog import presets_dir
from estimator.recipe.recipe import Recipe
from studio import shipped
from studio.models.find import EMBEDDED_ID
from studio.space import Space

MIB = 2**20
METHODS = ({}, {"quantization": "int8"}, {"method": "lora"}, {"method": "full"}, {"gradient_checkpointing": True})
SIZES = [{"per_device_train_batch_size": batch, "words": words} for batch, words in ((1, 6), (8, 6), (8, 30))]
SHAPES = {
    "llama-135M": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3,
                   "vocab_size": 49152, "tie_word_embeddings": True},
}  # fmt: skip
"""Random bases beside the embedded one: the shape of SmolLM2-135M."""
RECIPES = [
    *({"model": EMBEDDED_ID, **method, **sizes} for sizes in SIZES for method in METHODS),
    *(
        {"model": "llama-135M", **method, "per_device_train_batch_size": 2, "words": 40, "max_steps": 3}
        for method in METHODS[:3:2]
    ),
]
FIXED = {
    "dtype": "float32",
    "max_length": 256,
    "learning_rate": 2e-3,
    "gradient_checkpointing": False,
    "max_steps": 10,
    "eval_steps": 0,
    "save_steps": 0,
}
MAPPED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mapped", action="store_true", help="every freed tensor goes back to the system at once (glibc)"
    )
    parser.add_argument("--write", action="store_true", help=f"write presets/{TABLE}")
    options = parser.parse_args()
    made = []
    print(f"{'predicted':>10} {'measured':>10}  MiB")
    for recipe in RECIPES:
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive", **(MAPPED if options.mapped else {})}
        command = [sys.executable, "-c", f"from {__spec__.name} import run; run({recipe!r})"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            print(f"{recipe}: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        made.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(
            f"{made[-1]['predicted_bytes'] / MIB:10.1f} {made[-1]['measured_bytes'] / MIB:10.1f}  {recipe}", flush=True
        )
    if options.write and len(made) == len(RECIPES):
        with (presets_dir() / TABLE).open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(made)
    return 0


def recipe_of(row: dict[str, Any], model: str) -> Recipe:
    """The recipe of a row of `RECIPES` or, as read back, of the table."""
    fields = {name: row[name] for name in COLUMNS[1:5] if name in row}
    fields["gradient_checkpointing"] = str(fields.get("gradient_checkpointing")) == "True"
    fields["per_device_train_batch_size"] = int(fields["per_device_train_batch_size"])
    return Recipe(**{**FIXED, **fields, "model": model, "max_steps": row.get("max_steps", FIXED["max_steps"])})


def base(name: str, folder: Path) -> str:
    """The model's id, or a folder with random weights of that shape and the embedded base's tokenizer."""
    if name == EMBEDDED_ID:
        return name
    from transformers import LlamaConfig, LlamaForCausalLM

    LlamaForCausalLM(LlamaConfig(**SHAPES[name])).save_pretrained(folder)
    for file in shipped.embedded_base().iterdir():
        if "token" in file.name or "template" in file.name:
            shutil.copy(file, folder)
    return str(folder)


def run(recipe: dict[str, Any]) -> None:
    """One run in this process; prints its row as JSON."""
    home = Path(tempfile.mkdtemp())
    os.environ["LORA_STUDIO_HOME"] = str(home)
    from studio.jobs.folder import RunFolder, RunInfo
    from studio.jobs.journal import Journal, Reader
    from studio.workers import train

    Space.default().prepare()
    whole = recipe_of(recipe, base(recipe["model"], home / "base"))
    words = " ".join(["cat"] * recipe["words"])
    folder = RunFolder(Space.default().runs / "run")
    folder.path.mkdir()
    folder.write_start(RunInfo("run", "run", 0.0, "d", "d", "f"), whole)
    rows = (
        {"messages": [{"role": "user", "content": words}, {"role": "assistant", "content": words}], "row": n}
        for n in range(1, 201)
    )
    (folder.path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))  # any checkout reads it
    train.Training(folder, Journal(folder.path)).run_all()
    course = Reader(folder.path).course()
    tokens = course.data["train"]["longest"]
    mapped = resident.mapped_bytes(whole, open_model(whole.model))
    figures = {
        "tokens": tokens,
        "mapped_bytes": mapped,
        "predicted_bytes": course.predicted_bytes,
        "measured_bytes": course.measured_bytes,
    }
    shutil.rmtree(home)
    print(json.dumps({**{name: getattr(whole, name) for name in COLUMNS[1:5]}, "model": recipe["model"], **figures}))


if __name__ == "__main__":
    sys.exit(main())
