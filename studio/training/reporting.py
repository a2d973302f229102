"""What the trainer tells the journal, and what the user tells the trainer."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.disk.storage import sync
from studio.jobs.folder import COMPLETE, RunFolder
from studio.jobs.journal import Journal
from studio.training.memory import RunMeter

CURVE = ("loss", "learning_rate", "grad_norm", "epoch")
"""Of every training; its task adds its own (`Task.metrics`)."""
# A stop is asked for with a file; looking at most this often keeps fast steps fast.
LOOK_EVERY_S = 0.1


class Reporter(TrainerCallback):
    """Writes the curve, guards checkpoints, obeys `stop`."""

    def __init__(self, run: RunFolder, journal: Journal, recipe: Recipe, meter: RunMeter) -> None:
        self.run, self.journal, self.recipe, self.meter = run, journal, recipe, meter
        self._looked = 0.0
        self._began = (0.0, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = time.monotonic(), time.process_time()
        self.journal.write("phase", name="training", total_steps=state.max_steps)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seconds, cpu_seconds = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        self.journal.write("trained", seconds=round(seconds, 3), cpu_seconds=round(cpu_seconds, 3))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_evaluate:
            self.journal.write("phase", name="evaluating")
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        self.meter.look()
        if self.run.stop_file.exists():
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        logs = logs or {}
        if "eval_loss" in logs:
            self.journal.write("eval", step=state.global_step, eval_loss=_finite(logs["eval_loss"]))
        elif "loss" in logs:
            point = {name: _finite(logs[name]) for name in (*CURVE, *self.recipe.task.metrics) if name in logs}
            self.journal.write("metrics", step=state.global_step, **point)
            if point["loss"] is None:
                raise Problem("run.diverged", step=state.global_step, value=self.recipe.learning_rate)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step < state.max_steps:
            self.journal.write("phase", name="training")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint complete once all of it is on the disk, then let the oldest go."""
        folder = self.run.checkpoints / f"checkpoint-{state.global_step}"
        _sync_all(folder)
        (folder / COMPLETE).touch()
        sync(folder)
        self.journal.write("checkpoint", step=state.global_step)
        self.journal.write("memory", measured_bytes=self.meter.look(), how=self.meter.how)
        for old in self.run.complete_checkpoints()[: -self.recipe.save_total_limit]:
            (old / COMPLETE).unlink()  # first, so that a kill here leaves nothing that looks whole
            shutil.rmtree(old)


def _finite(value: float) -> float | None:
    """JSON has no NaN; a curve shows a gap."""
    return float(value) if math.isfinite(value) else None


def _sync_all(folder: Path) -> None:
    """Files first, then the folder that names them."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync(path)
    sync(folder)
