"""Rows without a tokenizer: their texts as stored and their lengths in characters, which is no verdict on what fits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from studio.datasets.forms import text_of
from studio.datasets.rows import at_places, name_of
from studio.datasets.store import DatasetInfo
from studio.rendering.preview import BINS, MEASURED_ROWS, page

SHOWN_CHARACTERS = 4_000


def view(info: DatasetInfo, offset: int, count: int, places: np.ndarray | None = None) -> dict[str, Any]:
    """`rows` (`row`, `split`, `text` and its `characters`), `offset`, `total`, `measured`, `of`, `lengths`
    (characters)."""
    step = math.ceil(max(info.kept / MEASURED_ROWS, 1))
    lengths = np.array([len(text_of(row)) for row in info.rows()[::step]])
    shown = [_shown(info, row, split, at) for at, split, row in at_places(info, page(info, offset, count, places))]
    return {
        "rows": shown,
        "offset": offset,
        "total": info.kept if places is None else len(places),
        "measured": len(lengths),
        "of": info.kept,
        "lengths": _histogram(lengths),
    }


def _shown(info: DatasetInfo, row: dict[str, Any], split: str, at: int) -> dict[str, Any]:
    text = text_of(row)
    place = {"row": row["row"], "place": at, "file": name_of(info, row), "split": split}
    return {**place, "text": text[:SHOWN_CHARACTERS], "characters": len(text)}


def _histogram(lengths: np.ndarray) -> dict[str, Any]:
    longest = int(lengths.max())
    width = math.ceil((longest + 1) / BINS)
    counts, _ = np.histogram(lengths, bins=BINS, range=(0, width * BINS))
    return {"top": width * BINS, "counts": counts.tolist(), "longest": longest, "median": int(np.median(lengths))}
