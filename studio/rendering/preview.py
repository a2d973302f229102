"""What a dataset becomes for a base: the rows measured whole, what fits, what is left out and why; and a page of rows,
painted."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimator.core.problems import Problem
from estimator.recipe.recipe import EXCESS_LENGTH_STRATEGIES, Recipe
from studio.datasets.rows import SPLITS, page_places
from studio.datasets.store import DatasetInfo
from studio.rendering.excess import Range, examples, piece, trained_ranges, without_examples
from studio.rendering.painted import as_json, shown
from studio.rendering.rendering import dates
from studio.rendering.row_tokens import LONGEST_TOKENS, Dropped, Encoded, encode_whole
from studio.rendering.tallies import Tally
from studio.rendering.tasks import rows_of

# Above these a sample is measured (every k-th row) and the page says so: a look at the data must not take minutes.
MEASURED_ROWS = 4_000
MEASURED_BYTES = 4_000_000
# A template may take its time: what was measured by then stands for the rest.
MEASURING_SECONDS = 20.0
BINS = 40
TELL_SECONDS = 0.25
# Of a row that is too long: examples shown, and characters at each of their ends.
SAMPLE_PARTS, SAMPLE_CHARACTERS = 3, 120
FIRST_DROPPED = 100


@dataclass(frozen=True)
class Measured:
    """The measured rows, split after split, whatever the limit. `of` is the number of all rows."""

    rows: np.ndarray
    """Row numbers in the user's file."""
    files: np.ndarray
    """Which file each is of; -1 of one alone."""
    lengths: np.ndarray
    """Tokens a row; 0 where it cannot be encoded."""
    trained: list[list[Range]]
    """Trained tokens a row, as ranges."""
    ends: list[tuple[int, ...]]
    """Where a row can be split."""
    unusable: dict[int, Dropped]
    """Rows dropped for another reason than their length, by their place here."""
    bounds: dict[str, int]
    """Behind which of them each split ends: they stand in the order of `SPLITS`."""
    of: int
    step: int
    """1, or every how manieth row was measured."""
    notes: dict[str, list[int]]
    """Places here of rows of which the template leaves something out, by what it is: `reasoning_left_out`, ..."""
    numbers: dict[str, dict[str, dict[str, int]]]
    """As `tallies.Tally.result` gives them."""
    thinking: float = 0.0
    """The share of rows that reason before they answer."""


def measure(
    info: DatasetInfo,
    tokenizer: Any,
    recipe: Recipe,
    cancelled: Callable[[], bool] = lambda: False,
    tell: Callable[[dict[str, Any]], None] = lambda event: None,
) -> Measured:
    """Encode all rows, or every k-th of a large dataset; `tell` hears how far that is.

    Raises `Problem` `worker.cancelled` soon after `cancelled()`.
    """
    parts = {split: rows for split in SPLITS if (rows := info.rows(split))}
    step = math.ceil(max(info.kept / MEASURED_ROWS, info.rows().size_bytes / MEASURED_BYTES, 1))
    planned = sum(math.ceil(len(rows) / step) for rows in parts.values())
    numbers: list[int] = []
    files: list[int] = []
    lengths: list[int] = []
    trained: list[list[Range]] = []
    ends: list[tuple[int, ...]] = []
    unusable: dict[int, Dropped] = {}
    notes: dict[Any, list[int]] = defaultdict(list)
    told, began = 0.0, time.monotonic()
    until = began + MEASURING_SECONDS
    whole = recipe.replace(max_length=LONGEST_TOKENS, excess_length_strategy="drop")
    bounds, tally = dict.fromkeys(SPLITS, 0), Tally(planned)
    for split, rows in parts.items():
        # Each split has its share of the time, so that all are measured.
        picked, stored = itertools.tee(rows if step == 1 else map(rows.__getitem__, range(0, len(rows), step)))
        for row, (_, made) in zip(stored, rows_of(recipe.task).encode(tokenizer, picked, whole, cancelled)):
            if cancelled():
                raise Problem("worker.cancelled")
            if numbers and time.monotonic() > until:
                break
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                share = max(len(numbers) / planned, (told - began) / MEASURING_SECONDS)  # whichever ends it first
                tell({"phase": "tokenizing", "done": len(numbers), "of": planned, "share": min(1.0, share)})
            result = made if isinstance(made, Dropped) else made[0]
            numbers.append(row["row"])
            files.append(row.get("file", -1))
            encoded = None if isinstance(result, Dropped) else result
            tally.see(row, len(encoded.input_ids) if encoded else 0, encoded.trained_tokens if encoded else 0)
            if isinstance(result, Dropped):
                unusable[len(numbers) - 1] = result
                lengths.append(0)
                trained.append([])
                ends.append(())
                continue
            lengths.append(len(result.input_ids))
            trained.append(trained_ranges(result.labels))
            ends.append(result.ends)
            for note in result.notes:
                notes[note].append(len(numbers) - 1)
        bounds[split] = len(numbers)
        until += MEASURING_SECONDS / 4
    at = dict(zip(SPLITS, itertools.accumulate(bounds.values(), max)))
    return Measured(
        np.array(numbers),
        np.array(files),
        np.array(lengths),
        trained,
        ends,
        unusable,
        at,
        info.kept,
        step,
        dict(notes),
        tally.result(),
        tally.thinking,
    )


def view(
    info: DatasetInfo,
    tokenizer: Any,
    recipe: Recipe,
    measured: Measured,
    offset: int,
    count: int,
    places: np.ndarray | None = None,
) -> dict[str, Any]:
    """What the page shows: `rows` and `total` (of those at `places` alone where rows were looked for), `kept`,
    `dropped`, `reasons`, `first_dropped`, `measured`, `of`, `splits` (of training and validation rows the same),
    `lengths`, `excess` (what each way to treat rows that are too long would keep; None where there are none); `notes`
    (row numbers by what the template leaves out of rows that are trained), `dates` (what it writes for today);
    `numbers` (`tallies.Tally.result`); `batches` (what the training rows become: `lengths` as pairs of tokens and
    examples, `trained_share` of their tokens, rows `measured` and `of` it; `whole`, pairs of tokens and rows before
    anything is cut; `eval_rows`; `thinking`, the share that reasons)."""
    kept = _examples(measured, recipe, recipe.excess_length_strategy)
    fits = np.array([bool(one) for one in kept], bool)
    why = _reasons(measured, fits, recipe)
    sizes = {"train": info.train_rows, "eval": info.eval_rows, "test": info.test_rows}
    firsts = [0, *measured.bounds.values()]
    splits = {name: (firsts[at], measured.bounds[name], sizes[name]) for at, name in enumerate(SPLITS)}
    ranges = [(index, *one) for index, found in enumerate(kept) for one in found]
    return {
        "rows": shown(info, tokenizer, recipe, page(info, offset, count, places)),
        "offset": offset,
        "total": info.kept if places is None else len(places),
        "kept": int(fits.sum()),
        "dropped": int((~fits).sum()),
        "reasons": dict(Counter(one.reason for one in why if one)),
        "first_dropped": [_placed(measured, index, as_json(one)) for index, one in enumerate(why) if one][
            :FIRST_DROPPED
        ],
        "measured": len(measured.rows),
        "of": measured.of,
        "splits": {
            name: {
                "of": of,
                "measured": last - first,
                "reasons": dict(Counter(one.reason for one in why[first:last] if one)),
            }
            for name, (first, last, of) in splits.items()
        },
        "examples": len(ranges),
        "tokens": sum(last - first for _, first, last in ranges),
        "trained_tokens": sum(_overlap(measured.trained[index], first, last) for index, first, last in ranges),
        "lengths": _histogram(measured.lengths[measured.lengths > 0], recipe.max_length),
        "excess": _excess(info, tokenizer, recipe, measured),
        "notes": _noted(measured, fits),
        "numbers": measured.numbers,
        "batches": _batches(measured, ranges, info),
        "dates": dates(tokenizer),
    }


def page(info: DatasetInfo, offset: int, count: int, places: np.ndarray | None) -> Sequence[int]:
    """The places of one page's rows."""
    return page_places(info, offset, count) if places is None else places[offset : offset + count].tolist()


def left_out(measured: Measured, recipe: Recipe) -> list[Dropped | None]:
    """Why each measured row is left out, or None."""
    kept = _examples(measured, recipe, recipe.excess_length_strategy)
    return _reasons(measured, np.array([bool(one) for one in kept], bool), recipe)


def _examples(measured: Measured, recipe: Recipe, strategy: str) -> list[list[Range]]:
    """What each row is trained as; nothing where it is not."""
    return [
        examples(int(length), ends, trained, recipe.max_length, strategy) if length else []
        for length, ends, trained in zip(measured.lengths, measured.ends, measured.trained, strict=True)
    ]


def _batches(measured: Measured, ranges: list[tuple[int, int, int]], info: DatasetInfo) -> dict[str, Any]:
    train = [one for one in ranges if one[0] < measured.bounds["train"]]
    tokens = sum(last - first for _, first, last in train)
    trained = sum(_overlap(measured.trained[index], first, last) for index, first, last in train)
    return {
        "lengths": sorted(Counter(last - first for _, first, last in train).items()),
        "trained_share": trained / tokens if tokens else 0.0,
        "measured": measured.bounds["train"],
        "of": info.train_rows,
        "eval_rows": info.eval_rows,
        "whole": _whole(measured),
        "thinking": measured.thinking,
    }


def _whole(measured: Measured) -> list[tuple[int, int]]:
    """Tokens of the training rows as they are before anything is cut, and how many rows have them."""
    lengths, times = np.unique(measured.lengths[: measured.bounds["train"]], return_counts=True)
    return [(length, count) for length, count in zip(lengths.tolist(), times.tolist()) if length]


def _placed(measured: Measured, index: int, said: dict[str, Any]) -> dict[str, Any]:
    """What is said of a measured row, with its number, and its file where there are several."""
    file = int(measured.files[index])
    params = said["params"] | ({"file": file} if file >= 0 else {})
    return {"row": int(measured.rows[index]), **said, "params": params}


def _overlap(trained: list[Range], first: int, last: int) -> int:
    return sum(max(0, min(last, b) - max(first, a)) for a, b in trained)


def _reasons(measured: Measured, fits: np.ndarray, recipe: Recipe) -> list[Dropped | None]:
    """Why each row is left out."""
    return [
        None if fit else measured.unusable.get(index) or without_examples(int(length), recipe)
        for index, (length, fit) in enumerate(zip(measured.lengths, fits, strict=True))
    ]


def _excess(info: DatasetInfo, tokenizer: Any, recipe: Recipe, measured: Measured) -> dict[str, Any] | None:
    """The measured rows that are too long: how many, of how many tokens, and what each strategy makes of them. And one
    of them, with its text around the places where it would be cut."""
    over = np.flatnonzero(measured.lengths > recipe.max_length)
    if not len(over):
        return None
    choices = {}
    for strategy in EXCESS_LENGTH_STRATEGIES:
        kept = _examples(measured, recipe, strategy)
        found = [one for index in over for one in kept[index]]
        choices[strategy] = {
            "rows": sum(bool(kept[index]) for index in over),
            "examples": len(found),
            "tokens": sum(last - first for first, last in found),
        }
    return {
        "rows": len(over), "tokens": int(measured.lengths[over].sum()), "of_tokens": int(measured.lengths.sum()),
        "strategy": recipe.excess_length_strategy, "choices": choices,
        "sample": _sample(info, tokenizer, recipe, measured, int(over[0])),
    }  # fmt: skip


def _sample(info: DatasetInfo, tokenizer: Any, recipe: Recipe, measured: Measured, index: int) -> dict[str, Any] | None:
    """A measured row that is too long, and the text at the ends of what each strategy makes of it."""
    split = next(name for name in SPLITS if index < measured.bounds[name])
    first = max((end for end in measured.bounds.values() if end <= index), default=0)
    row = info.rows(split)[(index - first) * measured.step]
    whole = encode_whole(tokenizer, row, recipe)
    if not isinstance(whole, Encoded):
        return None
    trained, length = trained_ranges(whole.labels), len(whole.input_ids)
    made = {}
    for strategy in ("truncate", "split"):
        found = examples(length, whole.ends, trained, recipe.max_length, strategy)
        parts = [piece(whole, *one) for one in found[:SAMPLE_PARTS]]
        made[strategy] = {"examples": len(found), "parts": [_ends_of(part) for part in parts]}
    cut_off = piece(whole, recipe.max_length, length).text[:SAMPLE_CHARACTERS]
    return {"row": row["row"], "length": length, "whole": _ends_of(whole), "cut_off": cut_off, **made}


def _ends_of(encoded: Encoded) -> dict[str, Any]:
    """The first and last characters of a text, `last` empty where it is short."""
    text, reach = encoded.text, SAMPLE_CHARACTERS
    is_short = len(text) <= 2 * reach
    return {
        "length": len(encoded.input_ids),
        "first": text if is_short else text[:reach],
        "last": "" if is_short else text[-reach:],
    }


def _noted(measured: Measured, fits: np.ndarray) -> dict[str, list[int]]:
    noted = {note: measured.rows[[at for at in places if fits[at]]].tolist() for note, places in measured.notes.items()}
    return {note: rows for note, rows in noted.items() if rows}


def _histogram(lengths: np.ndarray, limit: int) -> dict[str, Any]:
    """Rows by length in `BINS` equal bins from 0, and of each bin those `over` the limit; the axis reaches the limit
    where that is near."""
    if not len(lengths):
        return {"top": limit, "counts": [], "over": [], "longest": 0, "median": 0, "shortest": 0}
    longest = int(lengths.max())
    reach = max(longest, limit) if limit <= 2 * longest else longest
    width = math.ceil((reach + 1) / BINS)
    bins: dict[str, Any] = {"bins": BINS, "range": (0, width * BINS)}
    counts, over = np.histogram(lengths, **bins)[0], np.histogram(lengths[lengths > limit], **bins)[0]
    found = {"longest": longest, "median": int(np.median(lengths)), "shortest": int(lengths.min())}
    return {"top": width * BINS, "counts": counts.tolist(), "over": over.tolist(), **found}
