"""What is remembered of each row to find those that repeat another: 260 bytes, whatever its length.

A hash of its whole content finds exact copies. For near ones rensa makes a MinHash sketch of its character 3-grams,
which Chinese has as English does: of 128 values the share that two rows have in common estimates the Jaccard
similarity of their 3-grams. Rows that agree in one of 25 bands of 5 values are looked at as candidates: at a
similarity of 0.7 all but one in a hundred are. Rows are put side by side by sorting the bands, not in an index of
objects, which would take two kilobytes a row; of each value one byte is kept to estimate with (two rows agree in it
by chance once in 256).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator

import numpy as np

from studio.datasets.forms import PLACE, Row

PERMUTATIONS, BANDS, BAND_VALUES = 128, 25, 5
SEED = 42
GRAM = 3
FEWEST_GRAMS = 20
"""Of fewer a single letter changes everything: only exact copies are found."""
MOST_CHARACTERS = 100_000
"""Of one row: what is the same that far is a copy."""
BATCH_CHARACTERS = 1_000_000
CANDIDATES = 4
"""Kept of one row, the most similar."""
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Sketches:
    """Of `rows` rows, filled with `add` in any order, then `finish`ed."""

    def __init__(self, rows: int, with_near: bool) -> None:
        self.exact: np.ndarray = np.zeros((rows, 2), np.uint64)
        self.usable: np.ndarray = np.zeros(rows, bool)
        """Whether a row has a sketch."""
        self.values: np.ndarray = np.zeros((rows if with_near else 0, PERMUTATIONS), np.uint8)
        self.bands: np.ndarray = np.zeros((rows if with_near else 0, BANDS), np.uint32)
        self._with_near = with_near
        self._waiting: list[tuple[int, str]] = []
        self._characters = 0

    def add(self, at: int, row: Row, text: str) -> None:
        """The row and what it says, as `copies.compared` joins it."""
        content = _CANONICAL({key: value for key, value in row.items() if key not in PLACE})
        digest = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self.exact[at] = np.frombuffer(digest, np.uint64)
        if self._with_near and len(text) >= FEWEST_GRAMS + GRAM - 1:
            self._waiting.append((at, text[:MOST_CHARACTERS]))
            self._characters += min(len(text), MOST_CHARACTERS)
            if self._characters >= BATCH_CHARACTERS:
                self.finish()

    def finish(self) -> None:
        """Sketch what waits."""
        if not self._waiting:
            return
        import rensa

        places = np.array([at for at, _ in self._waiting])
        hashes, offsets = _grams([text for _, text in self._waiting])
        made = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, PERMUTATIONS, SEED)
        values = np.array(made.to_rows(), dtype=np.uint32)
        self.usable[places] = True
        self.values[places] = values.astype(np.uint8)
        self.bands[places] = _banded(values)
        self._waiting, self._characters = [], 0

    def similarity(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """float32: the estimate for each pair of rows, corrected for bytes that agree by chance."""
        found = np.empty(len(first), np.float32)
        for begin in range(0, len(first), 100_000):
            part = slice(begin, begin + 100_000)
            found[part] = (self.values[first[part]] == self.values[second[part]]).mean(1)
        return np.maximum(0, (found - 1 / 256) / (1 - 1 / 256))


def _grams(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(uint64 hashes of the 3-grams of all texts in a row, uint64 where each text's begin and the last ends)."""
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in texts])
    ends = np.cumsum(lengths)
    grams = (points[:-2] << np.uint64(42)) | (points[1:-1] << np.uint64(21)) | points[2:]
    is_whole = np.ones(len(points), bool)
    is_whole[ends - 1] = is_whole[ends - 2] = False  # the last two of a text reach into the next
    grams = grams[is_whole[:-2]]
    for mix in _MIX:
        grams = (grams ^ (grams >> np.uint64(30))) * mix
    grams ^= grams >> np.uint64(31)
    return grams, np.concatenate([[0], np.cumsum(lengths - (GRAM - 1))]).astype(np.uint64)


def _banded(values: np.ndarray) -> np.ndarray:
    """uint32 (rows, BANDS): a hash of the values of each band."""
    grouped = values[:, : BANDS * BAND_VALUES].reshape(len(values), BANDS, BAND_VALUES).astype(np.uint64)
    made = np.zeros(grouped.shape[:2], np.uint64)
    for at in range(BAND_VALUES):
        made = (made ^ grouped[:, :, at]) * _MIX[0]
        made ^= made >> np.uint64(29)
    return (made >> np.uint64(32)).astype(np.uint32)


class Candidates:
    """For each row the few that are most similar to it by their sketches."""

    def __init__(self, rows: int) -> None:
        self.of: np.ndarray = np.full((rows, CANDIDATES), -1, np.int32)
        self.similarity: np.ndarray = np.zeros((rows, CANDIDATES), np.float32)

    def offer(self, rows: np.ndarray, of: np.ndarray, similarity: np.ndarray) -> None:
        """Each row at most once."""
        worst = self.similarity[rows].argmin(1)
        is_new = (self.of[rows] != of[:, None]).all(1) & (similarity > self.similarity[rows, worst])
        rows, worst = rows[is_new], worst[is_new]
        self.of[rows, worst] = of[is_new]
        self.similarity[rows, worst] = similarity[is_new]

    def best(self, row: int) -> list[tuple[int, float]]:
        """The most similar first."""
        found = [(int(a), float(s)) for a, s in zip(self.of[row], self.similarity[row], strict=True) if a >= 0]
        return sorted(found, key=lambda one: -one[1])


def within(
    sketches: Sketches, rows: np.ndarray, similarity: float, candidates: Candidates, stop: Callable[[], None]
) -> Iterator[float]:
    """Offer each of `rows` earlier ones among them; yields the share of the bands that is done.

    In each band rows stand sorted by its hash and then by the next bands', so that those that agree in several stand
    together; each is compared with the two before it and with the first of its hash.
    """
    rows = rows[sketches.usable[rows]]
    for band in range(BANDS):
        stop()
        order, keys = _sorted(sketches, rows, band)
        begins = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, int)
        first = np.repeat(begins, np.diff(np.r_[begins, len(keys)]))
        here = np.arange(len(keys))
        for other in (first, here - 1, here - 2):
            is_pair = (other >= first) & (other < here)
            _offer_pairs(sketches, order[here[is_pair]], order[other[is_pair]], similarity, candidates)
        yield (band + 1) / BANDS


def between(
    sketches: Sketches, rows: np.ndarray, held: np.ndarray, similarity: float, candidates: Candidates,
    stop: Callable[[], None],
) -> Iterator[float]:  # fmt: skip
    """Offer each of `rows` those of `held` that it agrees with in a band: the two that stand nearest by the next
    band."""
    rows, held = rows[sketches.usable[rows]], held[sketches.usable[held]]
    for band in range(BANDS if len(held) else 0):
        stop()
        following = (band + 1) % BANDS
        keys = sketches.bands[:, band].astype(np.uint64) << np.uint64(32) | sketches.bands[:, following]
        order = held[np.argsort(keys[held], kind="stable")]
        place = np.searchsorted(keys[order], keys[rows])
        for shift in (-1, 0):
            other = np.clip(place + shift, 0, len(order) - 1)
            agrees = sketches.bands[order[other], band] == sketches.bands[rows, band]
            a, b = rows[agrees], order[other[agrees]]
            alike = sketches.similarity(a, b)
            good = alike >= similarity
            candidates.offer(a[good], b[good], alike[good])
        yield (band + 1) / BANDS


def _sorted(sketches: Sketches, rows: np.ndarray, band: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows by the hash of a band, then of the two next, then as they come; and the hashes. Without those that stand
    alone."""
    keys = sketches.bands[rows, band]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    same = keys[1:] == keys[:-1]
    keep = order[np.r_[False, same] | np.r_[same, False]] if len(keys) else order
    rows = rows[keep]
    parts = [sketches.bands[rows, (band + shift) % BANDS] for shift in (2, 1, 0)]
    order = np.lexsort((rows, *parts))
    return rows[order], parts[-1][order]


def _offer_pairs(sketches: Sketches, a: np.ndarray, b: np.ndarray, similarity: float, candidates: Candidates) -> None:
    """Pairs in any order: the later row is offered the earlier one."""
    later, earlier = np.maximum(a, b), np.minimum(a, b)
    alike = sketches.similarity(later, earlier)
    good = alike >= similarity
    later, earlier, alike = later[good], earlier[good], alike[good]
    order = np.argsort(-alike, kind="stable")
    later, earlier, alike = later[order], earlier[order], alike[order]
    while len(later):
        _, firsts = np.unique(later, return_index=True)
        candidates.offer(later[firsts], earlier[firsts], alike[firsts])
        rest = np.ones(len(later), bool)
        rest[firsts] = False
        later, earlier, alike = later[rest], earlier[rest], alike[rest]
