"""One run, one folder. Everything about a run is in it, so that it can be moved, copied and found again.

run.json        name, dataset, prediction: what the page knew at the start; at the end whether it learned
recipe.json     the recipe; both say of which format they are
rows.arrow      the rows and their splits (hard links to the dataset's: deleting it takes nothing from the run);
splits.npy      a run of an older version has train.jsonl and eval.jsonl
worker.lock     held by the worker as long as it lives
process.json    which process that is
journal.jsonl   what happened
log.txt         what the worker printed
stop            present once the user asked the worker to stop
checkpoints/checkpoint-<step>/   complete when it holds COMPLETE
adapter/ or model/               the result
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from estimator.core import formats
from estimator.core.problems import Problem
from estimator.recipe import recipe_file
from estimator.recipe.recipe import FIELDS, Recipe
from studio.datasets.rows import Rows
from studio.disk.records import checked_fields, read_record, unknown_fields
from studio.disk.storage import write_json

COMPLETE = "COMPLETE"
CHECKPOINT = re.compile(r"checkpoint-[0-9]{1,15}")
FILES = (
    "run.json",
    "recipe.json",
    "rows.arrow",
    "train.jsonl",
    "journal.jsonl",
    "log.txt",
    "checkpoints",
    "adapter",
    "model",
)
"""A folder with any of these is a run, whatever has become of it."""
INFO_FORMAT = 1
"""Of the fields in a `run.json`: it rises when one of them gets another meaning, not when one is added."""


@dataclass(frozen=True)
class RunInfo:
    """`run.json`."""

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
    kind: str = "train"
    """What is done (`studio.jobs.kinds`); the first version knew no other, and did not say it."""
    place: str = "here"
    """Who does it."""
    learned: dict[str, Any] | None = None
    """Once finished: what `studio.jobs.learned` says of it, for readers of the file; the page makes it from the
    journal."""


@dataclass(frozen=True)
class Facts:
    """What a run's folder says of it, and what of that is damaged or another version's."""

    info: RunInfo
    """Where `run.json` does not say it: the folder's own name and date, and nothing."""
    recipe: Recipe | None
    """None where it cannot be read."""
    faults: tuple[Problem, ...]
    """Codes `record.*`. A worker goes on with none of them: what it would train is not known."""

    @property
    def damaged(self) -> bool:
        """Whether something of it cannot be read at all."""
        return any(fault.code != "record.unknown_field" for fault in self.faults)


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

    def rows(self, split: str) -> Rows:
        """The rows that are trained (`train`) or held out (`eval`)."""
        return Rows(self.path, split)

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def result(self) -> Path | None:
        """The trained weights' folder, once complete: both are renamed into place."""
        with contextlib.suppress(OSError):  # a folder that may not be read
            return next((path for path in (self.adapter, self.model) if path.is_dir()), None)
        return None

    def is_run(self) -> bool:
        try:
            return self.path.is_dir() and any((self.path / name).exists() for name in FILES)
        except OSError:  # it may not be read; `facts` says so
            return True

    def facts(self) -> Facts:
        """Of any folder, in any state."""
        info, faults = self._info()
        recipe, more = self._recipe()
        return Facts(info, recipe, (*faults, *more))

    def info(self) -> RunInfo:
        """Raises `Problem` (`record.*`)."""
        info, faults = self._info()
        if faults:
            raise faults[0]
        return info

    def recipe(self) -> Recipe:
        """Raises `Problem` (`record.*`)."""
        recipe, faults = self._recipe()
        if faults or recipe is None:
            raise faults[0]
        return recipe

    def _info(self) -> tuple[RunInfo, list[Problem]]:
        """A copied folder keeps what was written into it; its id is its own name."""
        values: dict[str, Any] = {}
        try:
            data = formats.without_format(read_record(self.path / "run.json"), INFO_FORMAT, "run.json")
            values, faults = checked_fields(RunInfo, data, "run.json")
        except Problem as problem:
            faults = [problem]
        if not values.get("name", "").strip():
            values.pop("name", None)
        standing_in = {
            "name": self.id,
            "created": self._changed(),
            "dataset_id": "",
            "dataset_name": "",
            "fingerprint": "",
        }
        return RunInfo(**{**standing_in, **values, "id": self.id}), faults

    def _changed(self) -> float:
        """Epoch seconds."""
        with contextlib.suppress(OSError):
            return max(0.0, self.path.stat().st_mtime)
        return 0.0

    def _recipe(self) -> tuple[Recipe | None, list[Problem]]:
        """Of an older version what is missing takes its default; what a newer one added is named."""
        try:
            data = formats.without_format(read_record(self.path / "recipe.json"), recipe_file.FORMAT, "recipe.json")
            faults = unknown_fields(data, FIELDS, "recipe.json")
            return Recipe.from_dict({name: value for name, value in data.items() if name in FIELDS}), faults
        except Problem as problem:
            return None, [problem if problem.code.startswith("record.") else _in_recipe(problem)]

    def complete_checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first. A folder without its marker was being written when the worker died."""
        found = [path for path in self.checkpoints.glob("checkpoint-*") if (path / COMPLETE).is_file()]
        return sorted(filter(_is_checkpoint, found), key=checkpoint_step)

    def drop_incomplete_checkpoints(self) -> list[str]:
        """Remove what was being written when a worker ended; the names."""
        complete = self.complete_checkpoints()
        dropped = [
            path for path in self.checkpoints.glob("checkpoint-*") if path not in complete and _is_checkpoint(path)
        ]
        for path in dropped:
            shutil.rmtree(path)
        return [path.name for path in dropped]

    def add_learned(self, learned: dict[str, Any]) -> None:
        """Into `run.json`; one that is damaged is left as it is."""
        with contextlib.suppress(Problem):
            self._write_info(replace(self.info(), learned=learned))

    def write_start(self, info: RunInfo, recipe: Recipe) -> None:
        """The files of a run that does not exist yet; the caller renames the folder into place."""
        self._write_info(info)
        write_json(self.path / "recipe.json", {formats.KEY: recipe_file.FORMAT, **recipe.to_dict()})

    def _write_info(self, info: RunInfo) -> None:
        write_json(self.path / "run.json", {formats.KEY: INFO_FORMAT, **asdict(info)})


def checkpoint_step(path: Path) -> int:
    return int(path.name.rsplit("-", 1)[1])


def _is_checkpoint(path: Path) -> bool:
    return CHECKPOINT.fullmatch(path.name) is not None


def _in_recipe(problem: Problem) -> Problem:
    """A recipe's own refusal of a value, as a fault of the file."""
    about = problem.params
    value = about.get("value") or about.get("allowed", "")
    return Problem("record.bad_value", file="recipe.json", key=about.get("field", ""), value=value)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system has them, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
