"""What can be said before a run starts: is the recipe possible here, and how much memory will it take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from estimator.problems import Problem
from estimator.program import check_machine
from estimator.recipe import Recipe
from estimator.units import human_bytes
from studio.machine import Machine, this_machine
from studio.workers.client import Worker


@dataclass(frozen=True)
class Prediction:
    """The peak a run is expected to reach on `machine`, or why nobody knows."""

    machine: Machine
    predicted_bytes: int | None
    unknown: Problem | None = None

    def words(self) -> dict[str, Any]:
        return {
            "device": self.machine.name,
            "predicted": human_bytes(self.predicted_bytes or 0),
            "usable": human_bytes(self.machine.usable_bytes),
        }


def preflight(recipe: Recipe, trace_worker: Worker) -> Prediction:
    """Raises `Problem` for what cannot run here; otherwise the prediction."""
    machine = this_machine()
    check_machine(recipe, machine.device)
    return Prediction(machine, None)
