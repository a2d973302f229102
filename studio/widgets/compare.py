"""Where two answers differ, word by word."""

from __future__ import annotations

import difflib
import functools
import re
from html import escape

# A run of letters and digits, one Chinese or Japanese character, or one other sign; blanks go with what they follow.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]\s*|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+\s*|\S\s*|\s+"
)
# Beyond so many words difflib's exact search takes longer than a reader waits; its own heuristic then helps.
EXACT_WORDS = 600

Piece = tuple[str, bool]
"""Text, and whether it differs from the other answer."""


def words(text: str) -> list[str]:
    """Pieces whose concatenation is `text`."""
    return _WORD.findall(text)


@functools.lru_cache(maxsize=256)
def word_differences(left: str, right: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Both texts as pieces; those that have no counterpart in the other are marked. Blanks alone make no difference."""
    ours, theirs = words(left), words(right)
    many = max(len(ours), len(theirs)) > EXACT_WORDS
    matcher = difflib.SequenceMatcher(None, [w.strip() for w in ours], [w.strip() for w in theirs], autojunk=many)
    pieces: tuple[list[Piece], list[Piece]] = ([], [])
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        for side, text in zip(pieces, ("".join(ours[i1:i2]), "".join(theirs[j1:j2])), strict=True):
            if text:
                side.append((text, tag != "equal"))
    return tuple(pieces[0]), tuple(pieces[1])


def marked_html(pieces: tuple[Piece, ...]) -> str:
    """Pieces as HTML: every text escaped, the differing ones in `<mark>`."""
    return "".join(f"<mark>{escape(text)}</mark>" if differs else escape(text) for text, differs in pieces)
