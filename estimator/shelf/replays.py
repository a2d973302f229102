"""Reserved memory of recipes that were traced and replayed on this machine: found again without torch, by structure and
sizes."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path

from estimator.core import home
from estimator.hardware.platforms import Platform
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches
from estimator.recipe.recipe import Recipe
from estimator.shelf import laws


def find(
    recipe: Recipe,
    model: Model,
    loop: str,
    platform: Platform,
    versions: dict[str, str],
    cache_dir: Path | None = None,
    batches: Batches = Batches(),
) -> int | None:
    """Peak reserved bytes of the replay of this very recipe, if one was kept; under 0.1 ms. `versions`: those of its
    law."""
    path = _path(recipe, model, loop, platform, versions, cache_dir, batches)
    try:
        return _read(path, os.stat(path).st_mtime_ns).get(_sizes(recipe, platform, batches))
    except OSError:
        return None


def keep(
    reserved_bytes: int,
    recipe: Recipe,
    model: Model,
    loop: str,
    platform: Platform,
    versions: dict[str, str],
    cache_dir: Path | None = None,
    batches: Batches = Batches(),
) -> None:
    """Beside the other sizes of its structure."""
    path = _path(recipe, model, loop, platform, versions, cache_dir, batches)
    try:
        kept = dict(_read(path, os.stat(path).st_mtime_ns)) if path.is_file() else {}
    except OSError:
        return
    home.keep_json(path, kept | {_sizes(recipe, platform, batches): reserved_bytes})
    _read.cache_clear()


def _sizes(recipe: Recipe, platform: Platform, batches: Batches) -> str:
    """What a law has as variables or adds itself, but a replay does not."""
    rank, clips = recipe.r if recipe.has_adapters else 0, () if recipe.max_grad_norm else ("unclipped",)
    sizes = (
        recipe.per_device_train_batch_size,
        recipe.max_length,
        rank,
        recipe.optim,
        platform.workspace_bytes,
        batches.trained_share,
        *clips,
    )
    return ",".join(map(str, sizes))


def _path(
    recipe: Recipe,
    model: Model,
    loop: str,
    platform: Platform,
    versions: dict[str, str],
    cache_dir: Path | None,
    batches: Batches,
) -> Path:
    name = file_name(model, laws.key_of(recipe, loop, platform, batches), tuple(versions.items()))
    return (cache_dir or home.cache()) / "replays" / name


@functools.lru_cache(maxsize=1024)
def file_name(model: Model, key: str, versions: tuple[tuple[str, str], ...]) -> str:
    """Of what is kept for a law of a model that was traced with these versions of libraries."""
    text = json.dumps([model.config, key, dict(versions)], sort_keys=True, ensure_ascii=False)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


@functools.lru_cache(maxsize=256)
def _read(path: Path, written_ns: int) -> dict[str, int]:
    """`written_ns` makes what another process wrote since a new question."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: value for name, value in kept.items() if isinstance(value, int)} if isinstance(kept, dict) else {}
