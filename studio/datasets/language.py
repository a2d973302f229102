"""Which language a dataset is in, from its letters and its smallest words. A hint for the reader, not a classifier."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

# Letters looked at in all; a file of millions of rows is judged by its beginning.
SAMPLE_LETTERS = 200_000
_SCRIPTS = {
    "zh": re.compile(r"[\u4e00-\u9fff\u3400-\u4dbf]"),
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "latin": re.compile(r"[A-Za-z\u00c0-\u024f]"),
}
# A Chinese character says about as much as four Latin letters.
_WEIGHT = {"zh": 4, "ja": 4, "ko": 4}
_SMALL_WORDS = {
    "en": "the of and to in is that it for was with as are this you what",
    "fr": "le la les des et est une dans que pour qui pas sur vous du",
    "de": "der die das und ist nicht ein eine mit von zu den im für auf",
    "es": "el los las que una por con para es en del se como su más",
    "pt": "o os que uma para com não em do da se por mais como ao",
    "it": "il che di una per con non sono della del gli le si più nel",
}
# A chat template's markers are no words: `im` of <|im_start|> is German otherwise.
_MARKERS = re.compile(r"<\|[^|>]*\|>")
_WORDS = {lang: frozenset(words.split()) for lang, words in _SMALL_WORDS.items()}


class LanguageGuess:
    """Fed with rows, asked once at the end."""

    def __init__(self) -> None:
        self._scripts: Counter[str] = Counter()
        self._words: Counter[str] = Counter()
        self._seen = 0

    def see(self, content: dict[str, Any]) -> None:
        """Look at one normalised row."""
        if self._seen >= SAMPLE_LETTERS:
            return
        texts = [content["text"]] if "text" in content else [m["content"] for m in content["messages"]]
        for text in texts:
            text = _MARKERS.sub(" ", text[: SAMPLE_LETTERS - self._seen])
            self._seen += len(text)
            for script, pattern in _SCRIPTS.items():
                self._scripts[script] += len(pattern.findall(text)) * _WEIGHT.get(script, 1)
            for word in re.findall(r"[a-zà-ÿ]+", text.lower()):
                self._words.update(lang for lang, words in _WORDS.items() if word in words)

    def result(self) -> str:
        """`en`, `zh`, `ja`, ...; `mixed` when two scripts share the text; `other` when nothing is known."""
        total = sum(self._scripts.values())
        if not total:
            return "other"
        if self._scripts["ja"] > 0.1 * total:  # Japanese is written with Chinese characters too
            return "ja"
        (first, most), (_, second) = self._scripts.most_common(2)
        if second > 0.3 * total:
            return "mixed"
        if first != "latin":
            return first
        return self._words.most_common(1)[0][0] if self._words else "other"
