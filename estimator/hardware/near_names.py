"""What a mistyped name of a card may mean: words mended by like spelling, and the closest names. No number is ever
mended, only listed: 4060 and 4090 are one key apart. No catalogue is asked here."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

ALIKE = 0.66
"""Likeness (difflib's ratio) from which on a word of letters is another one mistyped: `rxt` and `rtx` have 0.67."""
SHORTEST_LEFT_OUT = 3
"""Letters of a word that may be left out because no card has it: shorter ones are parts of names, as `D` and `M`."""


def mended(words: Iterable[str], known: Collection[str], silent: Collection[str]) -> frozenset[str]:
    """The words with those of letters that no card has read as what they nearly are, or left out: `rxt 4090`, `nvida
    4090`, `msi 4090`.

    `known` are the words of cards, `silent` those that tell no card from another. Numbers, and words of one or two
    letters, stay."""
    kept = set()
    for word in words:
        if word in known or len(word) < SHORTEST_LEFT_OUT or any(character.isdecimal() for character in word):
            kept.add(word)
            continue
        everything = sorted({*known, *silent})
        turned = [one for one in everything if sorted(one) == sorted(word)]  # two keys in the wrong order
        near = turned or difflib.get_close_matches(word, everything, n=1, cutoff=ALIKE)
        if near and near[0] not in silent:
            kept.add(near[0])
    return frozenset(kept)


def numbers_like(words: Iterable[str], known: Collection[str]) -> list[str]:
    """The known words with digits that are most like those typed, the likeliest first: two keys in the wrong order
    (`4009`), a beginning (`910b`), then like spelling."""
    numbered = [word for word in known if any(character.isdecimal() for character in word)]
    found: dict[str, None] = {}
    for typed in (word for word in words if any(character.isdecimal() for character in word)):
        found |= dict.fromkeys(word for word in numbered if sorted(word) == sorted(typed))
        found |= dict.fromkeys(word for word in numbered if len(typed) > 2 and word.startswith(typed))
        found |= dict.fromkeys(difflib.get_close_matches(typed, numbered, n=4, cutoff=0.7))
    return list(found)
