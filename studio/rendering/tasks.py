"""What a task means for rows: how they become tokens, and batches. The names and the libraries' part stand in
`estimator.recipe.tasks`.

Preview and training read this record; a second task is a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from estimator.recipe.recipe import Recipe
from estimator.recipe.tasks import CAUSAL_LM, Task
from studio.rendering.batches import fitted_rows
from studio.rendering.row_tokens import Dropped, Encoded, collator

Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class RowTask:
    """How rows are read for a task."""

    encode: Callable[
        [Any, Iterable[dict[str, Any]], Recipe, Cancelled], Iterator[tuple[dict[str, Any], list[Encoded] | Dropped]]
    ]
    """`(tokenizer, rows, recipe, cancelled)` to each row with the examples that it becomes, or why it is left out."""
    columns: tuple[str, ...]
    """Of an `Encoded`: what the trainer is given of each example, lists of 32-bit numbers."""
    collator: Callable[[Any], Any]
    """Of a tokenizer: examples to a batch, as the trainer makes it."""


ROW_TASKS: dict[str, RowTask] = {CAUSAL_LM.name: RowTask(fitted_rows, ("input_ids", "labels"), collator)}


def rows_of(task: Task) -> RowTask:
    return ROW_TASKS[task.name]
