"""The presets that words find: parts of a name in any order, a size as people write it, families by their Chinese
names."""

from __future__ import annotations

import re
import unicodedata

from estimator.model.catalog import ModelPreset, models
from estimator.model.family_names import in_latin

_WORDS = re.compile(r"\d+(?:\.\d+)*[a-z]?(?![a-z\d])|[^\W\d_]+|\d+(?:\.\d+)*")


def words_of(text: str) -> list[str]:
    """Small letters and numbers, a size with its letter: `Qwen2.5-32B` is qwen, 2.5, 32b."""
    return _WORDS.findall(in_latin(unicodedata.normalize("NFKC", text)).casefold())


def searched(text: str) -> list[ModelPreset]:
    """The presets that have all words of `text`, the newest first, in the file's order where it is empty; a word of
    letters may be the beginning of one of theirs, a size has to be theirs."""
    asked = words_of(text)
    found = [preset for preset in models().values() if _has(words_of(preset.id + " " + preset.family), asked)]
    return sorted(found, key=lambda preset: preset.released, reverse=True) if asked else found


def _has(own: list[str], asked: list[str]) -> bool:
    return all(any(one == word or (word.isalpha() and one.startswith(word)) for one in own) for word in asked)
