"""Rows of more tokens than `max_length`: left out, cut at their end, or split into examples of their own. Nothing of it
is silent: what each choice keeps is counted before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from estimator.recipe.recipe import Recipe
from studio.rendering.row_tokens import IGNORED, Dropped, Encoded, encode_row, encode_whole

Range = tuple[int, int]
"""First token and the one after the last."""


def fitted(
    tokenizer: Any, row: dict[str, Any], recipe: Recipe, cancelled: Callable[[], bool] = lambda: False
) -> list[Encoded] | Dropped:
    """The examples that one normalised row is trained as, or why there is none. Raises as `encode_row` does."""
    if recipe.excess_length_strategy == "drop":
        result = encode_row(tokenizer, row, recipe, cancelled)
        return result if isinstance(result, Dropped) else [result]
    whole = encode_whole(tokenizer, row, recipe, cancelled)
    if isinstance(whole, Dropped):
        return whole
    return parts_of(whole, recipe)


def parts_of(whole: Encoded, recipe: Recipe) -> list[Encoded] | Dropped:
    """What the limit leaves of a whole row; texts of parts are of those that have places."""
    trained, length = trained_ranges(whole.labels), len(whole.input_ids)
    found = examples(length, whole.ends, trained, recipe.max_length, recipe.excess_length_strategy)
    return [piece(whole, *one) for one in found] or without_examples(length, recipe)


def without_examples(length: int, recipe: Recipe) -> Dropped:
    """Why a row that is too long is not trained."""
    reason = "too_long" if recipe.excess_length_strategy == "drop" else "cut_untrained"
    return Dropped(reason, {"length": length, "limit": recipe.max_length})


def examples(length: int, ends: tuple[int, ...], trained: list[Range], limit: int, strategy: str) -> list[Range]:
    """What of a row of `length` tokens is trained, as ranges of at most `limit` tokens: those that train nothing are
    left out."""
    return [
        one for one in ranges(length, ends, limit, strategy) if any(max(one[0], a) < min(one[1], b) for a, b in trained)
    ]


def ranges(length: int, ends: tuple[int, ...], limit: int, strategy: str) -> list[Range]:
    """All of a row in ranges, its beginning, or nothing. A conversation is split where an answer `ends`, as far as one
    does within the limit; else, and in plain text, wherever the limit falls."""
    if length <= limit:
        return [(0, length)]
    if strategy != "split":
        return [(0, limit)] if strategy == "truncate" else []
    found, at = [], 0
    while at < length:
        end = min(length, at + limit)
        if end < length:
            end = max((place for place in ends if at < place <= end), default=end)
        found.append((at, end))
        at = end
    return found


def trained_ranges(labels: Any) -> list[Range]:
    """Where the labels are trained."""
    on = np.concatenate([[False], np.asarray(labels, np.int64) != IGNORED, [False]])
    edges = np.flatnonzero(on[1:] != on[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def piece(whole: Encoded, first: int, last: int) -> Encoded:
    """A range of a row's tokens as an example. What was cut off takes its end token with it: nobody is taught to stop
    there."""
    if (first, last) == (0, len(whole.input_ids)):
        return whole
    ids, labels = whole.input_ids[first:last], whole.labels[first:last]
    if not whole.offsets:
        return Encoded(ids, labels, "", [], whole.notes, part_of=len(whole.input_ids))
    offsets = whole.offsets[first:last]
    start = offsets[0][0] if first else 0
    end = len(whole.text) if last == len(whole.input_ids) else max(start, offsets[-1][1])
    places = [(low - start, high - start) for low, high in offsets]
    return Encoded(ids, labels, whole.text[start:end], places, whole.notes, part_of=len(whole.input_ids))
