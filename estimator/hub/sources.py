"""From a model's name to its tensors: a preset, a local folder, a hub id, or a config.json that was pasted.

`load_model` needs no torch and answers for what is shipped or was counted before; `open_model` counts where torch is
installed. Nothing is executed from a folder or a repository.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from estimator.core import home
from estimator.core.problems import Problem
from estimator.core.time_limit import COUNTING_SECONDS, at_most
from estimator.hub import counted, hub
from estimator.hub.hubs import parse
from estimator.memory.stored import left_alone
from estimator.model import catalog, headers, names
from estimator.model.catalog import Model
from estimator.model.headers import BadHeader, Stored
from estimator.model.inventory import Inventory
from estimator.model.spec import ModelSpec, read_config

INVENTORIES = "inventories"
"""Folder of counted models inside a cache folder (`estimator.hub.counted`)."""


@dataclass(frozen=True, eq=False)
class UncountedModel:
    """A model before it is counted: its config, and what its checkpoint holds where headers were at hand."""

    name: str
    config: dict[str, Any]
    stored: Stored | None = None
    notes: tuple[Problem, ...] = ()

    def model(self, inventory: Inventory) -> Model:
        """The model with this inventory, and warnings about how it was counted."""
        spec = ModelSpec.from_config(self.config)
        return Model(
            self.name, left_alone(inventory, self.config), spec, self.notes + self._doubts(inventory, spec), self.config
        )

    def _doubts(self, inventory: Inventory, spec: ModelSpec) -> tuple[Problem, ...]:
        if inventory.class_name == headers.CLASS_NAME:
            return (Problem("model.from_headers", field="model", value=self.name, model_type=spec.model_type),)
        return headers.cross_check(self.name, self.stored, inventory, spec) if self.stored else ()


def local_folder(name: str) -> Path | None:
    """The folder of this machine that `name` means, if there is one."""
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long for a path, no such user, a null byte
        return None


def open_source(
    name: str, cache_dir: Path | None = None, token: str | Literal[False] | None = None, folders: bool = True
) -> UncountedModel:
    """The config and the headers of a folder or a hub id; a folder goes first, where `folders` are allowed. `token` as
    in `hub.fetch`. Raises `Problem`."""
    if folders and (folder := local_folder(name)):
        config = read_config(folder)
        ModelSpec.from_config(config)  # what is wrong with the config goes before what is wrong with the weights
        return _with_local_headers(UncountedModel(name, config), folder)
    name = names.plain_id(name)
    if parse(name) is None:
        raise catalog.unknown_model(name)
    fetched = hub.fetch(name, cache_dir, token)
    return UncountedModel(name, fetched.config, fetched.stored, fetched.notes)


def _with_local_headers(source: UncountedModel, folder: Path) -> UncountedModel:
    try:
        tensors = headers.read_folder(folder)
        held = headers.stored(tensors, source.config) if tensors else None
    except (BadHeader, OSError) as error:
        note = Problem("model.headers_unread", field="model", value=source.name, reason=str(error)[:200])
        return UncountedModel(source.name, source.config, None, (note,))
    return UncountedModel(source.name, source.config, held)


def load_model(name: str, cache_dir: Path | None = None, token: str | Literal[False] | None = None) -> Model:
    """A preset, or a folder or hub id whose tensors were counted before and kept in `cache_dir`. Never imports torch.

    Raises `Problem`: model.not_counted for what has yet to be counted (`open_model`, or a trace worker), model.unknown,
    `hub.*` and whatever is wrong with the config.
    """

    def counted(source: UncountedModel) -> Model:
        inventory = counted_before(source, cache_dir) if cache_dir else None
        if inventory is None:
            raise Problem("model.not_counted", field="model", value=name)
        return source.model(inventory)

    return _asked(name, cache_dir, token, counted)


UNANSWERED = ("hub.offline", "hub.unreachable", "hub.late")
CLOSED = ("hub.gated", "hub.private")


def by_name(name: str, refusal: Problem | None = None) -> Model | None:
    """The preset that answers for a name (`estimator.model.names`), or None.

    An id of the table, and a name without owner, are answered without asking a hub; whatever else a name may tell
    counts only where the hub could not say (`refusal`), since the repository itself knows better. Raises
    `model.ambiguous`, `model.other_structure`.
    """
    meaning = names.meant(name)
    if meaning is None:
        return None
    unasked = refusal is not None and refusal.code in UNANSWERED
    if meaning.known.differs:
        return names.model(meaning) if unasked or parse(names.plain_id(name)) is None else None
    if meaning.is_certain or unasked or (refusal is not None and refusal.code in CLOSED):
        return names.model(meaning)
    return None


def _asked(
    name: str, cache_dir: Path | None, token: str | Literal[False] | None, counted: Callable[[UncountedModel], Model]
) -> Model:
    """A preset, a folder, a name that is known, a hub's answer, or what the name tells: in this order."""
    if name in catalog.models():
        return catalog.load_preset(name)
    if local_folder(name) is None and (model := by_name(name)):
        return model
    try:
        return counted(open_source(name, cache_dir, token))
    except Problem as problem:
        if model := by_name(name, problem):
            return model
        raise


def counted_before(source: UncountedModel, cache_dir: Path) -> Inventory | None:
    """What an earlier count left in the cache folder."""
    return counted.load(cache_dir / INVENTORIES, source.config)


def open_model(name: str, cache_dir: Path | None = None, token: str | Literal[False] | None = None) -> Model:
    """The same, counted on the spot where it has to be. Raises model.not_counted where torch is not installed."""
    cache_dir = cache_dir or home.cache()
    kept = cache_dir
    return _asked(name, cache_dir, token, lambda source: _counted(source, kept))


def model_from_config(config: dict[str, Any], name: str = "config.json", cache_dir: Path | None = None) -> Model:
    """The model that the content of a config.json describes, under a name of the caller's choice. Raises `Problem`."""
    ModelSpec.from_config(config)
    return _counted(UncountedModel(name, config), cache_dir or home.cache())


def _counted(source: UncountedModel, cache_dir: Path) -> Model:
    inventory = counted_before(source, cache_dir)
    if inventory is None:
        inventory = count(source)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not the answer
            counted.store(cache_dir / INVENTORIES, source.config, inventory)
    return source.model(inventory)


def count(source: UncountedModel) -> Inventory:
    """The tensors as Transformers builds them; of a model that needs code of its own, as its headers name them.

    Raises `Problem`: model.not_counted without torch, model.remote_code or model.packed where headers are missing or
    do not tell.
    """
    try:
        from estimator.trace import meta_model
    except ImportError:
        raise Problem("model.not_counted", field="model", value=source.name) from None
    model_type = source.config["model_type"]
    if meta_model.knows(model_type):
        with at_most(COUNTING_SECONDS):
            return meta_model.derive(source.config)
    if source.stored is None:
        raise Problem("model.remote_code", field="model", value=source.name, model_type=model_type)
    if source.stored.packed:
        raise Problem(
            "model.packed",
            field="model",
            value=source.name,
            model_type=model_type,
            types=", ".join(source.stored.packed),
        )
    return source.stored.inventory
