"""Which language a dataset is in, row by row. A hint for the reader, never a decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from studio.datasets.forms import said

# Letters looked at in all; a file of millions of rows is judged by its beginning. And of one row.
SAMPLE_LETTERS = 200_000
ROW_LETTERS = 2_000
# Fewer letters than these say nothing, so short rows are looked at together; a character of Chinese, Japanese or Korean
# says about as much as four letters.
ENOUGH_LETTERS = 40
WIDE_FROM, WIDE_WEIGHT = "\u2e80", 4
# Those that the page has a word for. `zxx` is no language: code, JSON, numbers.
LANGUAGES = (
    "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja",
    "ko",
    "ms", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sv", "th", "tr", "uk", "ur", "vi", "zh",
)  # fmt: skip
NONE = "zxx"
MIXED_SHARE = 0.3


class LanguageGuess:
    """Fed with rows, asked once at the end."""

    def __init__(self) -> None:
        self._letters: Counter[str] = Counter()
        self._seen = 0
        self._short = ""

    def see(self, content: dict[str, Any]) -> None:
        """Look at one normalised row."""
        if self._seen >= SAMPLE_LETTERS:
            return
        texts = [part for _, part in said(content)]
        text = "\n".join(part[:ROW_LETTERS] for part in (self._short, *texts) if part)[:ROW_LETTERS]
        self._seen += len(text) - len(self._short)
        letters = sum((WIDE_WEIGHT if c >= WIDE_FROM else 1) for c in text if c.isalpha())
        self._short = "" if letters >= ENOUGH_LETTERS or len(text) == ROW_LETTERS else text
        if letters >= ENOUGH_LETTERS:
            self._letters[_classify()(text)] += letters

    def result(self) -> str:
        """`en`, `zh`, ...; `mixed` when two languages share the text; `other` when too little was seen."""
        self._letters.pop(NONE, None)
        if not self._letters:
            return "other"
        (first, most), *others = self._letters.most_common(2)
        return "mixed" if others and others[0][1] > MIXED_SHARE * self._letters.total() else first


@cache
def _classify() -> Callable[[str], str]:
    """py3langid, kept to the languages above. Its model is in the package: it asks no network."""
    import py3langid

    py3langid.set_languages([*LANGUAGES, NONE])
    return lambda text: py3langid.classify(text)[0]
