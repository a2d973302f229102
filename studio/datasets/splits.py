"""Which rows are trained, which held out to validate and which to test: by a seed, by label, or as the file says."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from studio.datasets.rows import SPLITS

TRAIN, EVAL, TEST = range(len(SPLITS))


def chosen(
    rows: int,
    eval_share: float,
    seed: int,
    test_share: float = 0.0,
    own: Sequence[str | None] | None = None,
    labels: Sequence[str | None] | None = None,
) -> np.ndarray:
    """int8 (rows,): the place of each row's split in `SPLITS`; the same for a seed.

    `own` is what the file says of each row: it stands, and a share is held out only of what the file does not hold out
    itself. With `labels` each of them is split by itself, those without one together.
    """
    splits: np.ndarray = np.zeros(rows, np.int8)
    if own is not None:
        splits[:] = [SPLITS.index(one) if one else TRAIN for one in own]
    for split, share, mixed in ((EVAL, eval_share, seed), (TEST, test_share, f"{seed} test")):
        if (splits == split).any():
            continue
        left = np.flatnonzero(splits == TRAIN)
        splits[left[sorted(_held_out(left, share, mixed, labels))]] = split
    return splits


def _held_out(left: np.ndarray, share: float, seed: int | str, labels: Sequence[str | None] | None) -> Iterable[int]:
    """Places in `left`."""
    if labels is None:
        return eval_rows(len(left), share, seed)
    by_label: dict[Any, list[int]] = defaultdict(list)
    for at, row in enumerate(left):
        by_label[labels[row]].append(at)
    return [group[at] for group in by_label.values() for at in eval_rows(len(group), share, seed)]


def eval_rows(rows: int, share: float, seed: int | str) -> set[int]:
    """Indices of the rows held out: `share` of them, at least one of two or more, never all; the same for a seed."""
    if share <= 0 or rows < 2:
        return set()
    count = min(max(1, round(rows * share)), rows - 1)
    return set(random.Random(seed).sample(range(rows), count))


def label_of(content: dict[str, Any]) -> str | None:
    """What a row is sorted by where splits keep the shares of labels."""
    found = content.get("label")
    return None if found is None or isinstance(found, (list, dict)) else str(found)
