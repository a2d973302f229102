"""What every shape is written with: the record of one, and a row while it is read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from studio.datasets.shapes.columns import COLUMNS, columns_of
from studio.datasets.shapes.messages import USUAL, Keys
from studio.datasets.source import RowError
from studio.datasets.values import Cleaner, is_blank

Row = dict[str, Any]


@dataclass(frozen=True)
class Mapping:
    """Which column plays which part where its user says so, and under which keys turns are written.

    A column may stand inside an object: `translation.en`. Parts in `without` are read of no column.
    """

    columns: dict[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    keys: Keys = USUAL

    def __bool__(self) -> bool:
        return bool(self.columns or self.without or self.keys is not USUAL)

    def columns_of(self, row: Row) -> dict[str, str]:
        """`columns_of`, as its user has it: what is said of a column stands, whatever its name."""
        found = columns_of(row)
        if not self.columns and not self.without:
            return found
        said = {part: name for part, name in self.columns.items() if in_row(row, name)}
        taken = set(self.columns.values())
        mine = {part for part in found if part in self.without or part in self.columns or found[part] in taken}
        return {part: name for part, name in found.items() if part not in mine} | said


NO_MAPPING = Mapping()


def in_row(row: Row, name: str) -> bool:
    """Whether a row has this column, or one `outer.inner`."""
    outer, dot, inner = name.partition(".")
    return name in row or bool(dot) and isinstance(row.get(outer), dict) and inner in row[outer]


@dataclass(frozen=True)
class Shape:
    """One way to write rows. A shape is a module with such a record, and a line in `formats.SHAPES`."""

    name: str
    form: str
    """Of `studio.datasets.forms`: what its rows become."""
    needs: tuple[tuple[str, ...], ...]
    """Parts that a row must have: of each group one."""
    takes: tuple[str, ...]
    """Further parts that it may have."""
    recognise: Callable[[Reading], bool]
    """Whether a row can be read so, by its columns and little else. Where several shapes can, the first in
    `formats.SHAPES` does."""
    read: Callable[[Reading], Row]
    """The row as its form; raises `RowError`."""
    plain: Callable[[Row], Row | None] | None = None
    """The same of a row that is as simple as most (`shapes.plain`); None where it has to be read."""
    used: Callable[[Reading], Collection[str]] | None = None
    """The parts that are read of this row, where not all are that the shape knows."""
    settle: Callable[[Reading], dict[str, str]] | None = None
    """What the first row decides for all: columns by part."""

    @property
    def parts(self) -> tuple[str, ...]:
        return (*(part for group in self.needs for part in group), *self.takes)


class Reading:
    """A row on its way: which column plays which part, and what was not used."""

    def __init__(self, row: Row, usual: dict[str, str] | None = None, mapping: Mapping = NO_MAPPING) -> None:
        self.row, self.usual, self.keys = row, usual or {}, mapping.keys
        self.columns = mapping.columns_of(row) if mapping else columns_of(row)
        self.cleaner = Cleaner()
        self.discarded: set[str] = set()
        """Parts that another one made needless."""

    def name(self, part: str) -> str:
        """The user's own word for a part."""
        return self.columns.get(part) or self.usual.get(part) or " / ".join(COLUMNS[part][:3])

    def value(self, part: str) -> Any:
        """The cell of a part; None without one."""
        name = self.columns.get(part)
        if name is None:
            return None
        if name in self.row:
            return self.row[name]
        outer, _, inner = name.partition(".")
        return self.row[outer].get(inner)

    def cell(self, part: str) -> Any:
        """The same; raises `RowError` `missing` without one."""
        if part in self.columns:
            return self.value(part)
        raise RowError("missing", column=self.name(part))

    def text(self, part: str, lines: bool = True) -> str:
        """The cell as clean text; `lines`: without blank lines around it."""
        given = self.cell(part)
        return self.cleaner.text(given, self.columns[part], lines)

    def has(self, part: str) -> bool:
        """Whether the part's cell holds something."""
        return part in self.columns and not is_blank(self.value(part))

    def used(self, shape: Shape) -> set[str]:
        """The columns that this shape reads."""
        parts = shape.used(self) if shape.used else shape.parts
        return {name for part, name in self.columns.items() if part in parts and part not in self.discarded}
