"""The kind of job that trains."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.rows import row_files
from studio.datasets.store import DatasetInfo, missing_files
from studio.jobs.folder import RunFolder, RunInfo, link_or_copy
from studio.jobs.journal import Course
from studio.jobs.learned import Learned, learned

KIND = "train"


class Train:
    """A base, rows and a recipe become an adapter or a model."""

    name = KIND
    worker = "studio.workers.train"

    def missing(self, run: RunFolder) -> Problem | None:
        return next((Problem("record.missing", file=name) for name in missing_files(run.path)), None)

    def outcome(self, recipe: Recipe, course: Course) -> Learned | None:
        """Whether it learned."""
        return learned(recipe, course)


@dataclass(frozen=True)
class TrainJob:
    """`recipe` on `dataset`. The rows are linked into the run's folder: deleting the dataset takes nothing from it."""

    recipe: Recipe
    dataset: DatasetInfo
    name: str = ""
    predicted_bytes: int | None = None
    place: str = "here"
    kind: str = KIND

    def write(self, run: RunFolder) -> RunInfo:
        info = RunInfo(
            id=run.id.removeprefix("."),
            name=clean_name(self.name) or default_name(self.recipe),
            created=time.time(),
            dataset_id=self.dataset.id,
            dataset_name=self.dataset.name,
            fingerprint=self.dataset.fingerprint,
            predicted_bytes=self.predicted_bytes,
            kind=self.kind,
            place=self.place,
        )
        run.write_start(info, self.recipe)
        for name in row_files(self.dataset.folder):
            link_or_copy(self.dataset.folder / name, run.path / name)
        return info


def clean_name(name: str) -> str:
    """A run's name: one line of printable text, at most 80 characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:80]


def default_name(recipe: Recipe) -> str:
    method = {"qlora": f"qlora-{recipe.quantization}"}.get(recipe.method, recipe.method)
    rank = f" r{recipe.r}" if recipe.has_adapters else ""
    model = re.split(r"[/\\]", recipe.model.rstrip("/"))[-1]
    return clean_name(f"{model} {method}{rank}")
