"""Rows by what a base makes of them: too long, cut, nothing of them trained, something of them not written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.rows import SPLITS
from studio.datasets.searching import STORED, Query, Tell, found
from studio.datasets.store import DatasetInfo
from studio.rendering.preview import Measured, left_out

NOTHING = ("nothing_trained", "cut_untrained")
NOT_WRITTEN = ("answer_left_out", "turn_left_out", "tools_left_out")


def find(
    info: DatasetInfo,
    query: Query,
    recipe: Recipe | None = None,
    measured: Measured | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    tell: Tell = lambda event: None,
) -> np.ndarray:
    """Places in `info.rows()`; of a base's problems among the measured rows alone. Raises `Problem`
    `dataset.find_unmeasured` for such a problem without a base."""
    if not query.problem or query.problem in STORED:
        return found(info, query, cancelled, tell)
    if recipe is None or measured is None:
        raise Problem("dataset.find_unmeasured", field="model")
    places = np.array(_places(info, measured), np.int64)
    return found(info, query, cancelled, tell, places[list(_having(query.problem, recipe, measured))])


def _places(info: DatasetInfo, measured: Measured) -> Iterator[int]:
    """Of each measured row: of every split each `step`-th was."""
    splits, first = info.rows().splits(), 0
    for index, split in enumerate(SPLITS):
        last = measured.bounds[split]
        yield from np.flatnonzero(splits == index)[:: measured.step][: max(0, last - first)].tolist()
        first = max(first, last)


def _having(problem: str, recipe: Recipe, measured: Measured) -> Iterator[int]:
    """Indices of measured rows with a problem."""
    reasons = [one and one.reason for one in left_out(measured, recipe)]
    noted = {at for note, places in measured.notes.items() for at in places}
    for at, (reason, length) in enumerate(zip(reasons, measured.lengths.tolist(), strict=True)):
        over = length > recipe.max_length or reason == "too_long"
        is_so: dict[str, Any] = {
            "left_out": reason is not None,
            "too_long": over,
            "cut": over and reason is None,
            "nothing_trained": reason in NOTHING,
            "not_written": reason in NOT_WRITTEN or at in noted,
        }
        if is_so[problem]:
            yield at
