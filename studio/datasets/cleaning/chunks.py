"""Long texts in pieces: at headings, paragraphs, sentences, in this order, each as full as it may be.

`semantic-text-splitter` finds the places, by Unicode's rules for sentences, so that Chinese has some too, and by
Markdown's for tables and fences, which stay whole where they fit. Questions with their answers it does not know: of
a text made of them each stays with its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from estimator.core.problems import Problem

Count = Callable[[str], int]
_QUESTION = re.compile(
    r"^[ \t]*(?:[*_#]{0,4}[ \t]*)(?:Q(?:uestion)?|问题?|提问|用户|User|Human)[ \t]*\d*[ \t]*(?:\*\*)?[:：]",
    re.MULTILINE,
)
_ANSWER = re.compile(
    r"^[ \t]*(?:[*_#]{0,4}[ \t]*)(?:A(?:nswer)?|答案?|回答|助手|Assistant)[ \t]*\d*[ \t]*(?:\*\*)?[:：]", re.MULTILINE
)
_WHOLE = re.compile(
    r"^(```|~~~)[^\n]*\n.*?^\1[ \t]*$|^[ \t]*\|[^\n]*\|[ \t]*$(?:\n[ \t]*\|[^\n]*\|[ \t]*$)+", re.DOTALL | re.MULTILINE
)
"""Fences and tables: behind a long paragraph the splitter tears one in a hundred that would fit."""
FEWEST_QUESTIONS = 2


def pieces(text: str, limit: int, overlap: int = 0, count: Count | None = None, is_code: bool = False) -> list[str]:
    """`text` in pieces of at most `limit`, by `count` or in characters. Each begins with up to `overlap` of the end of
    the one before, in whole sentences or blocks; without, the pieces joined are the text.

    Raises `Problem` `dataset.overlap` for one that is no less than the limit.
    """
    if not 0 <= overlap < limit:
        raise Problem("dataset.overlap", field="overlap", value=overlap, limit=limit)
    size = count or len
    if size(text) <= limit:
        return [text]

    def split(one: str) -> list[str]:
        return _split(one, limit, overlap, count, is_code)

    asked = [found.start() for found in _QUESTION.finditer(text)]
    if len(asked) >= FEWEST_QUESTIONS and len(_ANSWER.findall(text)) >= FEWEST_QUESTIONS:
        return list(_packed(_blocks(text, asked), limit, overlap, size, split))
    made = split(text)
    whole = [found for found in _WHOLE.finditer(text) if size(found[0]) <= limit]
    if is_code or all(any(found[0] in piece for piece in made) for found in whole):
        return made
    edges = sorted({edge for found in whole for edge in found.span()})
    return list(_packed(_blocks(text, edges), limit, overlap, size, split))


def _blocks(text: str, starts: list[int]) -> list[str]:
    edges = [0, *starts, len(text)]
    return [text[begin:end] for begin, end in zip(edges, edges[1:]) if begin < end]


def _packed(
    blocks: list[str], limit: int, overlap: int, size: Count, split: Callable[[str], list[str]]
) -> Iterator[str]:
    """Whole blocks together as far as they fit; one that is too long by itself is split like any text."""
    kept: list[str] = []
    fresh = 0
    for block in blocks:
        if size(block) > limit:
            if fresh:
                yield "".join(kept)
            *full, rest = split(block)
            yield from full
            kept, fresh = [rest], 1
            continue
        if kept and size("".join(kept) + block) > limit:
            if fresh:
                yield "".join(kept)
            kept = _end(kept, min(overlap, limit - size(block)), size)
            while kept and size("".join(kept) + block) > limit:
                kept = kept[1:]
            fresh = 0
        kept.append(block)
        fresh += 1
    if fresh:
        yield "".join(kept)


def _end(blocks: list[str], overlap: int, size: Count) -> list[str]:
    """The last blocks, as many as are at most `overlap` together."""
    begin = len(blocks)
    while begin and size("".join(blocks[begin - 1 :])) <= overlap:
        begin -= 1
    return blocks[begin:]


def _split(text: str, limit: int, overlap: int, count: Count | None, is_code: bool = False) -> list[str]:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    kind = TextSplitter if is_code else MarkdownSplitter
    if count is None:
        return list(kind(limit, overlap, trim=False).chunks(text))
    return list(kind.from_callback(count, limit, overlap, trim=False).chunks(text))
