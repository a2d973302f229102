"""The kinds of jobs there are, and the places that do them. A new one is a line here."""

from __future__ import annotations

from studio.jobs.here import Here
from studio.jobs.job import Kind, Place
from studio.jobs.train import Train
from studio.space import Space

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Train(),)}


def places(space: Space) -> dict[str, Place]:
    """By the name that `run.json` keeps."""
    return {"here": Here(space)}
