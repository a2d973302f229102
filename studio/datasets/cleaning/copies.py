"""Rows that say again what another one says: exact and near duplicates in a split, and training rows that leak into
what is held out.

A sketch (`sketches.py`) only proposes. Before a row counts as a copy both are read again, and each thing that a row
says (question, answer, chosen, rejected) has to be similar by itself: many questions on one long text are no
copies, nor are several answers to one question, nor one question in other words. And a row that says the same of
something else is none: where both have numbers that the other has not, or words that come back in one and never
stand in the other (the subject of a question and its answer).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from studio.datasets.cleaning.parts import ANSWER, CALL, PROMPT, REJECTED, TEXT, TOKENS, parts
from studio.datasets.cleaning.record import Asked
from studio.datasets.cleaning.sketches import FEWEST_GRAMS, GRAM, Candidates, Sketches, between, within
from studio.datasets.forms import Row

EXACT, NEAR, LEAKS = "exact_duplicates", "near_duplicates", "leaks"
SIMILARITY = 0.7
_ROLES = (PROMPT, ANSWER, REJECTED, TEXT, TOKENS, CALL)
_SUBJECT_CHARACTERS = 2_000
"""Of longer rows a name or a number that differs is an edit."""
_REWORDED = 0.1
"""Asked more of two questions with the very same short answer: asked in other words they are no copies, many datasets
are made so. Of a longer answer it is the answer that would be trained twice."""
_SHORT_ANSWER_BYTES = 100
"""In UTF-8, where a Chinese character has three: it says as much as some letters."""
_ONE_PART = 0.2
"""Asked less of one part than of the whole: a few edits may all fall into one."""
_FEWEST_OF_QUESTION = 8
"""Beside an answer that is alike. Of a short answer each letter counts: "yes, it is" and "no, it is"."""
_READ_AGAIN = 512
_MARGIN = 0.05
"""A sketch of 128 values is off by 0.04 (one standard deviation): what is this much under is read again too."""
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD = re.compile(r"[^\W\d_]{3,}|[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+")
_WIDE_FROM = "\u3040"


def compared(row: Row) -> dict[str, str]:
    """What a row says by what it is for, in small letters and with blanks joined. The system's turn is not: many rows
    share it."""
    said: dict[str, list[str]] = {}
    for part in parts(row):
        if part.role in _ROLES:
            said.setdefault("context" if part.path[0] == "context" else part.role, []).append(part.text)
    return {role: " ".join(" ".join(texts).casefold().split()) for role, texts in said.items()}


def sketched(row: Row) -> str:
    return " ".join(compared(row).values())


def _same(row: Row) -> tuple[Any, ...]:
    """What has to be equal: a label is not similar to another."""
    return tuple(repr(row.get(key)) for key in ("label", "tags", "score")) + (
        repr((row.get("answers") or {}).get("text")),
    )


class _Read:
    """A row that was read again, ready to be compared."""

    def __init__(self, row: Row) -> None:
        self.said, self.same = compared(row), _same(row)
        self.grams = {role: grams(text) for role, text in self.said.items()}
        self.whole = set().union(*self.grams.values())
        whole = " ".join(self.said.values())
        self.is_short = len(whole) <= _SUBJECT_CHARACTERS
        self.numbers = set(_NUMBER.findall(whole)) if self.is_short else set()
        words = Counter(_words(whole)) if self.is_short else Counter()
        self.words, self.subjects = set(words), {word for word, times in words.items() if times > 1}


def grams(text: str) -> set[str]:
    return {text[at : at + GRAM] for at in range(len(text) - GRAM + 1)}


def _words(text: str) -> Iterator[str]:
    """Words, and of a language without blanks each two characters."""
    for found in _WORD.findall(text):
        if found[0] >= _WIDE_FROM:
            yield from (found[at : at + 2] for at in range(len(found) - 1))
        else:
            yield found


def similarity(first: _Read, second: _Read, least: float) -> float:
    """The Jaccard similarity of what two rows say; 0 where it is under `least`, or they are no copies whatever it
    is."""
    if first.same != second.same or first.said.keys() != second.said.keys():
        return 0.0
    if first.is_short and second.is_short:
        if first.numbers - second.numbers and second.numbers - first.numbers:
            return 0.0
        if first.subjects - second.words and second.subjects - first.words:
            return 0.0
    whole = _jaccard(first.whole, second.whole)
    is_same_answer = ANSWER in first.said and first.said[ANSWER] == second.said[ANSWER]
    is_same_answer = is_same_answer and len(first.said[ANSWER].encode("utf-8", "replace")) < _SHORT_ANSWER_BYTES
    for role, text in first.said.items():
        if whole < least:
            return 0.0
        wanted = least + _REWORDED if is_same_answer and role == PROMPT else least - _ONE_PART
        if text != second.said[role] and not _is_alike(first, second, role, min(1.0, wanted)):
            return 0.0
    return whole


def _is_alike(first: _Read, second: _Read, role: str, wanted: float) -> bool:
    one, two = first.grams[role], second.grams[role]
    if min(len(one), len(two)) < (_FEWEST_OF_QUESTION if role == PROMPT else FEWEST_GRAMS):
        return _letters(first.said[role]) == _letters(second.said[role])
    return _jaccard(one, two) >= wanted


def _jaccard(one: set[str], two: set[str]) -> float:
    common = len(one & two)
    return common / max(1, len(one) + len(two) - common)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


class Copies:
    """Which rows are copies, of which, and how similar; a step after the other sees what those before it left."""

    def __init__(
        self, row: Callable[[int], Row], sketches: Sketches, splits: np.ndarray, is_kept: np.ndarray,
        stop: Callable[[], None],
    ) -> None:  # fmt: skip
        """`row(i)` reads one again; `splits` is int8, 0 for training; `is_kept` is what earlier steps left."""
        self._sketches, self._splits, self._kept, self._stop = sketches, splits, is_kept, stop
        self._read = lru_cache(_READ_AGAIN)(lambda at: _Read(row(at)))
        self.of: dict[str, dict[int, tuple[int, float]]] = {}
        """By step and row: the row it is a copy of, and their similarity."""

    def find(self, asked: Asked) -> Iterator[float]:
        """Do one step; yields the share that is done."""
        found: dict[int, tuple[int, float]] = {}
        self.of[asked.step] = found
        if asked.step == EXACT:
            for split in np.unique(self._splits):
                found |= self._exact(np.flatnonzero(self._kept & (self._splits == split)))
        elif asked.step == NEAR:
            for split in np.unique(self._splits):
                yield from self._near(np.flatnonzero(self._kept & (self._splits == split)), asked, found)
        else:
            rows, held = (np.flatnonzero(self._kept & is_there) for is_there in (self._splits == 0, self._splits != 0))
            found |= self._exact_leaks(rows, held)
            rest = rows[~np.isin(rows, list(found))] if found else rows
            yield from self._near_leaks(rest, held, asked, found)
        if asked.action == "drop":
            self._kept[list(found)] = False
        yield 1.0

    def _exact(self, rows: np.ndarray) -> dict[int, tuple[int, float]]:
        keys = self._sketches.exact[rows]
        order = np.lexsort((rows, keys[:, 1], keys[:, 0]))
        rows, keys = rows[order], keys[order]
        is_again = np.r_[False, (keys[1:] == keys[:-1]).all(1)] if len(rows) else np.zeros(0, bool)
        first = np.maximum.accumulate(np.where(is_again, 0, np.arange(len(rows))))
        return {int(rows[at]): (int(rows[first[at]]), 1.0) for at in np.flatnonzero(is_again)}

    def _near(self, rows: np.ndarray, asked: Asked, found: dict[int, tuple[int, float]]) -> Iterator[float]:
        least = asked.options["similarity"]
        candidates = Candidates(len(self._splits))
        for share in within(self._sketches, rows, least - _MARGIN, candidates, self._stop):
            yield share / 2
        kept_for: dict[int, int] = {}
        proposed = rows[(candidates.of[rows] >= 0).any(1)]
        for done, at in enumerate(proposed.tolist()):
            self._stop()
            for other, _ in candidates.best(at):
                first = kept_for.get(other, other)
                if alike := similarity(self._read(first), self._read(at), least):
                    found[at], kept_for[at] = (first, alike), first
                    break
            if done % 1_000 == 0:
                yield 0.5 + done / len(proposed) / 2

    def _exact_leaks(self, rows: np.ndarray, held: np.ndarray) -> dict[int, tuple[int, float]]:
        known = {tuple(key): at for key, at in zip(self._sketches.exact[held].tolist(), held.tolist())}
        exact = self._sketches.exact[rows].tolist()
        return {at: (known[tuple(key)], 1.0) for at, key in zip(rows.tolist(), exact) if tuple(key) in known}

    def _near_leaks(
        self, rows: np.ndarray, held: np.ndarray, asked: Asked, found: dict[int, tuple[int, float]]
    ) -> Iterator[float]:
        least = asked.options["similarity"]
        candidates = Candidates(len(self._splits))
        for share in between(self._sketches, rows, held, least - _MARGIN, candidates, self._stop):
            yield share / 2
        proposed = rows[(candidates.of[rows] >= 0).any(1)]
        for done, at in enumerate(proposed.tolist()):
            self._stop()
            for other, _ in candidates.best(at):
                if alike := similarity(self._read(other), self._read(at), least):
                    found[at] = other, alike
                    break
            if done % 1_000 == 0:
                yield 0.5 + done / len(proposed) / 2
