"""Rows of a file, each by its own shape: most are of the file's, what comes later may be something else."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from studio.datasets.shapes.columns import COLUMNS
from studio.datasets.shapes.formats import SHAPES, normalise, recognise
from studio.datasets.shapes.record import NO_MAPPING, Mapping, Reading
from studio.datasets.source import RowError

TOGETHER = {"chat": ("chat", "preference", "unpaired"), "preference": ("preference", "chat", "unpaired")}
"""Forms of one file, by the form of most of its rows: conversations, whose good answers all are trained. In a file that
marks its answers one without a mark is neither good nor bad, and a text beside conversations is most often debris; of
these and of all other forms a file has one."""
PLAIN = ("alpaca", "sharegpt", "openai", "text")
"""Shapes of which a row that cannot be read is looked at again: as what else it could be read."""
_MARKED = ("preference", "unpaired")
_MARKS = frozenset(name for part in ("chosen", "rejected", "verdict", "label") for name in COLUMNS[part])


class Mixed:
    """Reads the rows of one file."""

    def __init__(
        self,
        shape: str,
        columns: dict[str, str],
        mapping: Mapping = NO_MAPPING,
        is_class: bool = False,
        is_told: bool = False,
    ) -> None:
        """`columns` are those of a typical row, by part; `is_class`: a `label` there says nothing of good or bad;
        `is_told`: the user said what all rows are."""
        self.shape, self.columns, self._mapping, self._is_told = shape, columns, mapping, is_told
        self._label = columns.get("label") if is_class else None
        self._taken = TOGETHER.get(SHAPES[shape].form, ())
        self._known: set[tuple[str, ...]] = set()
        """The names of rows that were read as the file's shape, and cannot mark an answer."""

    def read(self, row: Any, unused: set[str]) -> tuple[str, dict[str, Any], bool]:
        """`(shape, content, changed)`. Raises `RowError`: `other_shape` for what cannot be trained with the rest."""
        if self._is_told or not isinstance(row, dict):
            return self._as(self.shape, row, unused)
        names = tuple(row)
        if names not in self._known:
            shape = self._shape_of(row)
            if shape != self.shape:
                return self._other(shape, row, unused)
            if len(self._known) < 1000 and not _may_mark(names):
                self._known.add(names)
        try:
            return self._as(self.shape, row, unused)
        except RowError:
            if self.shape not in PLAIN or (found := self._found(row)) in (None, "message", self.shape):
                raise
            unused.clear()
            return self._other(found, row, unused)

    def _as(self, shape: str, row: Any, unused: set[str]) -> tuple[str, dict[str, Any], bool]:
        usual = self.columns if shape == self.shape else None
        return shape, *normalise(shape, row, usual, unused, self._mapping)

    def _other(self, shape: str, row: dict[str, Any], unused: set[str]) -> tuple[str, dict[str, Any], bool]:
        if SHAPES[shape].form not in self._taken:
            raise RowError("other_shape", shape=shape, expected=self.shape)
        return self._as(shape, row, unused)

    def _shape_of(self, row: dict[str, Any]) -> str:
        """The file's own, wherever a row can be read so; but a mark of good or bad is never passed over."""
        marked = self._found(row) if _may_mark(tuple(row)) else None
        if marked in _MARKED:
            return str(marked)
        try:
            if SHAPES[self.shape].recognise(Reading(row, mapping=self._mapping)):
                return self.shape
        except RecursionError:
            return self.shape
        found = self._found(row)
        return self.shape if found in (None, "message") or self.shape not in PLAIN and not self._taken else str(found)

    def _found(self, row: dict[str, Any]) -> str | None:
        try:
            return recognise({name: value for name, value in row.items() if name != self._label}, self._mapping)
        except RecursionError:
            return None


@lru_cache(maxsize=256)
def _may_mark(names: tuple[str, ...]) -> bool:
    return any(name.strip().lower() in _MARKS for name in names)
