"""Rows of another shape than their file: the first rows decide how a file is read, and what comes later may be
something else."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from studio.datasets.shapes.columns import COLUMNS
from studio.datasets.shapes.formats import recognise
from studio.datasets.source import RowError

PLAIN = ("alpaca", "sharegpt", "openai", "text")
"""Shapes of which every row is trained."""
_MARKED = ("preference", "unpaired")
_MARKS = frozenset(name for part in ("chosen", "rejected", "verdict", "label") for name in COLUMNS[part])


class OtherShapes:
    """Asked about each row. In a file of one of the `PLAIN` shapes a row that marks answers as good or bad would be
    trained whole, the bad answer too: it is left out. A row that cannot be read as its file is, and could be as
    something else, says so."""

    def __init__(self, shape: str, columns: dict[str, str], is_class: bool = False) -> None:
        self.shape = shape
        self._label = columns.get("label") if is_class else None

    def check(self, row: object) -> None:
        """Raises `RowError` `other_shape`."""
        if self.shape in PLAIN and isinstance(row, dict) and _may_mark(tuple(row)):
            found = self._found(row)
            if found in _MARKED:
                raise RowError("other_shape", shape=found, expected=self.shape)

    def instead(self, row: object, error: RowError) -> RowError:
        """The reason for a row that could not be read: that it has another shape, where it has."""
        if self.shape not in PLAIN or not isinstance(row, dict):
            return error
        found = self._found(row)
        if found in (None, "message", self.shape):
            return error
        return RowError("other_shape", shape=found, expected=self.shape)

    def _found(self, row: dict[str, Any]) -> str | None:
        try:
            return recognise({name: value for name, value in row.items() if name != self._label})
        except RecursionError:
            return None


@lru_cache(maxsize=256)
def _may_mark(names: tuple[str, ...]) -> bool:
    return any(name.strip().lower() in _MARKS for name in names)
