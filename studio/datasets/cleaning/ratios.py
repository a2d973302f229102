"""Texts that are mostly no language: symbols, repetition, another language than was asked for.

Thresholds are those that the makers of large corpora published. They were chosen there for documents of the web, so
they are asked of documents; of answers only repetition is.

    SYMBOLS      Gopher (Rae et al. 2021, A1): "#" and "..." to words, over 0.1 is left out
    LETTERS      Gopher: at least 0.8 of the words have a letter
    LINES        Gopher: at most 0.3 of the lines are repeated
    REPEATED     data-juicer, character_repetition_filter: the most frequent 10-grams of characters are at most 0.5 of
                 all; the one measure that reads Chinese and English alike
    LOOPED       chosen: 0.8 of the 10-grams stood before, which is a passage said five times
    LANGUAGE     FineWeb (Penedo et al. 2024): fastText says the language with 0.65; py3langid's normalised score here
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import numpy as np

from studio.datasets.cleaning.parts import ANSWER, TEXT, parts
from studio.datasets.cleaning.record import Asked, Found, Verdict
from studio.datasets.forms import Row
from studio.datasets.kinds import format_of

SYMBOLS, LETTERS, LINES, REPEATED, LOOPED, LANGUAGE = 0.1, 0.8, 0.3, 0.5, 0.8, 0.65
FEWEST_WORDS = 50
"""Gopher's too: of fewer a share says little."""
FEWEST_LINES = 10
FEWEST_CHARACTERS = 200
GRAM = 10
MOST_CHARACTERS = 20_000
"""Looked at of one text."""
_SYMBOL = re.compile(r"#|\.\.\.|…")
_CODE = re.compile(
    r"```|[;{}][ \t]*$|^[ \t]*(?:def|class|import|from|function|const|let|var|public|#include|SELECT)\b", re.MULTILINE
)
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def judge(row: Row, asked: Asked) -> Verdict | None:
    found = [said for part in parts(row) for said in _found(part.role, part.text[:MOST_CHARACTERS], row, asked)]
    if not found:
        return None
    return Verdict(found[:1], () if asked.action == "drop" else None)


def _found(role: str, text: str, row: Row, asked: Asked) -> list[Found]:
    options = asked.options
    if role not in (TEXT, ANSWER) or len(text) < FEWEST_CHARACTERS:
        return []
    found: list[Found] = []
    for name, share in zip(("repeated", "looped"), repeated_shares(text)):
        if share > options[name]:
            found.append(("repeats_itself", {"share": _percent(share), "limit": _percent(options[name])}))
            break
    if role == TEXT and not is_code(text, asked.file_of(row)):
        found += _of_document(text, options)
    if wanted := [one.strip() for one in options["languages"].split(",") if one.strip()]:
        language, share = _classify()(text)
        if language not in wanted and share >= options["language"]:
            found.append(("other_language", {"language": language, "wanted": ", ".join(wanted)}))
    return found


def _of_document(text: str, options: dict[str, Any]) -> list[Found]:
    found: list[Found] = []
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) >= FEWEST_LINES and (again := 1 - len(set(lines)) / len(lines)) > options["lines"]:
        found.append(("repeats_lines", {"share": _percent(again), "limit": _percent(options["lines"])}))
    words = _words(text)
    if len(words) < FEWEST_WORDS:
        return found
    if (symbols := len(_SYMBOL.findall(text)) / len(words)) > options["symbols"]:
        found.append(("symbols", {"share": _percent(symbols), "limit": _percent(options["symbols"])}))
    if (letters := sum(any(map(str.isalpha, word)) for word in words) / len(words)) < options["letters"]:
        found.append(("few_letters", {"share": _percent(letters), "limit": _percent(options["letters"])}))
    return found


def _words(text: str) -> list[str]:
    """By blanks; of a language without them each character is one. A mark alone is none: tables have many."""
    spaced = _WIDE.sub(r" \g<0> ", text) if _WIDE.search(text) else text
    return [word for word in spaced.split() if any(map(str.isalnum, word))]


def repeated_shares(text: str) -> tuple[float, float]:
    """(what the most frequent 10-grams of characters make of all, as BLOOM's makers and data-juicer count: as many of
    them as the root of their number, and only those that stand more than once; the 10-grams that stood before)."""
    written = " ".join(text.split()).encode("utf-32-le", "surrogatepass")
    points = np.frombuffer(written, np.uint32).astype(np.uint64)
    if len(points) < GRAM:
        return 0.0, 0.0
    grams = np.zeros(len(points) - GRAM + 1, np.uint64)
    for at in range(GRAM):
        grams = (grams ^ points[at : at + len(grams)]) * np.uint64(0xBF58476D1CE4E5B9)
        grams ^= grams >> np.uint64(31)
    counts = np.sort(np.unique(grams, return_counts=True)[1])[::-1]
    most = min(math.isqrt(len(counts)), int((counts > 1).sum()))
    return float(counts[:most].sum() / counts.sum()), float(1 - len(counts) / counts.sum())


def is_code(text: str, file: str = "") -> bool:
    """By the file's name, else where every fifth line looks like it."""
    if file and format_of(file) == "code":
        return True
    return len(_CODE.findall(text)) >= max(2, text.count("\n") / 5)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


@cache
def _classify() -> Any:
    """py3langid with scores that add up to 1."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_pickled_model(MODEL_FILE, norm_probs=True).classify
