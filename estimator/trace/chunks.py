"""Layers that cut a row into chunks, and go through them in turn: how their bytes grow with the number of chunks.

A recorded step of such a layer has one turn of a loop a chunk, so two lengths give two numbers of events. Their events
are laid side by side: before, in and after each loop they are the same, and the longer step has whole turns more. What
is live at the first turns (counted from the start of a loop) and at the last ones (from its end) is linear in the
number of chunks.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np

from estimator.law.law import COMPONENTS, PHI

LENGTHS_TOKENS = (233, 283)
"""Primes whose neighbours S - 1, S + 1 and S + 3 (a convolution over four tokens) have large factors too."""
CHECKED_TOKENS = 563
BY_CHUNK = [PHI.index("1"), PHI.index("B")]
CHUNKS = PHI.index("chunks")


class Unlike(Exception):
    """Steps of two lengths that differ by more than turns of loops."""


def tokens_of(model: Any) -> int:
    """Tokens a chunk of the gated delta rule as Transformers runs it without other kernels
    (`torch_chunk_gated_delta_rule`), or 0 for a model that has none."""
    for code in {type(module).__module__ for module in model.modules()}:
        rule = getattr(sys.modules[code], "torch_chunk_gated_delta_rule", None)
        if rule is not None:
            return inspect.signature(rule).parameters["chunk_size"].default
    return 0


def joined(
    live: tuple[np.ndarray, np.ndarray], made: tuple[np.ndarray, np.ndarray], counts: tuple[int, ...]
) -> np.ndarray:
    """Rows of any number of chunks from those of two: what is live after each allocation, and what that allocation
    made, as (events, COMPONENTS, PHI) at either number. Raises `Unlike`."""
    pairs = np.array(aligned(_marks(made[0]), _marks(made[1]), counts))
    return between(live[0][pairs[:, 0]], live[1][pairs[:, 1]], counts)


def between(first: np.ndarray, second: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    """Coefficients over PHI whose bytes at two numbers of chunks are given as if there were none."""
    each = (second - first) / (counts[1] - counts[0])
    others = np.abs(np.delete(each, BY_CHUNK, axis=-1))
    if others.max(initial=0) > 1e-9 * np.abs(first).max(initial=1):  # up to the rounding of the extrapolation
        raise Unlike("bytes a token change with the number of chunks")
    made = first.copy()
    made[..., BY_CHUNK] -= each[..., BY_CHUNK] * counts[0]
    made[..., CHUNKS] = each[..., BY_CHUNK].sum(axis=-1)
    return made


def _marks(made: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """Of each allocation what does not depend on the number of chunks, and the bytes that may."""
    flat = made.reshape(len(made), len(COMPONENTS) * len(PHI))
    marks = []
    for row in flat:
        places = np.flatnonzero(row).tolist()
        by_chunk = len(places) > 0 and all(place % len(PHI) in BY_CHUNK for place in places)
        own = tuple(places) if by_chunk else (*places, *row[places])
        marks.append((own, float(row[places].sum()) if by_chunk else 0.0))
    return marks


def aligned(first: list[Any], second: list[Any], counts: tuple[int, ...]) -> list[tuple[int, int]]:
    """Numbers of events that stand for each other: those outside of loops, of a loop's first turns by their place from
    its start and of its last ones by their place from its end. What lies between is between them in bytes too. Raises
    `Unlike`."""

    def same(i: int, j: int) -> bool:
        (own, size), (other, size_there) = first[i], second[j]
        return own == other and (size == size_there or size * counts[1] == size_there * counts[0])

    pairs: set[tuple[int, int]] = set()
    at = shift = 0
    while True:
        start = at
        while at < len(first) and at + shift < len(second) and same(at, at + shift):
            at += 1
        if at == len(first):
            break
        # the first step has left a loop, at most a turn ago: what follows may begin as another turn would
        steps = range(counts[1] - counts[0], len(second) - len(first) - shift + 1, counts[1] - counts[0])
        step = max(steps, key=lambda step: _agreeing(same, at, len(first), shift + step), default=0)
        if not step or not same(at, at + shift + step):
            raise Unlike(f"event {at} of {len(first)} has no fellow among {len(second)}")
        turn, loop = step // (counts[1] - counts[0]), at
        while loop > start and same(loop - 1, loop - 1 + shift + step):
            loop -= 1
        pairs |= {(i, i + shift) for i in range(start, min(loop + 2 * turn, at - turn))}
        shift += step
        pairs |= {(i, i + shift) for i in range(max(loop + turn, at - 2 * turn), at)}
    pairs |= {(i, i + shift) for i in range(start, at)}
    if len(first) + shift != len(second):
        raise Unlike(f"{len(second) - len(first)} events more, of which {shift} are turns of loops")
    return sorted(pairs)


def _agreeing(same: Any, at: int, end: int, shift: int) -> int:
    """Events from `at` on that are the same."""
    return next((i for i in range(at, end) if not same(i, i + shift)), end) - at
