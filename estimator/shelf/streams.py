"""Streams kept on this machine, and reserved memory by them: a replay of the very recipe in a fraction of a second,
without torch."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

from estimator.core import home
from estimator.hardware.platforms import Platform
from estimator.law.law import Law
from estimator.memory.replay import replay_run
from estimator.memory.stream import Stream
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches, shape
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from estimator.shelf import laws, replays


def reserved_bytes(
    recipe: Recipe,
    model: Model,
    loop: str,
    platform: Platform,
    law: Law,
    step_temporary_bytes: int,
    derive: bool,
    cache_dir: Path | None = None,
    batches: Batches = Batches(),
) -> int | None:
    """Peak reserved bytes by the replay of the law's step, or None where its stream is not at hand or its layers do not
    repeat.

    With `derive` a stream that is not at hand is traced (about a second for a decoder) and kept, also that there is
    none; but not beside a law that is shipped, whose answer takes no torch.
    """
    if law.engine != "traced" or not model.config:
        return None
    key = laws.place_of(law, recipe, loop, platform, batches)
    path = _path(model, key, law.versions, cache_dir)
    if derive and not path.is_file() and not laws.is_shipped(model, key):
        home.keep_json(path, _traced(recipe, model, loop, platform, batches))
    try:
        stream = _read(path, os.stat(path).st_mtime_ns)
    except OSError:
        return None
    if stream is None:
        return None
    kept, step = stream.at(law.phi(*shape(recipe), recipe.r, batches.trained_share), recipe.r)
    return replay_run(
        recipe,
        LOOPS[loop],
        kept,
        step,
        platform.workspace_bytes,
        step_temporary_bytes=step_temporary_bytes,
    ).peak_reserved_bytes


def _traced(recipe: Recipe, model: Model, loop: str, platform: Platform, batches: Batches) -> dict:
    try:
        from estimator.trace.stream_trace import derive_stream

        return derive_stream(recipe, model.known_config, loop, platform, model.inventory.class_name, batches).to_dict()
    except Exception as error:  # as in `laws.traced`; the law is there, its range is wider
        return {"none": f"{type(error).__name__}: {error}"[:200]}


def _path(model: Model, key: str, versions: dict[str, str], cache_dir: Path | None) -> Path:
    return (cache_dir or home.cache()) / "streams" / replays.file_name(model, key, tuple(versions.items()))


@functools.lru_cache(maxsize=64)
def _read(path: Path, written_ns: int) -> Stream | None:
    """`written_ns` makes what another process wrote since a new question."""
    try:
        return Stream.from_dict(json.loads(path.read_text("utf-8")))
    except (ValueError, KeyError, TypeError):
        return None
