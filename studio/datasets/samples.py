"""The sample files that ship with the studio: `<name>.<language>.<shape>.<format>`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from estimator.core.problems import Problem
from studio import shipped
from studio.datasets.kinds import FORMATS
from studio.datasets.store import SHAPES


@dataclass(frozen=True)
class Sample:
    name: str
    language: str
    shape: str
    format: str
    path: Path

    @property
    def id(self) -> str:
        """The file's name."""
        return self.path.name


def samples() -> list[Sample]:
    """All samples; the largest of each language, which are for training and not for trying a format, come first."""
    if not shipped.samples().is_dir():
        return []
    found = []
    for file in shipped.samples().iterdir():
        parts = file.name.split(".")
        if len(parts) == 4 and parts[2] in SHAPES and f".{parts[3]}" in FORMATS:
            name, language, shape, kind = parts
            found.append((-file.stat().st_size, Sample(name, language, shape, kind, file)))
    return [sample for _, sample in sorted(found, key=lambda pair: (pair[1].language, pair[0]))]


def sample(id: object) -> Sample:
    """The sample of that file name; `Problem` `dataset.no_sample` for anything else."""
    for one in samples():
        if one.id == id:
            return one
    raise Problem("dataset.no_sample", field="sample", value=str(id)[:80])
