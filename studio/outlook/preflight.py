"""What can be said before a run starts: is the recipe possible here, and how much memory will it take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.estimates.estimate import check, estimate
from estimator.estimates.parts import cpu_growth
from estimator.hardware.devices import check_machine, check_optimizer_installed
from estimator.memory.stored import as_loaded
from estimator.model.catalog import Model
from estimator.model.recurrent import check_installed
from estimator.recipe.recipe import Recipe
from studio.get.known import wheel_of
from studio.jobs.machine import Machine, this_machine
from studio.models.find import EMBEDDED_ID, find_model, local_folder
from studio.protocol.client import Worker
from studio.space import Space

# A hub id whose config cannot be had from here and now: the worker asks with this machine's login, and checks again.
NOT_HERE_YET = ("hub.not_found", "hub.gated", "hub.private", "hub.unreachable", "hub.late", "hub.offline")


@dataclass(frozen=True)
class Prediction:
    """The peak a run is expected to reach on `machine`, or why nobody knows."""

    machine: Machine
    predicted_bytes: int | None
    """Allocated on CUDA; elsewhere the growth of the worker's resident memory, were everything freed given back."""
    unknown: Problem | None = None
    recipe: Recipe | None = None
    """The recipe as it will run on the repository's own storage; None where nobody knows."""
    high_bytes: int | None = None
    """The upper end of the growth; None on CUDA, where allocated memory has no range."""

    def words(self) -> dict[str, Any]:
        return {
            "device": self.machine.name,
            "predicted": human_bytes(self.predicted_bytes or 0),
            "usable": human_bytes(self.machine.usable_bytes),
            "tokens": f"{self.recipe.max_length:,}" if self.recipe else "?",
        }


def preflight(space: Space, recipe: Recipe, trace_worker: Worker, folders: bool) -> Prediction:
    """Raises `Problem` for what cannot run here; otherwise the prediction. Without `folders` (a visitor asks) none is
    looked at.

    Presets and folders are judged whole. A folder's weights and tokenizer are looked at by the trace worker, since
    knowing what Transformers can load needs Transformers.
    """
    one_device(recipe)
    machine = this_machine()
    check_machine(recipe, machine.device)
    try:
        model = find_model(space, recipe.model, trace_worker, folders)
    except Problem as problem:
        if problem.code in NOT_HERE_YET and looks_like_hub_id(recipe.model):
            return Prediction(machine, None, problem)
        raise
    if any(note.code == "model.from_headers" for note in model.notes):  # before its weights are downloaded
        raise Problem(
            "base.remote_code", field="model", value=recipe.model, files=f"model_type {model.spec.model_type}"
        )
    prediction = judge(recipe, model, machine)
    looked_at = (folders or wheel_of(recipe.model)) and recipe.model != EMBEDDED_ID
    if looked_at and (folder := local_folder(space, recipe.model)):
        trace_worker.call("check_base", model=str(folder))
    return prediction


def one_device(recipe: Recipe) -> None:
    """Raises `Problem` for several: the worker is one process."""
    if recipe.num_processes > 1:
        raise Problem(
            "train.many_devices", field="num_processes", value=recipe.num_processes, kind=recipe.distributed_type
        )


def judge(recipe: Recipe, model: Model, machine: Machine, padded: bool = False) -> Prediction:
    """The prediction for a known model. Raises `Problem` for what it cannot take, or what does not fit in memory.

    `padded`: the rows are known to differ in length.
    """
    for problem in check(recipe, model=model):
        raise problem
    check_installed(recipe, model)
    check_optimizer_installed(recipe)
    loaded = as_loaded(recipe, model.stored_config, model.name)
    prediction = _predicted(loaded, model, machine, padded)
    if prediction.predicted_bytes > machine.usable_bytes:
        raise Problem("train.memory", field="per_device_train_batch_size", **prediction.words())
    return prediction


def _predicted(recipe: Recipe, model: Model, machine: Machine, padded: bool) -> Prediction:
    if machine.device == "cuda":
        return Prediction(machine, estimate(recipe, model=model, padded=padded).peak_allocated_bytes, recipe=recipe)
    growth = cpu_growth(recipe, model=model, padded=padded)
    return Prediction(machine, growth.growth_bytes, recipe=recipe, high_bytes=growth.high_bytes)


def looks_like_hub_id(name: str) -> bool:
    """`org/name`, and no path of this machine."""
    parts = name.split("/")
    return len(parts) == 2 and all(part and not part.startswith((".", "~")) for part in parts)
