"""Rows as the page paints them: their tokens, those marked that train, by labels from the collator that trains."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from estimator.recipe.recipe import Recipe
from studio.datasets.forms import beside
from studio.datasets.rows import at_places, name_of
from studio.datasets.store import DatasetInfo
from studio.rendering.excess import examples, piece, trained_ranges, without_examples
from studio.rendering.row_tokens import IGNORED, Dropped, Encoded, encode_whole
from studio.rendering.tasks import rows_of

# Tokens of one row sent to the page; the rest is counted.
SHOWN_PIECES = 1_500


def shown(info: DatasetInfo, tokenizer: Any, recipe: Recipe, places: Iterable[int]) -> list[dict[str, Any]]:
    """The rows at these places; their labels come back from the collator. `said` is what stands in a row beside what
    is trained (`studio.datasets.forms.beside`), or all of it where nothing is."""
    found = []
    for at, split, row in at_places(info, places):
        result = encode_whole(tokenizer, row, recipe)
        if isinstance(result, Dropped):
            length = result.params["length"] if result.reason == "too_long" else 0  # too long to be shown, too
            one: dict[str, Any] = {
                "length": length,
                "trained": 0,
                "pieces": [],
                "more": 0,
                "parts": [],
                "notes": [],
                "dropped": as_json(result),
            }
        else:
            one = _tokens(tokenizer, result, recipe)
        said = list(beside(row, is_trained=not one["dropped"]))
        found.append({"row": row["row"], "place": at, "file": name_of(info, row), "split": split, **one, "said": said})
    return found


def _tokens(tokenizer: Any, encoded: Encoded, recipe: Recipe) -> dict[str, Any]:
    """A row's pieces, painted as trained where its examples are: what is left out, or cut off, is not. `parts` are the
    pieces with which another example begins, or with which the cut begins."""
    length = len(encoded.input_ids)
    found = examples(
        length, encoded.ends, trained_ranges(encoded.labels), recipe.max_length, recipe.excess_length_strategy
    )
    edges = sorted({0, length, *(edge for one in found for edge in one)})
    shown: list[Any] = []
    parts: list[Any] = []
    trained = 0
    for first, last in itertools.pairwise(edges):
        part = piece(encoded, first, last)
        labels = _collated(tokenizer, part, recipe) if (first, last) in found else [IGNORED] * (last - first)
        trained += sum(label != IGNORED for label in labels)
        if len(shown) < SHOWN_PIECES:
            parts += [len(shown)] if first and found else []
            shown += itertools.islice(pieces(tokenizer, part, labels), SHOWN_PIECES - len(shown))
    return {
        "length": length,
        "trained": trained,
        "pieces": shown,
        "more": max(0, length - SHOWN_PIECES),
        "parts": parts,
        "notes": list(encoded.notes) if found else [],
        "dropped": None if found else as_json(without_examples(length, recipe)),
    }


def _collated(tokenizer: Any, part: Encoded, recipe: Recipe) -> list[int]:
    """An example's labels as the collator that trains makes them."""
    task = rows_of(recipe.task)
    batch = task.collator(tokenizer)([{name: getattr(part, name) for name in task.columns}])
    return batch["labels"][0].tolist()[: len(part.input_ids)]


def as_json(dropped: Dropped) -> dict[str, Any]:
    return {"reason": dropped.reason, "params": dropped.params}


def pieces(tokenizer: Any, encoded: Encoded, labels: list[int]) -> Iterator[tuple[str, bool, bool]]:
    """The row's text cut at its tokens: `(text, trained, special)`. Joined, the pieces are the text.

    Tokens that share one character (a byte each of an emoji, say) are one piece; a blank that a tokenizer leaves out of
    its offsets belongs to the token after it.
    """
    special, at = set(tokenizer.all_special_ids), 0
    special |= {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    last = len(encoded.input_ids) - 1
    for index, (id, label, (_, end)) in enumerate(zip(encoded.input_ids, labels, encoded.offsets, strict=True)):
        end = len(encoded.text) if index == last else end
        following = encoded.offsets[index + 1][1] if index < last else None
        if end <= at or following == end and label == labels[index + 1]:
            continue
        yield encoded.text[at:end], label != IGNORED, id in special
        at = end
