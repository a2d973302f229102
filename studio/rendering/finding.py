"""Rows by what a base makes of them - too long, cut, nothing of them trained, something of them not written - and by
what a cleaning step would touch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.cleaning import run as cleaning
from studio.datasets.cleaning.record import Choice
from studio.datasets.rows import SPLITS
from studio.datasets.searching import Query, Tell, found
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
    """Places in `info.rows()`; of a base's problems among the measured rows alone, of a cleaning step the first
    `report.PLACES` that it would touch. Raises `Problem` `dataset.find_unmeasured` for a base's problem without a base,
    `dataset.unknown_step`."""
    if query.step:
        return found(info, query, cancelled, tell, _touched(info, query.step, cancelled, tell))
    if not query.needs_base:
        return found(info, query, cancelled, tell)
    if recipe is None or measured is None:
        raise Problem("dataset.find_unmeasured", field="model")
    places = np.fromiter(_places(info, measured), np.int64)
    return found(info, query, cancelled, tell, places[list(_having(query.problem, recipe, measured))])


def _touched(info: DatasetInfo, step: str, cancelled: Callable[[], bool], tell: Tell) -> np.ndarray:
    """As the step with its own settings finds them."""

    def stop() -> None:
        if cancelled():
            raise Problem("worker.cancelled")

    def progress(event: dict[str, Any]) -> None:
        share = event["share"] or 0.0
        tell({"phase": "searching", "done": round(share * info.kept), "of": info.kept, "share": share})

    report = cleaning.look(info.rows(), [Choice(step)], stop, progress, files=cleaning.files_of(info))
    return np.array([at for one in report.steps for at in one.places], np.int64)


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
