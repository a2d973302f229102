"""The exact law of a structure that no law is at hand for: asked of the trace worker, which keeps it where estimates
look.

The page has shown the closed form by then, marked. What cannot be traced is remembered for as long as this process
lives, so that it is tried and said once. No torch here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from typing import Any

from estimator.core.problems import Problem
from estimator.estimates.estimate import Estimate
from estimator.law.question import Question
from estimator.parallel import plan
from estimator.shelf import laws
from studio.protocol.client import Worker
from studio.space import Space

LOOP = "trl"
REMEMBERED = 1000
_tried: dict[str, Problem | None] = {}
_lock = threading.Lock()


def is_approximate(made: Estimate) -> bool:
    """Whether a closed form, or a neighbour's law, stands in for a traced one of its own."""
    return made.engine in ("analytic", "nearest")


def can_be_traced(made: Estimate) -> bool:
    """Whether asking the worker may help: there is a configuration to build, and it was not tried before."""
    return is_approximate(made) and bool(made.source.parts.model.config) and _key(made) not in _tried


def why_not(made: Estimate) -> Problem | None:
    """Why its structure could not be traced, where that is known."""
    return _tried.get(_key(made))


def derive(
    space: Space, made: Estimate, worker: Worker, within_seconds: float | None = None, evaluation: bool = False
) -> None:
    """Ask for the law of `made`'s structure and wait for it (about a second from a warm worker), at most so long; with
    `evaluation` also for that of its evaluations, which the worker traces next in any case."""
    parts, recipe = made.source.parts, plan.on_device(made.source.recipe)
    key = _key(made)
    asked: dict[str, Any] = {
        "model": parts.model.id,
        "config": parts.model.config,
        "recipe": recipe.to_dict(),
        "cache": str(space.cache),
    }
    asked |= {"platform": dataclasses.asdict(parts.platform), "batches": dataclasses.asdict(parts.batches)}
    try:
        with contextlib.closing(worker.stream("law", within_seconds=within_seconds, **asked)) as events:
            for _ in events:
                if not evaluation:
                    break
        problem = None
    except Problem as found:
        if found.code == "worker.late":  # it goes on, and whoever asks again finds the law
            return
        problem = found
    with _lock:
        if len(_tried) >= REMEMBERED:
            _tried.clear()
        _tried[key] = problem


def _key(made: Estimate) -> str:
    """Of the structure and its size: windows of attention make other laws for longer rows."""
    parts, recipe = made.source.parts, plan.on_device(made.source.recipe)
    structure = laws.key_of(Question(recipe, parts.model, LOOP, parts.platform, parts.batches))
    return f"{parts.model.id} {structure} {recipe.max_length.bit_length()}"
