"""The models of the measured rows as a hub would show them: config, and a safetensors file that is all header."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from estimator.model.catalog import load_preset, models, presets_dir
from estimator.model.inventory import Inventory

DTYPE, WIDTH_BYTES = "BF16", 2
"""What the files are written in; not every preset's config states it, and no compared figure depends on it."""


def fill(folder: Path, ids: Iterable[str]) -> tuple[dict[str, Path | str], dict[str, dict[str, Any]]]:
    """Write a repository for each preset into `folder`: what `tests.hub.serve` takes, folders and infos by id."""
    repositories: dict[str, Path | str] = {}
    about = {}
    for id in ids:
        inventory = load_preset(id).inventory
        config = json.loads((presets_dir() / "configs" / f"{models()[id].stem}.json").read_text("utf-8"))
        repository = folder / models()[id].stem
        repository.mkdir()
        (repository / "config.json").write_text(json.dumps(config), "utf-8")
        (repository / "model.safetensors").write_bytes(safetensors_header(inventory))
        total = inventory.total_parameters
        counts = {"parameters": {DTYPE: total}, "total": total}
        about[id] = {"config": config, "library_name": "transformers", "safetensors": counts}
        repositories[id] = repository
    return repositories, about


def safetensors_header(inventory: Inventory) -> bytes:
    """Length and header of the file that `save_pretrained` would write: every tensor once, tied ones under one name."""
    header, end = {}, 0
    for group in inventory.groups:
        for name in group.names:
            for parameter in (p for p in group.parameters if p.tied is None):
                begin, end = end, end + parameter.numel * WIDTH_BYTES
                header[f"{name}.{parameter.name}"] = {
                    "dtype": DTYPE,
                    "shape": parameter.shape,
                    "data_offsets": [begin, end],
                }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text
