"""The number in a record that lies on a disk: how its fields are meant, so that a newer one is refused instead of
misread."""

from __future__ import annotations

from typing import Any

from estimator.core.fields import shown
from estimator.core.problems import Problem

KEY = "format"


def without_format(data: dict[str, Any], newest: int, file: str) -> dict[str, Any]:
    """The fields of `data` without its number. One without a number is of format 1: those of version 0.1 had none.

    Raises `Problem("record.format")` for a number that is not among 1 to `newest`.
    """
    number = data.get(KEY, 1)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= newest:
        allowed = "1" if newest == 1 else f"1 to {newest}"
        raise Problem("record.format", file=file, value=shown(number), allowed=allowed)
    return {name: value for name, value in data.items() if name != KEY}
