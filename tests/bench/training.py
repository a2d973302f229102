"""What the studio's worker costs: steps/s of a run against the same TRL call in a bare script, same logging.

Both train the embedded base on the sample with the same recipe, as two processes that exist at once and take turns of a
few seconds (`SIGSTOP`, `SIGCONT`): a machine whose speed drifts slows both alike. The ratio is of all steps over all
time.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from estimator.recipe.recipe import Recipe
from studio import shipped
from studio.jobs.process import Handle
from studio.jobs.supervisor import Supervisor
from studio.jobs.train import TrainJob
from studio.protocol.client import worker_environment
from studio.space import Space
from tests.studio.run_helpers import PATIENCE_S, make_dataset

TURNS = 40
TURN_S = 1.5
FIRST_STEPS = 10  # not counted
STEPS = 5000  # neither ends by itself

BARE = """
import sys
from pathlib import Path
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer
import torch
from estimator.program import program
from estimator.recipe.recipe import Recipe
from studio.datasets.rows import Rows
from studio.rendering import rendering
base, rows, out = map(Path, sys.argv[1:4])
recipe = Recipe.from_dict(__import__("json").loads(sys.argv[4]))
tokenizer = rendering.load_tokenizer(base)
train, _ = rendering.encode_rows(Rows(rows, "train"), tokenizer, recipe)
packing = program.quantization_config(recipe)
model = AutoModelForCausalLM.from_pretrained(
    base, dtype=torch.float32, attn_implementation="sdpa", quantization_config=packing
)
program.keep_gradients(model)
args = program.sft_config(recipe, out, device="cpu", evaluates=False)
trainer = SFTTrainer(
    model=model, args=args, train_dataset=train, processing_class=tokenizer,
    data_collator=rendering.collator(tokenizer), peft_config=program.lora_config(recipe),
)
program.keep_adapters_in_float32(trainer.model)
trainer.train()
"""


def figures() -> list[dict[str, Any]]:
    recipe = Recipe(
        model="lora-studio/tiny-base", dtype="float32", max_length=128, per_device_train_batch_size=8, max_steps=STEPS,
        gradient_checkpointing=False, logging_steps=1, save_steps=0, eval_steps=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(Path(folder) / "data", rows=400, eval_rows=0)
        sides: list[_Side] = []
        try:
            for start in (_bare, _studio):
                sides.append(start(recipe, dataset, Path(folder)))
                sides[-1].begin()
            rounds = [
                [side.turn() for side in (sides if n % 2 else sides[::-1])][:: 1 if n % 2 else -1] for n in range(TURNS)
            ]
        finally:
            for side in sides:
                side.end()
    bare, studio = (statistics.mean(speeds) for speeds in zip(*rounds, strict=True))
    spread = statistics.stdev(b / a for a, b in rounds) / TURNS**0.5
    return [
        {"name": "steps/s of the same TRL call in a bare script", "value": bare, "unit": "steps/s"},
        {"name": "steps/s of the studio's worker", "value": studio, "unit": "steps/s"},
        {
            "name": f"studio / bare, {TURNS} turns of {TURN_S:g} s each",
            "value": studio / bare,
            "unit": "x",
            "target": ">= 0.97 x",
        },
        {"name": "  its standard error", "value": spread, "unit": "x"},
    ]


class _Side:
    """A training process that runs only in its turns, and how many steps its log shows."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self.log = pid, log

    def steps(self) -> int:
        return self.log.read_text(errors="replace").count("'grad_norm'")

    def begin(self) -> None:
        """Until its first steps are done; then it waits."""
        deadline = time.monotonic() + PATIENCE_S
        while self.steps() < FIRST_STEPS:
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)
        os.kill(self.pid, signal.SIGSTOP)

    def turn(self) -> float:
        """Steps/s of one turn."""
        before, started = self.steps(), time.perf_counter()
        os.kill(self.pid, signal.SIGCONT)
        time.sleep(TURN_S)
        os.kill(self.pid, signal.SIGSTOP)
        seconds = time.perf_counter() - started
        return (self.steps() - before) / seconds

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _bare(recipe: Recipe, dataset: Any, folder: Path) -> _Side:
    out, log = folder / "bare", folder / "bare.log"
    command = [
        sys.executable,
        "-c",
        BARE,
        str(shipped.embedded_base()),
        str(dataset.folder),
        str(out),
        json.dumps(recipe.to_dict()),
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=worker_environment(Space.default()), stdout=file, stderr=file, cwd=folder
        )
    return _Side(process.pid, log)


def _studio(recipe: Recipe, dataset: Any, folder: Path) -> _Side:
    view = Supervisor(Space(folder)).start(TrainJob(recipe, dataset))
    deadline = time.monotonic() + PATIENCE_S
    while not (handle := Handle.read(view.folder)) or not view.run.log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return _Side(handle.pid, view.run.log)
