"""What is asked of a run's time and money beside the recipe: the data, how many cards, whose they are, what power
costs. No torch."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from estimator.core.fields import FieldInfo, checked
from estimator.core.problems import Problem

MAX_ROWS = 100_000_000
MOST_CARDS = 8
"""As many as one machine has; how fast machines send each other data is not known."""
MOST_COMPARED = 3
LONGEST_ROW_TOKENS = 100_000_000


def _field(default: object, **limits: object) -> Any:
    return dataclasses.field(default=default, metadata=limits)


@dataclass(frozen=True, kw_only=True)
class Costing:
    """Raises `Problem` (`recipe.*`) naming the field. What is left out is unknown, not zero."""

    rows: int | None = _field(None, low=1, high=MAX_ROWS)
    """Rows of the dataset."""
    tokens_per_row: int | None = _field(None, low=1, high=LONGEST_ROW_TOKENS)
    """Tokens of each; none: the recipe's `max_length`."""
    devices: int | None = _field(None, low=1, high=MOST_CARDS)
    """Cards; none: as many as the recipe says, or as it takes."""
    usd_per_kwh: float | None = _field(None, low=0, high=1e9)
    """Price of one's own electricity."""
    hours_per_month: float | None = _field(None, above=0.0, high=1e9)
    """Use a month, for the months until buying pays."""
    owned: tuple[str, ...] | None = _field(None)
    """Cards that one has, such as `RTX 3060` or `2 x RTX 4090`: they cost their electricity."""
    compare: tuple[str, ...] | None = _field(None)
    """Up to three cards side by side, such as `RTX 5090` and `2 x RTX 4090`."""

    def __post_init__(self) -> None:
        for info in COSTING.values():
            value = getattr(self, info.name)
            object.__setattr__(self, info.name, None if value in ((), []) else checked(info, value))
        if self.compare and len(self.compare) > MOST_COMPARED:
            raise Problem(
                "recipe.range", field="compare", value=f"{len(self.compare)} cards", allowed=f"1 to {MOST_COMPARED}"
            )
        if self.rows is None and self.tokens_per_row is not None:
            raise Problem("recipe.missing", field="rows", allowed=COSTING["rows"].allowed)

    def stated(self) -> dict[str, Any]:
        """What was said, as plain JSON types."""
        made = {name: getattr(self, name) for name in COSTING if getattr(self, name) is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in made.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Costing:
        """Of the names it knows; others are somebody else's."""
        return cls(**{name: value for name, value in data.items() if name in COSTING})


def names_in(text: str) -> tuple[str, ...]:
    """The cards of a list as one writes it: parted by commas or semicolons, of any language, but not inside
    brackets."""
    parts = re.split(r"[,;，、；\n]+(?![^()]*\))", text)
    return tuple(part.strip() for part in parts if part.strip())


_HINTS = typing.get_type_hints(Costing)
COSTING: dict[str, FieldInfo] = {
    f.name: FieldInfo(f.name, _HINTS[f.name], f.default, dict(f.metadata)) for f in dataclasses.fields(Costing)
}
