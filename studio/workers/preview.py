"""Rows as the training will see them: tokens with their labels from the collator that trains, and lengths of all rows."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS, Recipe
from studio.datasets.store import DatasetInfo, read_rows
from studio.workers.rendering import IGNORED, Dropped, Encoded, collator, dates, encode_row

# Above these a sample is measured (every k-th row) and the page says so: a look at the data must not take minutes.
MEASURED_ROWS = 4_000
MEASURED_BYTES = 4_000_000
# A template may take its time: what was measured by then stands for the rest.
MEASURING_SECONDS = 20.0
# Tokens of one row sent to the page; the rest is counted.
SHOWN_PIECES = 1_500
BINS = 40
FIRST_DROPPED = 100


@dataclass(frozen=True)
class Measured:
    """Lengths of the measured rows in file order, whatever the limit. `of` is the number of all rows."""

    rows: np.ndarray
    """Row numbers in the user's file."""
    lengths: np.ndarray
    """Tokens a row; 0 where it cannot be encoded."""
    trained: np.ndarray
    """Trained tokens a row."""
    unusable: dict[int, Dropped]
    """Rows dropped for another reason than their length, by row number."""
    of: int
    notes: dict[str, list[int]]
    """Rows of which the template leaves something out, by what it is: `reasoning_left_out`, `system_left_out`, ..."""


def measure(
    info: DatasetInfo, tokenizer: Any, recipe: Recipe, cancelled: Callable[[], bool] = lambda: False
) -> Measured:
    """Encode all rows, or every k-th of a large dataset. `recipe.max_length` must be the largest there is.

    Raises `Problem` `worker.cancelled` soon after `cancelled()`.
    """
    size = sum(file.stat().st_size for file in _files(info))
    step = math.ceil(max(info.kept / MEASURED_ROWS, size / MEASURED_BYTES, 1))
    numbers, lengths, trained, unusable, notes = [], [], [], {}, defaultdict(list)
    until = time.monotonic() + MEASURING_SECONDS
    for row in itertools.chain.from_iterable(read_rows(file, step=step) for file in _files(info)):
        if cancelled():
            raise Problem("worker.cancelled")
        if numbers and time.monotonic() > until:
            break
        result = encode_row(tokenizer, row, recipe, cancelled)
        numbers.append(row["row"])
        dropped = isinstance(result, Dropped)
        if dropped:
            unusable[row["row"]] = result
        lengths.append(0 if dropped else len(result.input_ids))
        trained.append(0 if dropped else result.trained_tokens)
        for note in () if dropped else result.notes:
            notes[note].append(row["row"])
    return Measured(np.array(numbers), np.array(lengths), np.array(trained), unusable, info.kept, dict(notes))


def view(
    info: DatasetInfo, tokenizer: Any, recipe: Recipe, measured: Measured, offset: int, count: int
) -> dict[str, Any]:
    """What the page shows: `rows`, `total`, `kept`, `dropped`, `reasons`, `first_dropped`, `measured`, `of`, `lengths`;
    `notes` (row numbers by what the template leaves out of rows that are trained), `dates` (what it writes for today)."""
    usable = measured.lengths > 0
    fits = usable & (measured.lengths <= recipe.max_length)
    reasons = Counter(dropped.reason for dropped in measured.unusable.values())
    if too_long := int((usable & ~fits).sum()):
        reasons["too_long"] = too_long
    return {
        "rows": _shown(info, tokenizer, recipe, offset, count),
        "offset": offset,
        "total": info.kept,
        "kept": int(fits.sum()),
        "dropped": int((~fits).sum()),
        "reasons": dict(reasons),
        "first_dropped": _first_dropped(measured, fits, recipe),
        "measured": len(measured.rows),
        "of": measured.of,
        "tokens": int(measured.lengths[fits].sum()),
        "trained_tokens": int(measured.trained[fits].sum()),
        "lengths": _histogram(measured.lengths[usable], recipe.max_length),
        "notes": _noted(measured, fits),
        "dates": dates(tokenizer),
    }


def _noted(measured: Measured, fits: np.ndarray) -> dict[str, list[int]]:
    kept = set(measured.rows[fits].tolist())
    noted = {note: [row for row in rows if row in kept] for note, rows in measured.notes.items()}
    return {note: rows for note, rows in noted.items() if rows}


def _first_dropped(measured: Measured, fits: np.ndarray, recipe: Recipe) -> list[dict[str, Any]]:
    found = []
    for number, length in zip(measured.rows[~fits][:FIRST_DROPPED], measured.lengths[~fits]):
        why = measured.unusable.get(int(number)) or Dropped(
            "too_long", {"length": int(length), "limit": recipe.max_length}
        )
        found.append({"row": int(number), "reason": why.reason, "params": why.params})
    return found


def _histogram(lengths: np.ndarray, limit: int) -> dict[str, Any]:
    """Rows by length in `BINS` equal bins from 0; the axis reaches the limit where that is near."""
    if not len(lengths):
        return {"top": limit, "counts": [], "longest": 0, "median": 0}
    longest = int(lengths.max())
    reach = max(longest, limit) if limit <= 2 * longest else longest
    width = math.ceil((reach + 1) / BINS)
    counts, _ = np.histogram(lengths, bins=BINS, range=(0, width * BINS))
    return {"top": width * BINS, "counts": counts.tolist(), "longest": longest, "median": int(np.median(lengths))}


def _files(info: DatasetInfo) -> list[Any]:
    return [file for file in (info.train_file, info.eval_file) if file]


def _shown(info: DatasetInfo, tokenizer: Any, recipe: Recipe, offset: int, count: int) -> list[dict[str, Any]]:
    """Rows `offset` to `offset + count`, those for training first; their labels come back from the collator."""
    whole = recipe.replace(max_length=FIELDS["max_length"].limits["high"])
    rows = list(read_rows(info.train_file, offset, count))
    if info.eval_file and len(rows) < count:
        rows += read_rows(info.eval_file, max(0, offset - info.train_rows), count - len(rows))
    results = [encode_row(tokenizer, row, whole) for row in rows]
    encoded = [result for result in results if isinstance(result, Encoded)]
    batch = collator(tokenizer)([{"input_ids": e.input_ids, "labels": e.labels} for e in encoded]) if encoded else {}
    labels = iter(batch["labels"].tolist() if encoded else [])
    shown = []
    for index, (row, result) in enumerate(zip(rows, results, strict=True)):
        split = "train" if offset + index < info.train_rows else "eval"
        if isinstance(result, Dropped):
            length = result.params["length"] if result.reason == "too_long" else 0  # too long to be shown, too
            one = {"length": length, "trained": 0, "pieces": [], "more": 0, "dropped": _as_json(result)}
        else:
            one = _tokens(tokenizer, result, next(labels)[: len(result.input_ids)], recipe)
        shown.append({"row": row["row"], "split": split, **one})
    return shown


def _tokens(tokenizer: Any, encoded: Encoded, labels: list[int], recipe: Recipe) -> dict[str, Any]:
    length = len(encoded.input_ids)
    too_long = (
        Dropped("too_long", {"length": length, "limit": recipe.max_length}) if length > recipe.max_length else None
    )
    return {
        "length": length,
        "trained": sum(label != IGNORED for label in labels),
        "pieces": list(itertools.islice(pieces(tokenizer, encoded, labels), SHOWN_PIECES)),
        "more": max(0, length - SHOWN_PIECES),
        "dropped": _as_json(too_long) if too_long else None,
    }


def _as_json(dropped: Dropped) -> dict[str, Any]:
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
