"""What is known of a run before it starts: the machine, the time, whether memory holds it, and whether the base can be
had.

Memory that does not fit, or a base that no run could load, is refused at the start (`studio.outlook.preflight`). What
could be begun and would lead nowhere (days of work, a base that cannot come) needs a yes that names it.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from estimator.core.problems import Problem
from estimator.core.units import human_bytes, width_bytes
from estimator.hub.hubs import ModelScope, parse
from estimator.memory.stored import storage_of
from estimator.model.catalog import Model, models
from estimator.recipe import schedules
from estimator.recipe.recipe import Recipe
from studio.datasets.store import DatasetInfo
from studio.get import copy
from studio.get.known import wheel_of
from studio.jobs.machine import Machine, this_machine
from studio.jobs.supervisor import Supervisor
from studio.models.downloads import modelscope_folder
from studio.models.find import EMBEDDED_ID, base_name, find_model, local_folder
from studio.outlook.pace import Pace, pace_of
from studio.outlook.preflight import NOT_HERE_YET, judge, one_device
from studio.protocol.client import Worker
from studio.space import Space

HOPELESS_S = 24 * 3600.0
"""A run that takes longer than this at the least is started only by somebody who said yes to it."""
CANNOT_COME = (
    "outlook.base_offline",
    "outlook.base_no_space",
    "hub.not_found",
    "hub.private",
    "hub.unreachable",
    "hub.offline",
)


@dataclass(frozen=True)
class Outlook:
    """`base` and `memory` are sentences; `memory` is the refusal where it does not fit. `hopeless`: what a start must
    be told to overlook."""

    machine: Machine
    base: Problem
    memory: Problem | None
    pace: Pace | None
    hopeless: tuple[Problem, ...] = ()
    settings: tuple[Problem, ...] = ()
    """What the run will not do as its settings read."""

    @property
    def fits(self) -> bool:
        """Whether it does for sure."""
        return self.memory is None or self.memory.code == "outlook.memory"


def outlook(
    space: Space,
    recipe: Recipe,
    dataset: DatasetInfo | None,
    runs: Supervisor,
    trace_worker: Worker | None,
    folders: bool,
) -> Outlook:
    """Raises `Problem` for what cannot be trained here at all."""
    one_device(recipe)
    recipe = recipe.replace(model=base_name(space, recipe.model, folders))
    machine = this_machine()
    model: Model | None = None
    try:
        model = find_model(space, recipe.model, trace_worker, folders)
        base = base_state(space, recipe.model, model)
    except Problem as problem:
        if problem.code not in NOT_HERE_YET:
            raise
        base = problem
    memory = _memory(recipe, model, machine) if model else None
    pace = pace_of(recipe, model, machine, dataset, runs.list()) if model else None
    return Outlook(machine, base, memory, pace, _hopeless(base, pace), tuple(schedules.remarks(recipe)))


def _memory(recipe: Recipe, model: Model, machine: Machine) -> Problem:
    try:
        prediction = judge(recipe, model, machine)
    except Problem as problem:
        return problem
    words = prediction.words() | {"high": human_bytes(prediction.high_bytes or prediction.predicted_bytes or 0)}
    is_sure = (prediction.high_bytes or 0) <= machine.usable_bytes
    return Problem("outlook.memory" if is_sure else "outlook.memory_close", **words)


def _hopeless(base: Problem, pace: Pace | None) -> tuple[Problem, ...]:
    found = [base] if base.code in CANNOT_COME else []
    if pace and pace.run_s and pace.run_s[0] > HOPELESS_S:
        found.append(Problem("outlook.too_long", low_s=pace.run_s[0], high_s=pace.run_s[1]))
    return tuple(found)


def base_state(space: Space, name: str, model: Model) -> Problem:
    """Whether the base's weights are here, and if not what fetching them takes. Asks nobody: only this machine's disk
    is looked at."""
    if name == EMBEDDED_ID:
        return Problem("outlook.base_embedded", value=name)
    if wheel := wheel_of(name):
        here = copy.look(space, wheel).state == copy.WHOLE
        return Problem(
            "outlook.base_here" if here else "outlook.base_wheel",
            value=name,
            name=wheel.name,
            size=human_bytes(wheel.bytes),
        )
    if local_folder(space, name):
        return Problem("outlook.base_folder", value=name)
    said = {"value": name, "size": human_bytes(download_bytes(model))}
    if in_cache(space, name):
        return Problem("outlook.base_here", **said)
    if _is_offline(name):
        return Problem("outlook.base_offline", **said)
    free = shutil.disk_usage(_existing(_cache_folder())).free
    if free < download_bytes(model):
        return Problem("outlook.base_no_space", free=human_bytes(free), **said)
    gated = name in models() and models()[name].gated
    return Problem("outlook.base_gated" if gated else "outlook.base_download", **said)


def download_bytes(model: Model) -> int:
    """Of the weights as the repository has them: in its config's type, packed ones at their bits."""
    config = model.config or {}
    storage = storage_of(config) if config else None
    if storage and storage.bits:
        return model.inventory.total_parameters * storage.bits // 8
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16").removeprefix("torch.")
    return int(
        model.inventory.total_parameters * (width_bytes(dtype) if dtype in ("float32", "float16", "bfloat16") else 2)
    )


def in_cache(space: Space, name: str) -> bool:
    """Whether a whole copy of a hub's weights is on this disk: one file, or all that an index names."""
    hub = parse(name)
    if isinstance(hub, ModelScope):
        folder = modelscope_folder(space, hub)
        return _has_weights(folder)
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json")
    return isinstance(config, str) and _has_weights(Path(config).parent)


def _has_weights(folder: Path) -> bool:
    """The names that Transformers looks for; whether each is whole is the worker's to check."""
    if (folder / "model.safetensors").is_file():
        return True
    try:
        places = json.loads((folder / "model.safetensors.index.json").read_bytes())["weight_map"]
        return all((folder / Path(file).name).is_file() for file in set(places.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _is_offline(name: str) -> bool:
    from huggingface_hub import constants

    return constants.is_offline_mode() and not isinstance(parse(name), ModelScope)


def _cache_folder() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _existing(path: Path) -> Path:
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path(os.sep))
