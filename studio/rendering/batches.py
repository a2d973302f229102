"""Many rows at once to tokens and labels: what `excess.fitted` makes of each, several times faster.

The template runs on a hundred conversations within one bound, the Rust tokenizer takes thousands of texts with all its
threads while the next are rendered, and places of turns become tokens by binary search. A row of which anything is out
of the ordinary (calls of tools, tokens whose places do not rise, a prompt that would join its answer, a refusal) goes
the way of one row: that way says what is right, and a test holds this one to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.forms import for_task
from studio.rendering import seen
from studio.rendering.excess import fitted
from studio.rendering.messages import clean
from studio.rendering.row_tokens import (
    IGNORED,
    PIECE_CHARACTERS,
    TASK,
    Dropped,
    Encoded,
    bare,
    between_blanks,
    closed_until,
    is_closed,
    text_ids,
    trained_turns,
    unknown_in,
    wanted_turns,
)
from studio.rendering.templates import Rendered, Turn, form_of

ROWS_AT_ONCE, CHARACTERS_AT_ONCE = 1_000, 4_000_000
Row = dict[str, Any]
Result = list[Encoded] | Dropped
Cancelled = Callable[[], bool]


@dataclass
class _Part:
    """Some rows on their way: which go alone, and the texts of the others."""

    rows: list[Row]
    texts: dict[int, str]
    """By place in `rows`."""
    rendered: dict[int, Rendered]
    """Of those that are conversations."""
    encodings: Future[list[Any]] | None = None


def fitted_rows(
    tokenizer: Any, rows: Iterable[Row], recipe: Recipe, cancelled: Cancelled = lambda: False
) -> Iterator[tuple[Row, Result]]:
    """Each row with the examples that it is trained as, or why there is none. Raises as `fitted` does."""
    tokenizer("a", add_special_tokens=False)  # leaves the Rust tokenizer without padding and cutting
    with ThreadPoolExecutor(1) as pool:
        before: _Part | None = None
        for part in _parts(tokenizer, rows, cancelled):
            part.encodings = pool.submit(_encode, tokenizer, part)
            if before:
                yield from _finished(tokenizer, before, recipe, cancelled)
            before = part
        if before:
            yield from _finished(tokenizer, before, recipe, cancelled)


def _parts(tokenizer: Any, rows: Iterable[Row], cancelled: Cancelled) -> Iterator[_Part]:
    for some in _in_parts(rows):
        if cancelled():
            raise Problem("worker.cancelled")
        plain = [at for at, row in enumerate(some) if _is_plain(row)]
        made = form_of(tokenizer).conversations([some[at]["messages"] for at in plain])
        # A longer text is counted in pieces first, which is the way of one row.
        rendered = {at: one for at, one in zip(plain, made, strict=True) if one and len(one.text) <= PIECE_CHARACTERS}
        texts = {at: one.text for at, one in rendered.items()}
        for at, row in enumerate(some):
            if _is_text(row) and len(text := bare(tokenizer, clean(row["text"]))) <= PIECE_CHARACTERS:
                texts[at] = text
        yield _Part(some, texts, rendered)


def _in_parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows as they are trained; one that is not goes on as it is, the way of one row."""
    some: list[Row] = []
    size = 0
    for row in rows:
        row = for_task(row, TASK) or row
        some.append(row)
        size += sum(len(one["content"]) for one in row["messages"]) if "messages" in row else len(row.get("text", ""))
        if len(some) >= ROWS_AT_ONCE or size >= CHARACTERS_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _is_text(row: Row) -> bool:
    return "text" in row and "messages" not in row and for_task(row, TASK) is row


def _is_plain(row: Row) -> bool:
    return "messages" in row and not row.get("tools") and not any(one.get("tool_calls") for one in row["messages"])


def _encode(tokenizer: Any, part: _Part) -> list[Any]:
    """The Rust tokenizer's encodings, in the order of `part.texts`; runs beside Python."""
    backend, plain = tokenizer.backend_tokenizer, [at for at in part.texts if at not in part.rendered]
    made = dict(zip(plain, backend.encode_batch([part.texts[at] for at in plain], add_special_tokens=True)))
    talks = list(part.rendered)
    made |= zip(talks, backend.encode_batch([part.texts[at] for at in talks], add_special_tokens=False))
    return [made[at] for at in part.texts]


def _finished(tokenizer: Any, part: _Part, recipe: Recipe, cancelled: Cancelled) -> Iterator[tuple[Row, Result]]:
    assert part.encodings is not None
    encodings = dict(zip(part.texts, part.encodings.result(), strict=True))
    talks = _conversations(tokenizer, part, {at: encodings[at] for at in part.rendered}, recipe)
    for at, row in enumerate(part.rows):
        if cancelled():
            raise Problem("worker.cancelled")
        made: Result | None = talks.get(at)
        if at in part.texts and at not in part.rendered:
            made = _text(tokenizer, part.texts[at], encodings[at], recipe)
        yield row, fitted(tokenizer, row, recipe, cancelled) if made is None else made


def _text(tokenizer: Any, text: str, encoding: Any, recipe: Recipe) -> Result | None:
    ids, _, text = text_ids(tokenizer, text, encoding.ids, [])
    if len(ids) > recipe.max_length:
        return None
    made = np.array(ids, np.int32)
    return [Encoded(made, made, text, [], unknown_in(tokenizer, text, made))]


class _Tokens:
    """The tokens of many texts behind one another. Places are characters of all texts behind one another too, so that
    one search finds the tokens of all."""

    def __init__(self, texts: list[str], encodings: list[Any]) -> None:
        counts = np.array([len(one) for one in encodings], np.int64)
        self.ids = np.fromiter(chain.from_iterable(one.ids for one in encodings), np.int32, counts.sum())
        offsets = chain.from_iterable(chain.from_iterable(one.offsets for one in encodings))
        starts, ends = np.fromiter(offsets, np.int64, 2 * counts.sum()).reshape(-1, 2).T
        owners = np.repeat(np.arange(len(texts)), counts)
        self.firsts: np.ndarray = np.cumsum([0, *counts])
        """The first token of each text, and the one after all."""
        self.bases = np.cumsum([0, *(len(text) + 2 for text in texts)])
        """The first character of each text."""
        self.starts, self.ends = starts + self.bases[owners], ends + self.bases[owners]
        falls = starts >= ends
        falls[1:] |= (np.diff(self.starts) < 0) | (np.diff(self.ends) < 0)
        self.irregular = set(np.unique(owners[falls]).tolist())
        """Texts with tokens of no width, or whose places do not rise."""
        of_those = np.isin(owners, list(self.irregular))
        self.starts[of_those] = self.ends[of_those] = self.bases[owners[of_those]]

    def between(self, spans: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of (text, first character, one after the last): the tokens with a character between, as the first and the one
        after the last; and whether the first begins before that character."""
        texts, lows, highs = np.array(spans, np.int64).reshape(-1, 3).T
        lows, highs = lows + self.bases[texts], highs + self.bases[texts]
        first, last = np.searchsorted(self.ends, lows, "right"), np.searchsorted(self.starts, highs, "left")
        last = np.where(lows < highs, np.maximum(first, last), first)
        reaches_in = (first < self.firsts[texts + 1]) & (self.starts[np.minimum(first, len(self.ids) - 1)] < lows)
        return first, last, reaches_in


def _conversations(tokenizer: Any, part: _Part, encodings: dict[int, Any], recipe: Recipe) -> dict[int, Result]:
    """What becomes of those that are in order, by place in the part."""
    if not encodings:
        return {}
    places = list(part.rendered)
    tokens = _Tokens([part.texts[at] for at in places], [encodings[at] for at in places])
    turns = [(text, turn) for text, at in enumerate(places) for turn in part.rendered[at].turns]
    first, last, reaches_in = tokens.between([(text, turn.start, turn.end) for text, turn in turns])
    alone = tokens.irregular | _joined(tokenizer, part, places, turns, reaches_in, encodings)
    trains = {at: trained_turns(tokenizer, part.rows[at]["messages"], part.rendered[at]) for at in places}
    is_trained = np.array([turn in trains[places[text]] for text, turn in turns], bool)
    mask = _closed(tokenizer, tokens, first[is_trained], last[is_trained])
    read = None
    if not recipe.assistant_only_loss:
        read = _closed(tokenizer, tokens, first[~is_trained], last[~is_trained])
    made: dict[int, Result] = {}
    for text, at in enumerate(places):
        if text in alone:
            continue
        stretch = slice(int(tokens.firsts[text]), int(tokens.firsts[text + 1]))
        on = (mask[stretch], None if read is None else ~read[stretch])
        result = _one(tokenizer, part.rows[at], part.rendered[at], trains[at], tokens.ids[stretch], on, recipe)
        if result is not None:
            made[at] = result
    return made


def _joined(
    tokenizer: Any, part: _Part, places: list[int], turns: list[tuple[int, Turn]], reaches_in: Any, encodings: Any
) -> set[int]:
    """Texts in which a token joins a prompt to its answer. Blanks may be missing from the places of tokens: there the
    prompt alone has to give the same tokens."""
    found, asked = set(), []
    for (text, turn), joins in zip(turns, reaches_in.tolist(), strict=True):
        whole, cut = part.texts[places[text]], turn.start
        if 0 < cut < len(whole) and between_blanks(whole, cut):
            asked.append((text, whole[:cut]))
        elif joins and 0 < cut < len(whole):
            found.add(text)
    alone = tokenizer.backend_tokenizer.encode_batch([prompt for _, prompt in asked], add_special_tokens=False)
    for (text, _), prompt in zip(asked, alone, strict=True):
        if encodings[places[text]].ids[: len(prompt)] != prompt.ids:
            found.add(text)
    return found


def _closed(tokenizer: Any, tokens: _Tokens, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Which tokens are of these stretches, the ends of turns included."""
    steps = np.zeros(len(tokens.ids) + 1, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last, -1)
    mask = np.cumsum(steps)[:-1] > 0
    follows = np.append(mask[1:], False)
    follows[tokens.firsts[1:][np.diff(tokens.firsts) > 0] - 1] = False  # the next text's
    closed = mask.copy()
    for at in np.flatnonzero(mask & ~follows).tolist():
        text = int(np.searchsorted(tokens.firsts, at, "right")) - 1
        begin, end = int(tokens.firsts[text]), int(tokens.firsts[text + 1])
        until = closed_until(tokenizer, tokens.ids[begin:end], at - begin)
        closed[at + 1 : begin + until] = True
    return closed


def _one(
    tokenizer: Any, row: Row, rendered: Rendered, trains: list[Turn], ids: np.ndarray,
    on: tuple[np.ndarray, np.ndarray | None], recipe: Recipe,
) -> Result | None:  # fmt: skip
    """`on`: the tokens of the trained turns; and the trained tokens where those of others are trained too."""
    messages, (answers, mask) = row["messages"], on
    if lost := seen.lost(messages, None, rendered):
        return Dropped(lost.reason, lost.params)
    ends = tuple((np.flatnonzero(answers[:-1] & ~answers[1:]) + 1).tolist())
    mask = answers if mask is None else mask
    if len(answers) and answers[-1] and not is_closed(tokenizer, ids, len(ids)):
        ids, mask = np.append(ids, np.int32(tokenizer.eos_token_id)), np.append(mask, True)
    if len(ids) > recipe.max_length:
        return None
    if not mask.any():
        return Dropped("nothing_trained")
    labels = np.where(mask, ids, np.int32(IGNORED))
    only_read = (seen.READ,) if len(trains) < len(wanted_turns(messages, rendered)) else ()
    notes = (*seen.notes(messages, rendered), *only_read, *unknown_in(tokenizer, rendered.text, ids[mask]))
    return [Encoded(ids, labels, rendered.text, [], notes, ends)]
