"""How a base is named to those who were not at this machine: a hub id where there is one, never a path."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from estimator.hub.hubs import parse
from estimator.model.catalog import models
from estimator.model.spec import MAX_CONFIG_BYTES

_IN_HUB_CACHE = re.compile(r"models--([\w.\-]+?)--([\w.\-]+)")


def shared_name(model: str) -> str:
    """A preset's id or a hub id without its hub; of a folder the id that the hub's cache or its own config.json has for
    it, else its last name."""
    if model in models():
        return model
    if not _is_path(model) and (hub := parse(model)):
        return hub.repo
    for part in reversed(re.split(r"[/\\]", model)):
        if cached := _IN_HUB_CACHE.fullmatch(part):
            return f"{cached[1]}/{cached[2]}"
    return _named_in_config(Path(model)) or re.split(r"[/\\]", model.rstrip("/\\"))[-1] or "base"


def hub_id(model: str) -> str | None:
    """`shared_name` where it can stand in a card's `base_model`: an id with an owner."""
    name = shared_name(model)
    return name if parse(name) else None


def _is_path(model: str) -> bool:
    return model.startswith(("/", "~", ".", "\\")) or Path(model).is_absolute() or model[1:3] in (":\\", ":/")


def _named_in_config(folder: Path) -> str | None:
    """What older versions of Transformers wrote of where a model came from."""
    try:
        with (folder / "config.json").open("rb") as file:
            name = json.loads(file.read(MAX_CONFIG_BYTES)).get("_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return name if isinstance(name, str) and not _is_path(name) and parse(name) else None


def without_paths(value: Any, model: str) -> Any:
    """A JSON value in which every text that is the folder `model`, or begins with it, has the base's shared name
    instead."""
    if not _is_path(model):
        return value
    if isinstance(value, dict):
        return {key: without_paths(entry, model) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_paths(entry, model) for entry in value]
    return shared_name(model) if isinstance(value, str) and value.startswith(model) else value
