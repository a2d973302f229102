"""Numbers of a dataset by role, language and label, counted while its rows are measured."""

from __future__ import annotations

from collections import Counter
from typing import Any

from studio.datasets.forms import said
from studio.datasets.language import LanguageGuess
from studio.rendering.seen import reasoning_and_answer

LANGUAGE_ROWS = 1_000
"""Rows whose language is looked at: a guess takes half a millisecond."""
SHOWN_LABELS = 50
LABEL_CHARACTERS = 80


class Tally:
    """Fed with the measured rows, in turn."""

    def __init__(self, planned: int) -> None:
        self._every = max(1, planned // LANGUAGE_ROWS)
        self._rows = self._thinking = 0
        self._by: dict[str, dict[str, Counter[str]]] = {"role": {}, "language": {}, "label": {}}

    def see(self, row: dict[str, Any], tokens: int, trained: int) -> None:
        """One stored row, and its tokens; 0 where it cannot be encoded."""
        answers = [one for one in row.get("messages", ()) if one.get("role") == "assistant"]
        self._thinking += any(reasoning_and_answer(one)[0] for one in answers)
        for role, text in said(row):
            self._add("role", role, turns=1, characters=len(text))
        for label in _labels(row):
            self._add("label", label, rows=1, tokens=tokens, trained=trained)
        if self._rows % self._every == 0:
            guess = LanguageGuess()
            guess.see(row)
            self._add("language", guess.result(), rows=1, tokens=tokens, trained=trained)
        self._rows += 1

    def _add(self, kind: str, name: str, **counts: int) -> None:
        self._by[kind].setdefault(name, Counter()).update(counts)

    @property
    def thinking(self) -> float:
        """The share of rows that reason before they answer."""
        return self._thinking / max(1, self._rows)

    def result(self) -> dict[str, dict[str, dict[str, int]]]:
        """`role` -> name -> `turns`, `characters`; `language` and `label` -> name -> `rows`, `tokens`, `trained`; the
        largest first."""
        return {
            kind: {name: dict(counts) for name, counts in sorted(found.items(), key=_size)[:SHOWN_LABELS]}
            for kind, found in self._by.items()
        }


def _size(one: tuple[str, Counter[str]]) -> tuple[int, str]:
    name, counts = one
    return -(counts["rows"] or counts["turns"]), name


def _labels(row: dict[str, Any]) -> list[str]:
    label = row.get("label")
    many = label if isinstance(label, list) else [] if label is None else [label]
    return [str(one)[:LABEL_CHARACTERS] for one in many]
