"""Many rows at once to tokens and labels: what `excess.fitted` makes of each, several times faster.

The template runs on a hundred conversations within one bound, the Rust tokenizer takes a thousand texts with all its
threads while the next are rendered, and places of turns become tokens by binary search. A row of which anything is out
of the ordinary (calls of tools, tokens whose places do not rise, a prompt that would join its answer, a refusal) goes
the way of one row: that way says what is right, and a test holds this one to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Waiting
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.forms import for_task
from studio.rendering import seen
from studio.rendering.excess import fitted, parts_of
from studio.rendering.messages import clean
from studio.rendering.row_tokens import (
    IGNORED,
    LONGEST_TOKENS,
    PIECE_CHARACTERS,
    TASK,
    Dropped,
    Encoded,
    bare,
    between_blanks,
    text_ids,
    trained_turns,
    unknown_in,
    wanted_turns,
)
from studio.rendering.stretches import Endings
from studio.rendering.templates import Rendered, form_of
from studio.rendering.token_places import Tokens

ROWS_AT_ONCE, CHARACTERS_AT_ONCE = 1_000, 1_000_000
"""The tokenizer cannot be stopped at its work: so much takes it half a second."""
FIRST_ROWS, SLOW_SECONDS, WAIT_SECONDS = 32, 0.5, 0.1
Row = dict[str, Any]
Result = list[Encoded] | Dropped
Cancelled = Callable[[], bool]


@dataclass
class _Part:
    """Some rows on their way: which go alone, and the texts of the others."""

    rows: list[Row]
    texts: dict[int, str]
    """Plain ones, by place in `rows`."""
    rendered: dict[int, Rendered]
    """Conversations."""
    tokens: Future[tuple[list[list[int]], Tokens | None]] | None = None


def fitted_rows(
    tokenizer: Any, rows: Iterable[Row], recipe: Recipe, cancelled: Cancelled = lambda: False
) -> Iterator[tuple[Row, Result]]:
    """Each row with the examples that it is trained as, or why there is none. Raises as `fitted` does."""
    tokenizer("a", add_special_tokens=False)  # leaves the Rust tokenizer without padding and cutting
    ending = Endings(tokenizer)
    pool = ThreadPoolExecutor(1)
    try:
        before: _Part | None = None
        for part in _parts(tokenizer, rows, cancelled):
            part.tokens = pool.submit(_encode, tokenizer, part)
            if before:
                yield from _finished(tokenizer, ending, before, recipe, cancelled)
            before = part
        if before:
            yield from _finished(tokenizer, ending, before, recipe, cancelled)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # whoever cancels does not wait for the tokenizer


def _parts(tokenizer: Any, rows: Iterable[Row], cancelled: Cancelled) -> Iterator[_Part]:
    for some in _in_parts(rows):
        if cancelled():
            raise Problem("worker.cancelled")
        plain = [at for at, row in enumerate(some) if _is_plain(row)]
        made = form_of(tokenizer).conversations([some[at]["messages"] for at in plain], cancelled)
        # A longer text is counted in pieces first, which is the way of one row.
        rendered = {at: one for at, one in zip(plain, made, strict=True) if one and len(one.text) <= PIECE_CHARACTERS}
        texts = {}
        for at, row in enumerate(some):
            if _is_text(row) and len(text := bare(tokenizer, clean(row["text"]))) <= PIECE_CHARACTERS:
                texts[at] = text
        yield _Part(some, texts, rendered)


def _in_parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows as they are trained; one that is not goes on as it is, the way of one row."""
    some: list[Row] = []
    size, count, began = 0, FIRST_ROWS, time.monotonic()
    for row in rows:
        row = for_task(row, TASK) or row
        some.append(row)
        size += sum(len(one["content"]) for one in row["messages"]) if "messages" in row else len(row.get("text", ""))
        if len(some) >= min(count, ROWS_AT_ONCE) or size >= CHARACTERS_AT_ONCE:
            yield some
            # A slow template gets fewer at once: somebody waits to see how far it is.
            took, began = time.monotonic() - began, time.monotonic()
            count = max(1, len(some) // 2) if took > SLOW_SECONDS else 4 * len(some)
            some, size = [], 0
    if some:
        yield some


def _is_text(row: Row) -> bool:
    return "text" in row and "messages" not in row and for_task(row, TASK) is row


def _is_plain(row: Row) -> bool:
    return "messages" in row and not row.get("tools") and not any("tool_calls" in one for one in row["messages"])


def _encode(tokenizer: Any, part: _Part) -> tuple[list[list[int]], Tokens | None]:
    """The ids of plain texts, and the tokens of conversations; runs beside Python."""
    texts = list(part.texts.values())
    plain = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=True) if texts else []
    talks = [one.text for one in part.rendered.values()]
    return [one.ids for one in plain], Tokens(tokenizer, talks) if talks else None


def _waited(future: Future[Any], cancelled: Cancelled) -> Any:
    while True:
        try:
            return future.result(WAIT_SECONDS)
        except Waiting:
            if cancelled():
                raise Problem("worker.cancelled") from None


def _finished(
    tokenizer: Any, ending: Endings, part: _Part, recipe: Recipe, cancelled: Cancelled
) -> Iterator[tuple[Row, Result]]:
    assert part.tokens is not None
    plain, tokens = _waited(part.tokens, cancelled)
    found = _Talks(tokenizer, ending, part, tokens, recipe).results() if tokens else {}
    for (at, text), ids in zip(part.texts.items(), plain, strict=True):
        if (result := _text(tokenizer, text, ids, recipe)) is not None:
            found[at] = result
    for at, row in enumerate(part.rows):
        if cancelled():
            raise Problem("worker.cancelled")
        yield row, found[at] if at in found else fitted(tokenizer, row, recipe, cancelled)


def _text(tokenizer: Any, text: str, ids: list[int], recipe: Recipe) -> Result | None:
    ids, _, text = text_ids(tokenizer, text, ids, [])
    made = np.array(ids, np.int32)
    return _within(Encoded(made, made, text, [], unknown_in(tokenizer, text, made)), recipe)


def _within(whole: Encoded, recipe: Recipe) -> Result | None:
    """What the limit leaves of a row; None where it goes the way of one row."""
    if (length := len(whole.input_ids)) <= recipe.max_length:
        return [whole]
    return parts_of(whole, recipe) if length <= LONGEST_TOKENS else None


class _Talks:
    """The conversations of a part, which all train what stands between places of their turns."""

    def __init__(self, tokenizer: Any, ending: Endings, part: _Part, tokens: Tokens, recipe: Recipe) -> None:
        self.tokenizer, self.ending, self.part, self.tokens, self.recipe = tokenizer, ending, part, tokens, recipe
        self.places = list(part.rendered)
        self.turns = [(text, turn) for text, at in enumerate(self.places) for turn in part.rendered[at].turns]
        self.trains = [
            trained_turns(tokenizer, part.rows[at]["messages"], one) for at, one in self.part.rendered.items()
        ]

    def results(self) -> dict[int, Result]:
        """What becomes of those that are in order, by place in the part."""
        tokens, ids = self.tokens, self.tokens.ids
        spans = [(text, turn.start, turn.end) for text, turn in self.turns]
        first, last, reaches_in, reaches_out = tokens.between(spans)
        alone = tokens.irregular | self._joined(reaches_in) | {spans[at][0] for at in np.flatnonzero(reaches_out)}
        is_trained = self._is_trained()
        answers = self.ending.closed(tokens, first[is_trained], last[is_trained])
        mask = answers
        if not self.recipe.assistant_only_loss:
            mask = ~self.ending.closed(tokens, first[~is_trained], last[~is_trained])
        labels = np.where(mask, ids, np.int32(IGNORED))
        trained = np.concatenate([np.zeros(1, np.int64), np.cumsum(mask)])[tokens.firsts]
        trained_tokens, edges = np.diff(trained).tolist(), tokens.firsts.tolist()
        over, opens = self.ending.ends(tokens, answers), self.ending.open(tokens, answers)
        made: dict[int, Result] = {}
        for text, (at, rendered) in enumerate(self.part.rendered.items()):
            if text in alone:
                continue
            messages = self.part.rows[at]["messages"]
            if lost := seen.lost(messages, None, rendered):
                made[at] = Dropped(lost.reason, lost.params)
                continue
            stretch = slice(edges[text], edges[text + 1])
            row_ids, row_labels = ids[stretch], labels[stretch]
            if text in opens:
                row_ids, row_labels = (np.append(one, np.int32(self.ending.eos)) for one in (row_ids, row_labels))
            elif not trained_tokens[text]:
                if len(row_ids) <= self.recipe.max_length:
                    made[at] = Dropped("nothing_trained")
                continue
            notes = self._notes(text, messages, rendered, row_labels)
            whole = Encoded(row_ids, row_labels, rendered.text, [], notes, over.get(text, ()))
            if (result := _within(whole, self.recipe)) is not None:
                made[at] = result
        return made

    def _is_trained(self) -> np.ndarray:
        """Of each turn."""
        found: list[bool] = []
        for rendered, trains in zip(self.part.rendered.values(), self.trains, strict=True):
            if len(trains) == len(rendered.turns):
                found += [True] * len(trains)
            else:
                found += [turn in trains for turn in rendered.turns]
        return np.array(found, bool)

    def _notes(self, text: int, messages: list[Row], rendered: Rendered, labels: np.ndarray) -> tuple[str, ...]:
        only_read: tuple[str, ...] = ()
        if len(trains := self.trains[text]) < len(rendered.turns) and len(trains) < len(
            wanted_turns(messages, rendered)
        ):
            only_read = (seen.READ,)
        unknown: tuple[str, ...] = ()
        if self.ending.has_unknown:
            unknown = unknown_in(self.tokenizer, rendered.text, labels[labels != IGNORED])
        return (*seen.notes(messages, rendered), *only_read, *unknown)

    def _joined(self, reaches_in: np.ndarray) -> set[int]:
        """Texts in which a token joins a prompt to its answer. Blanks may be missing from the places of tokens: there
        the prompt alone has to give the same tokens."""
        found, asked = set(), []
        talks = list(self.part.rendered.values())
        for (text, turn), joins in zip(self.turns, reaches_in.tolist(), strict=True):
            whole, cut = talks[text].text, turn.start
            if 0 < cut < len(whole) and between_blanks(whole, cut):
                asked.append((text, whole[:cut]))
            elif joins and 0 < cut < len(whole):
                found.add(text)
        prompts = [prompt for _, prompt in asked]
        alone = self.tokenizer.backend_tokenizer.encode_batch_fast(prompts, add_special_tokens=False) if asked else []
        for (text, _), prompt in zip(asked, alone, strict=True):
            begin = int(self.tokens.firsts[text])
            ids = self.tokens.ids[begin : min(begin + len(prompt), int(self.tokens.firsts[text + 1]))]
            if ids.tolist() != prompt.ids:
                found.add(text)
        return found
