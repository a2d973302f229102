"""One run, one folder. Everything about a run is in it, so that it can be moved, copied and found again.

  run.json        name, dataset, prediction: what the page knew at the start
  recipe.json     the recipe
  train.jsonl     the rows (hard links to the dataset's: deleting the dataset takes nothing from the run)
  eval.jsonl
  process.json    pid and start time of the worker
  journal.jsonl   what happened
  log.txt         what the worker printed
  stop            present once the user asked the worker to stop
  checkpoints/checkpoint-<step>/   complete when it holds COMPLETE
  adapter/ or model/               the result
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from estimator.recipe import Recipe

COMPLETE = "COMPLETE"


@dataclass(frozen=True)
class RunInfo:
    """`run.json`: what does not change."""

    id: str
    name: str
    created: float
    """Epoch seconds."""
    dataset_id: str
    dataset_name: str
    fingerprint: str
    """Of the dataset's normalised rows."""
    predicted_bytes: int | None = None
    """The estimate's figure for this machine: allocated on CUDA, resident growth on a CPU."""
    versions: dict[str, str] = field(default_factory=dict)


class RunFolder:
    """The names above, as paths and small readers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def stop_file(self) -> Path:
        return self.path / "stop"

    @property
    def train_file(self) -> Path:
        return self.path / "train.jsonl"

    @property
    def eval_file(self) -> Path | None:
        path = self.path / "eval.jsonl"
        return path if path.exists() else None

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def result(self) -> Path | None:
        """The trained weights' folder, once complete: both are renamed into place."""
        return next((path for path in (self.adapter, self.model) if path.is_dir()), None)

    def info(self) -> RunInfo:
        return RunInfo(**json.loads((self.path / "run.json").read_text(encoding="utf-8")))

    def recipe(self) -> Recipe:
        return Recipe.from_dict(json.loads((self.path / "recipe.json").read_text(encoding="utf-8")))

    def complete_checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first. A folder without its marker was being written when the worker died."""
        found = [path for path in self.checkpoints.glob("checkpoint-*") if (path / COMPLETE).is_file()]
        return sorted(found, key=checkpoint_step)

    def write_start(self, info: RunInfo, recipe: Recipe) -> None:
        """The files of a run that does not exist yet; the caller renames the folder into place."""
        write_json(self.path / "run.json", asdict(info))
        write_json(self.path / "recipe.json", recipe.to_dict())


def checkpoint_step(path: Path) -> int:
    return int(path.name.rsplit("-", 1)[1])


def write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False), encoding="utf-8")


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system has them, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
