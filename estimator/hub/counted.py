"""Inventories counted on this machine, kept in a folder the caller names: one JSON file a configuration.

A file is found again by the content of the config, so an edited config.json is counted anew; a file of another format
is not read.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from estimator.model.inventory import FORMAT, Inventory


def fingerprint(config: dict[str, Any]) -> str:
    """Names a configuration by content; key order does not matter."""
    text = json.dumps(config, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(f"{FORMAT}\n{text}".encode()).hexdigest()[:32]


def load(directory: Path, config: dict[str, Any]) -> Inventory | None:
    """The inventory counted earlier, or None. A broken file counts as none: it is made again."""
    try:
        return Inventory.from_json(json.loads(_path(directory, config).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def store(directory: Path, config: dict[str, Any], inventory: Inventory) -> None:
    """Keep an inventory; a reader never sees half a file."""
    path = _path(directory, config)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(inventory.to_json(), separators=(",", ":")), encoding="utf-8")
    part.replace(path)


def _path(directory: Path, config: dict[str, Any]) -> Path:
    return Path(directory) / f"{fingerprint(config)}.json"
