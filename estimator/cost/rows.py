"""A dataset's rows in batches: steps of an epoch, padding and packing, by the rows' real lengths. No torch.

A batch is padded to its longest row (TRL's DataCollatorForLanguageModeling); the order is random as Transformers'
sampler's, or by length. What a batch computes is linear in `phi` of its size (`estimator.law.law`), so an epoch is a
sum of them.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from estimator.core.problems import Problem
from estimator.law.law import Law
from estimator.recipe.batches import is_flat
from estimator.recipe.costing import MAX_ROWS
from estimator.recipe.recipe import Recipe

ORDERS = ("random", "length")
MODEL_PARALLEL = ("tp", "pp")
"""What has all devices work on the same rows; under every other type each has rows of its own."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the data. `batches` gives how often each size (rows, padded length) occurs; `tokens` are those of
    the rows, `padded_tokens` those computed."""

    rows: int
    dropped_rows: int
    tokens: int
    padded_tokens: int
    batches: Mapping[tuple[int, int], float]
    steps: int

    @property
    def wasted(self) -> float:
        """Share of what is computed that is padding."""
        return 1 - self.tokens / self.padded_tokens

    def shared_by(self, devices: int, recipe: Recipe) -> Epoch:
        """What each of `devices` has to do, or wait for. They take random batches at the same time and all wait for the
        longest, so that `batches` are the expected longest of `devices`."""
        count = round(sum(self.batches.values()))
        turns = -(-count // devices)
        longest, below, drawn = {}, 0.0, 0
        for size, times in sorted(self.batches.items(), key=lambda item: math.prod(item[0])):
            drawn += round(times)
            up_to = _none_longer(drawn, count, devices)
            longest[size] = turns * (up_to - below)
            below = up_to
        return replace(self, batches=longest, steps=math.ceil(turns / recipe.gradient_accumulation_steps))

    def phi(self, law: Law, recipe: Recipe) -> list[float]:
        """The sum of `law.phi` over all batches, as the model sees them."""
        flat, sums = is_flat(recipe), [0.0] * len(law.phi(1, 1, recipe.r))
        for (rows, length), times in self.batches.items():
            seen = (1, rows * length) if flat else (rows, length)
            for n, value in enumerate(law.phi(*seen, recipe.r)):
                sums[n] += times * value
        return sums


def _none_longer(shorter: int, count: int, devices: int) -> float:
    """The chance that `devices` of `count` batches, drawn at random, are all among the `shorter` ones; with less than
    one for each device the last are drawn again (DistributedSampler)."""
    if count < devices:
        return (shorter / count) ** devices
    return math.prod((shorter - n) / (count - n) for n in range(devices)) if shorter >= devices else 0.0


def epoch(lengths: Sequence[int], recipe: Recipe, order: str = "random") -> Epoch:
    """The batches of `recipe` on rows of these lengths (tokens), packed where it packs. Longer rows than `max_length`
    are dropped and counted. Raises `Problem` where no row is left.
    """
    if recipe.packing:
        return packed(lengths, recipe)
    kept = [length for length in lengths if length <= recipe.max_length]
    if not kept:
        raise Problem("time.no_rows", field="lengths", value=f"{len(lengths):,}", allowed=f"1 to {recipe.max_length:,}")
    if order == "length":
        kept.sort(reverse=True)
    elif min(kept) != max(kept):
        random.Random(recipe.seed).shuffle(kept)
    batch = recipe.per_device_train_batch_size
    sizes: dict[tuple[int, int], int] = {}
    for start in range(0, len(kept), batch):
        rows = kept[start : start + batch]
        size = len(rows), max(rows)
        sizes[size] = sizes.get(size, 0) + 1
    return _epoch(len(kept), len(lengths) - len(kept), sum(kept), sizes, recipe)


def uniform(rows: int, tokens_per_row: int, recipe: Recipe) -> Epoch:
    """`rows` rows of the same length, packed where the recipe packs. Raises `Problem`."""
    if not 1 <= rows <= MAX_ROWS:
        raise Problem("recipe.range", field="rows", value=f"{rows:,}", allowed=f"1 to {MAX_ROWS:,}")
    if not 1 <= tokens_per_row <= recipe.max_length:
        raise Problem(
            "recipe.range",
            field="tokens_per_row",
            value=f"{tokens_per_row:,}",
            allowed=f"1 to max_length ({recipe.max_length:,})",
        )
    count, length = rows, tokens_per_row
    if recipe.packing:
        count, length = math.ceil(rows / (recipe.max_length // tokens_per_row)), recipe.max_length
    return _epoch(rows, 0, rows * tokens_per_row, _full_batches(count, length, recipe), recipe)


def _full_batches(rows: int, length: int, recipe: Recipe) -> dict[tuple[int, int], int]:
    whole, rest = divmod(rows, recipe.per_device_train_batch_size)
    sizes = {(recipe.per_device_train_batch_size, length): whole, (rest, length): 1}
    return {size: times for size, times in sizes.items() if size[0] and times}


def packed(lengths: Sequence[int], recipe: Recipe) -> Epoch:
    """The same rows packed to `max_length`, longest first into the fullest row that has room (TRL's `bfd`).

    Attention counts over the whole packed row: an upper bound where the kernel keeps rows apart (padding-free flash
    attention).
    """
    kept = sorted((length for length in lengths if length <= recipe.max_length), reverse=True)
    if not kept:
        raise Problem("time.no_rows", field="lengths", value=f"{len(lengths):,}", allowed=f"1 to {recipe.max_length:,}")
    room: list[int] = []
    for length in kept:
        place = bisect.bisect_left(room, length)
        left = room.pop(place) if place < len(room) else recipe.max_length
        bisect.insort(room, left - length)
    return _epoch(
        len(kept), len(lengths) - len(kept), sum(kept), _full_batches(len(room), recipe.max_length, recipe), recipe
    )


def _epoch(rows: int, dropped: int, tokens: int, sizes: dict[tuple[int, int], int], recipe: Recipe) -> Epoch:
    padded = sum(count * length * times for (count, length), times in sizes.items())
    return Epoch(
        rows, dropped, tokens, padded, sizes, math.ceil(sum(sizes.values()) / recipe.gradient_accumulation_steps)
    )


def course(recipe: Recipe, data: Epoch, steps: int) -> Problem:
    """How the rows of a run come to its `steps`: rows times epochs, or what `max_steps` makes of them."""
    apart = 1 if recipe.distributed_type in MODEL_PARALLEL else recipe.num_processes
    batch = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps * apart
    said = {"rows": f"{data.rows:,}", "steps": f"{steps:,}", "batch": f"{batch:,}"}
    packed_ = "_packed" if recipe.packing else ""
    if recipe.max_steps < 0:
        epochs, seen = recipe.num_train_epochs, round(data.rows * recipe.num_train_epochs)
        return Problem(f"time.course{packed_}", epochs=f"{epochs:g}", seen=f"{seen:,}", **said)
    epochs = steps * batch / sum(rows * times for (rows, _), times in data.batches.items())
    return Problem(f"time.course_steps{packed_}", epochs=f"{epochs:.3g}", **said)


def read_lengths(path: str) -> list[int]:
    """Whole numbers above 0, one a line. Raises `Problem` with the line."""
    try:
        text = Path(path).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("time.lengths_unread", field="lengths", value=path, reason=type(error).__name__) from None
    lengths = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if not line.strip().isascii() or not line.strip().isdigit() or not 1 <= int(line) <= MAX_ROWS:
            raise Problem("time.lengths_line", field="lengths", value=line.strip()[:40], line=number)
        lengths.append(int(line))
    if not lengths:
        raise Problem("time.no_rows", field="lengths", value="0", allowed="1 or more, one a line")
    return lengths
