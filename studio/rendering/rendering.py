"""From rows to the tokens that are trained: the one path that the preview, the training and the chat take.

A chat template turns messages into text (`templates`); the tokenizer turns the text into ids with their places in it;
the characters the assistant wrote (and the token that ends its turn) become labels, everything else is -100
(`row_tokens`). What the template leaves out is noticed (`seen`). What becomes of rows longer than `recipe.max_length`
tokens is the recipe's to say (`excess`), and counted.

For TRL: a dataset that has `input_ids` and `labels` counts as prepared. Pass it to `SFTTrainer` with
`SFTConfig(max_length=None, assistant_only_loss=False)`: both have been done here.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.rendering import chat_form, tokenizers
from studio.rendering.arrow_rows import Sink, Summed
from studio.rendering.row_tokens import IGNORED, Dropped, Encoded, collator, encode_row, prompt_ids
from studio.rendering.tasks import rows_of
from studio.rendering.templates import Kept, Refused, form_of, prepare, stop_ids
from studio.rendering.training_templates import OWN

__all__ = [
    "IGNORED", "Dropped", "Encoded", "Refused", "collator", "dates", "encode_row", "encode_rows", "load_tokenizer",
    "prompt_ids", "stop_ids",
]  # fmt: skip

TELL_SECONDS = 0.25


def load_tokenizer(base: Path, name: str = "", kept: Kept | None = None, chat_template: str = OWN) -> Any:
    """The fast tokenizer of a local folder, with a chat template fit for training, a pad token and an end token.

    `name` is what a reader calls the base. `kept` is the template and the date that a run began with; a run's result
    has it in its folder. Without it a template that writes the date writes today's. `chat_template` is a recipe's
    choice: it takes the place of the folder's own, not of one that a run began with. Raises `Problem` (`base.*`). Never
    runs code of the folder.
    """
    tokenizer = tokenizers.open_tokenizer(base, name)
    prepare(
        tokenizer, name or str(base), kept or (chat_form.read(base) if chat_template == OWN else None), chat_template
    )
    return tokenizer


def dates(tokenizer: Any) -> list[str]:
    """What the template writes for the date; nothing where it does not ask."""
    return sorted(set(form_of(tokenizer).dates.values()))


def encode_rows(
    rows: Iterable[dict[str, Any]],
    tokenizer: Any,
    recipe: Recipe,
    cancelled: Callable[[], bool] = lambda: False,
    tell: Callable[[dict[str, Any]], None] = lambda event: None,
    file: Summed | None = None,
) -> tuple[Any, dict[str, Any]]:
    """A `datasets.Dataset` with the columns `input_ids` and `labels`, in the order of the rows, and what became of
    them. With a `file` they go there as they come, and None stands for the dataset: memory is bounded.

    The report: `kept`, `dropped` (rows), `reasons` (rows by reason), `examples` (that the kept rows became), `cut`,
    `split` (of the kept rows those that were), `longest`, `tokens`, `trained_tokens` (tokens of the kept rows),
    `first_dropped` (up to 20 of `{"row", "reason", "params"}`), `notes` (kept rows of which the template leaves
    something out, by what it is), `first_noted` (up to 20 row numbers each), `dates` (what it wrote for today).

    `tell` hears `{"phase": "encoding", "done", "of", "seconds_left"}` (rows) four times a second. Raises `Problem`
    `worker.cancelled` soon after `cancelled()`, and `OSError` of the file.
    """
    tally, task = Tally(), rows_of(recipe.task)
    sink, told = Sink(task.columns, file), Told(rows, tell)
    with _undisturbed():
        for row, result in task.encode(tokenizer, _until(cancelled, rows), recipe, cancelled):
            sink.write(tally.count(row, result))
            told.one()
    return sink.finish(), {**tally.report(), "dates": dates(tokenizer)}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """The collector passes over what was there before: of the libraries half a million objects, looked through again
    and again for the garbage of rows."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Told:
    """Says how far a reading of rows is, and how long the rest takes at its pace so far."""

    def __init__(self, rows: Iterable[Any], tell: Callable[[dict[str, Any]], None]) -> None:
        self._of = len(rows) if isinstance(rows, Sized) else None
        self._tell, self._done, self._began = tell, 0, time.monotonic()
        self._told = self._began

    def one(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._of and now - self._told > TELL_SECONDS:
            self._told = now
            left = (now - self._began) * (self._of / self._done - 1)
            self._tell({"phase": "encoding", "done": self._done, "of": self._of, "seconds_left": max(0.0, left)})


class Tally:
    """Counts kept and dropped rows."""

    FIRST = 20

    def __init__(self) -> None:
        self.kept = self.examples = self.cut = self.split = self.longest = self.tokens = self.trained_tokens = 0
        self.reasons: Counter[str] = Counter()
        self.first: list[dict[str, Any]] = []
        self.notes: Counter[str] = Counter()
        self.noted: dict[str, list[int]] = {}

    def count(self, row: dict[str, Any], result: list[Encoded] | Dropped) -> list[Encoded]:
        """Pass a row's examples on, or note why there is none."""
        if isinstance(result, Dropped):
            self.reasons[result.reason] += 1
            if len(self.first) < self.FIRST:
                self.first.append({"row": row.get("row"), "reason": result.reason, "params": result.params})
            return []
        self.kept += 1
        self.examples += len(result)
        self.split += len(result) > 1
        self.cut += len(result) == 1 and result[0].part_of > 0
        for one in result:
            self.longest = max(self.longest, len(one.input_ids))
            self.tokens += len(one.input_ids)
            self.trained_tokens += one.trained_tokens
        for note in result[0].notes:
            self.notes[note] += 1
            if len(first := self.noted.setdefault(note, [])) < self.FIRST:
                first.append(row.get("row"))
        return result

    def report(self) -> dict[str, Any]:
        return {
            "kept": self.kept, "dropped": sum(self.reasons.values()), "reasons": dict(self.reasons),
            "examples": self.examples, "cut": self.cut, "split": self.split,
            "longest": self.longest, "tokens": self.tokens, "trained_tokens": self.trained_tokens,
            "first_dropped": self.first, "notes": dict(self.notes), "first_noted": self.noted,
        }  # fmt: skip


def _until(cancelled: Callable[[], bool], rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if cancelled():
            raise Problem("worker.cancelled")
        yield row
