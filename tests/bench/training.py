"""What the studio's worker costs: steps/s of a run against the same TRL call in a bare script, same logging.

Both train the embedded base on the sample with the same recipe; runs are interleaved, and the ratio is of medians.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from estimator.recipe import Recipe
from studio import paths
from studio.runs.supervisor import Supervisor
from studio.workers.client import worker_environment
from tests.studio.run_helpers import ended, make_dataset, until

STEPS = 100
ROUNDS = 3

BARE = """
import sys
from pathlib import Path
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer
import torch
from estimator import program
from estimator.recipe import Recipe
from studio.workers import rendering
base, rows, out, recipe = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), Recipe.from_dict(__import__("json").loads(sys.argv[4]))
tokenizer = rendering.load_tokenizer(base)
train, _ = rendering.encode_file(rows, tokenizer, recipe)
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="sdpa", quantization_config=program.quantization_config(recipe))
program.keep_gradients(model)
args = program.sft_config(recipe, out, device="cpu", evaluates=False)
trainer = SFTTrainer(model=model, args=args, train_dataset=train, processing_class=tokenizer, data_collator=rendering.collator(tokenizer), peft_config=program.lora_config(recipe))
program.keep_adapters_in_float32(trainer.model)
trainer.train()
"""


def figures() -> list[dict[str, Any]]:
    recipe = Recipe(
        model="lora-studio/tiny-base", dtype="float32", max_length=128, per_device_train_batch_size=8, max_steps=STEPS,
        gradient_checkpointing=False, logging_steps=1, save_steps=0, eval_steps=0,
    )  # fmt: skip
    speeds: dict[str, list[float]] = {"bare": [], "studio": []}
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(Path(folder) / "data", rows=400, eval_rows=0)
        for n in range(ROUNDS):
            speeds["bare"].append(_bare(recipe, dataset.train_file, Path(folder) / f"bare-{n}"))
            speeds["studio"].append(_studio(recipe, dataset, Path(folder) / f"runs-{n}"))
    print(f"rounds, steps/s: {speeds}", flush=True)
    bare, studio = (statistics.median(speeds[name]) for name in ("bare", "studio"))
    return [
        {"name": "steps/s of the same TRL call in a bare script, median", "value": bare, "unit": "steps/s"},
        {"name": "steps/s of the studio's worker, median", "value": studio, "unit": "steps/s"},
        {"name": "studio / bare (ratio of medians, interleaved)", "value": studio / bare, "unit": "x", "target": ">= 0.97 x"},
    ]


def _bare(recipe: Recipe, rows: Path, out: Path) -> float:
    command = [sys.executable, "-c", BARE, str(paths.embedded_base()), str(rows), str(out), json.dumps(recipe.to_dict())]
    done = subprocess.run(command, env=worker_environment(), capture_output=True, text=True, check=True, cwd=rows.parent)
    return _steps_per_second(done.stdout + done.stderr)


def _studio(recipe: Recipe, dataset: Any, root: Path) -> float:
    root.mkdir()
    runs = Supervisor(root)
    view = until(runs, runs.start(recipe, dataset).id, ended, pause_s=2.0)
    assert view.status == "finished", view.course.problem
    return _steps_per_second(view.run.log.read_text())


def _steps_per_second(log: str) -> float:
    """The trainer's own figure, the same line in both programs."""
    return float(re.findall(r"'train_steps_per_second': '?([\d.]+)", log)[-1])
