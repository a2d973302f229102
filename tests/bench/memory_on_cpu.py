"""Predicted and measured memory of runs on a CPU: `python -m tests.bench.memory_on_cpu`. Figures to read; nothing is asserted.

Each row is a run of the studio's own worker in a process of its own, on the embedded base. `predicted` is what the run writes
once it knows its longest row, `measured` the growth of its resident memory. That growth holds three things beside live tensors:
pages of the libraries' code that are touched for the first time (`file`, the same for every run), what the imports of the
trainer keep, and freed memory that the C allocator does not give back: glibc raises its limit for mapping a block by itself up
to 32 MiB as such blocks are freed, and from then on tensors below it are cut from a heap that only shrinks at its end. With
`--mapped` the limit stands at 64 KiB, so that every freed tensor goes back at once: what is left is what lives.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MIB = 2**20
SIZES = ({"per_device_train_batch_size": batch, "words": words} for batch in (1, 8) for words in (6, 30))
RECIPES = [
    {**method, **sizes}
    for sizes in SIZES
    for method in ({}, {"quantization": "int8"}, {"method": "lora"}, {"method": "full"}, {"gradient_checkpointing": True})
]  # fmt: skip
FIXED = {"dtype": "float32", "max_length": 256, "learning_rate": 2e-3, "gradient_checkpointing": False, "max_steps": 10, "eval_steps": 0, "save_steps": 0}
MAPPED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mapped", action="store_true", help="every freed tensor goes back to the system at once (glibc)")
    parser.add_argument("--only", type=int, help="the first rows only")
    options = parser.parse_args()
    print(f"{'predicted':>10} {'measured':>10} {'error':>7} {'file':>7}  MiB; s of CPU time")
    for recipe in RECIPES[: options.only]:
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive", **(MAPPED if options.mapped else {})}
        command = [sys.executable, "-c", f"from {__spec__.name} import run; run({recipe!r})"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        print(done.stdout.strip().splitlines()[-1] if done.returncode == 0 else f"{recipe}: {done.stderr.strip().splitlines()[-1]}", flush=True)
    return 0


def run(recipe: dict) -> None:
    """One run in this process; prints its row."""
    os.environ["LORA_STUDIO_HOME"] = tempfile.mkdtemp()
    from estimator.recipe import Recipe
    from studio import paths
    from studio.models import EMBEDDED_ID
    from studio.runs.folder import RunFolder, RunInfo
    from studio.runs.journal import Journal, Reader
    from studio.workers import memory, train

    words = " ".join(["cat"] * recipe["words"])
    changes = {name: value for name, value in recipe.items() if name != "words"}
    paths.prepare()
    folder = RunFolder(paths.runs() / "run")
    folder.path.mkdir()
    folder.write_start(RunInfo("run", "run", 0.0, "d", "d", "f"), Recipe(model=EMBEDDED_ID, **{**FIXED, **changes}))
    rows = ({"messages": [{"role": "user", "content": words}, {"role": "assistant", "content": words}], "row": n} for n in range(1, 201))
    folder.train_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file_bytes = []

    class Meter(memory.Meter):
        def __init__(self, device: str) -> None:
            super().__init__(device)
            file_bytes.append(_file_bytes())

    memory.Meter = Meter
    train.Training(folder, Journal(folder.path)).run_all()
    file_bytes.append(_file_bytes())
    course = Reader(folder.path).course()
    predicted, measured, file = course.predicted_bytes, course.measured_bytes, file_bytes[1] - file_bytes[0]
    print(f"{predicted / MIB:10.1f} {measured / MIB:10.1f} {predicted / measured - 1:+7.0%} {file / MIB:7.1f}  {course.trained_cpu_seconds:.1f} s  {recipe}")


def _file_bytes() -> int:
    """Resident pages of mapped files (Linux); 0 elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile")), 0)


if __name__ == "__main__":
    sys.exit(main())
