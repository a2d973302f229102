"""One JSON object that holds all rows: under a key, as columns, or as pandas writes a frame."""

from __future__ import annotations

from typing import Any

from estimator.core.problems import Problem
from studio.datasets.shapes.formats import recognise
from studio.datasets.shapes.messages import is_conversation


def rows_of(value: dict[str, Any], file: str) -> list[Any]:
    """The rows of a file that is one object; the object itself where it is a row, or nothing known.

    Known are `{"data": [row, ...]}` under any key, pandas' orients columns, index, split and table, and one list a
    column.
    """
    if is_split(value):
        return [dict(zip(value["columns"], fields, strict=False)) for fields in value["data"]]
    if (columns := _columns(value, file)) is not None:
        return columns
    if recognise(value):
        return [value]
    if value and all(isinstance(one, dict) and recognise(one) for one in value.values()):
        return list(value.values())  # orient="index"
    lists = {key: one for key, one in value.items() if _holds_rows(one)}
    lists = {key: one for key, one in lists.items() if recognise(one[0])} or lists
    if len(lists) > 1:
        counts = ", ".join(f"{key} ({len(rows):,})" for key, rows in lists.items())
        raise Problem("dataset.several_lists", file=file, found=counts)
    if lists:
        return next(iter(lists.values()))
    inner = next(iter(value.values()), None) if len(value) == 1 else None
    rows = rows_of(inner, file) if isinstance(inner, dict) else [inner]
    return rows if rows != [inner] else [value]


def is_split(value: dict[str, Any]) -> bool:
    """pandas' orient="split": the names in `columns`, the rows as lists in `data`."""
    names, rows = value.get("columns"), value.get("data")
    if not isinstance(names, list) or not isinstance(rows, list) or not rows:
        return False
    return all(isinstance(name, str) for name in names) and all(
        isinstance(row, list) and len(row) == len(names) for row in rows
    )


def _holds_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _columns(value: dict[str, Any], file: str) -> list[dict[str, Any]] | None:
    """One list, or one object with the same keys, a column, as rows; None where the values are no columns."""
    columns = {key: list(one.values()) if isinstance(one, dict) else one for key, one in value.items()}
    if not all(isinstance(cells, list) and cells for cells in columns.values()) or any(
        map(is_conversation, value.values())
    ):
        return None
    first = {key: cells[0] for key, cells in columns.items()}
    shape = recognise(first)
    if not shape or shape in ("openai", "sharegpt") and not all(isinstance(cell, list) for cell in first.values()):
        return None
    keys = [tuple(one) if isinstance(one, dict) else len(one) for one in value.values()]
    if len(set(keys)) > 1:
        raise Problem(
            "dataset.uneven_columns",
            file=file,
            found=", ".join(f"{key} ({len(cells):,})" for key, cells in columns.items()),
        )
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
