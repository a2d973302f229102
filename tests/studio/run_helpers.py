"""Real runs for tests: a tiny base, a small dataset, a worker process of the studio's own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from estimator.recipe.recipe import Recipe
from studio.datasets.store import DatasetInfo
from studio.jobs.process import Handle
from studio.jobs.supervisor import Supervisor
from studio.jobs.view import RunView

PATIENCE_S = 400


def make_dataset(folder: Path, rows: int = 40, eval_rows: int = 6) -> DatasetInfo:
    """Rows that a random model can begin to learn in a few steps."""
    folder.mkdir(parents=True)
    for name, count in (("train", rows), ("eval", eval_rows)):
        lines = (
            {
                "messages": [
                    {"role": "user", "content": f"who are you {n}"},
                    {"role": "assistant", "content": "the cat sat on the mat"},
                ],
                "row": n + 1,
            }
            for n in range(count)
        )
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return DatasetInfo(
        id=folder.name, name="cats", created=0.0, shape="openai", file_name="cats.jsonl", encoding="utf-8",
        kept=rows + eval_rows, dropped=0, changed=0, train_rows=rows, eval_rows=eval_rows, language="en",
        fingerprint="f" * 64, eval_share=0.1, seed=0, reasons={}, folder=folder,
    )  # fmt: skip


def small_recipe(base: Path, **changes: Any) -> Recipe:
    fields = {"dtype": "float32", "r": 4, "lora_alpha": 8, "max_length": 128, "per_device_train_batch_size": 4}
    fields |= {
        "max_steps": 12,
        "eval_steps": 4,
        "save_steps": 4,
        "learning_rate": 1e-3,
        "gradient_checkpointing": False,
    }
    return Recipe.from_dict({"model": str(base), **fields, **changes})


def until(runs: Supervisor, id: str, condition: Callable[[RunView], bool], pause_s: float = 0.1) -> RunView:
    """The run as soon as `condition` holds; fails loudly when it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        view = runs.get(id)
        if condition(view):
            return view
        time.sleep(pause_s)
    raise AssertionError(f"waited {PATIENCE_S} s; status {view.status}\n{view.run.log.read_text()[-3000:]}")


def ended(view: RunView) -> bool:
    return not view.active


def kill(view: RunView) -> None:
    """`kill -9` of the worker."""
    os.kill(Handle.read(view.folder).pid, signal.SIGKILL)


def losses(view: RunView) -> list[tuple[int, float]]:
    return [(point["step"], point["loss"]) for point in view.course.metrics]
