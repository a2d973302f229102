"""From a row to the tokens that are trained: the one path that the preview, the training and the chat take.

A chat template turns messages into text; the tokenizer turns the text into ids with their places in it; the characters
the assistant wrote (and the token that ends its turn) become labels, everything else is -100. Rows longer than
`recipe.max_length` tokens are dropped and counted, never cut.

For TRL: a dataset that has `input_ids` and `labels` counts as prepared. Pass it to `SFTTrainer` with
`SFTConfig(max_length=None, assistant_only_loss=False)`: both have been done here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from estimator.recipe import Recipe
from studio.workers.templates import Messages, Span, load_tokenizer, prompt_ids, rendered, stop_ids, turn_end

__all__ = [
    "Dropped", "Encoded", "collator", "encode_file", "encode_row", "load_tokenizer", "prompt_ids", "stop_ids",
]  # fmt: skip

IGNORED = -100
ROWS_A_CHUNK = 1000


@dataclass(frozen=True)
class Encoded:
    """One row, ready for the collator. `offsets` places each token in `text`, in characters."""

    input_ids: list[int]
    labels: list[int]
    text: str
    offsets: list[Span]

    @property
    def trained_tokens(self) -> int:
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True)
class Dropped:
    """Why a row is not trained: `too_long` (length, limit in tokens), `nothing_trained`, `template` (detail)."""

    reason: str
    params: dict[str, Any] = field(default_factory=dict)


def encode_row(tokenizer: Any, row: dict[str, Any], recipe: Recipe) -> Encoded | Dropped:
    """One normalised row as tokens and labels, or why it cannot be trained."""
    try:
        if "text" in row:
            encoded = _encode_text(tokenizer, row["text"])
        else:
            encoded = _encode_messages(tokenizer, row["messages"], recipe.assistant_only_loss)
    except (jinja2.TemplateError, TypeError) as error:  # templates refuse roles they do not know
        return Dropped("template", {"detail": str(error)[:160]})
    if len(encoded.input_ids) > recipe.max_length:
        return Dropped("too_long", {"length": len(encoded.input_ids), "limit": recipe.max_length})
    if not encoded.trained_tokens:
        return Dropped("nothing_trained")
    return encoded


def _encode_text(tokenizer: Any, text: str) -> Encoded:
    """Plain text trains whole, and teaches where it ends."""
    ids, offsets = _tokenize(tokenizer, text, add_special_tokens=True)
    if ids[-1:] != [tokenizer.eos_token_id]:
        text, ids, offsets = _with_end(tokenizer, text, ids, offsets)
    return Encoded(ids, list(ids), text, offsets)


def _encode_messages(tokenizer: Any, messages: Messages, assistant_only: bool) -> Encoded:
    text, spans = rendered(tokenizer, messages)
    ids, offsets = _tokenize(tokenizer, text, add_special_tokens=False)
    mask = _close_turns(tokenizer, ids, _inside(offsets, spans))
    if mask and mask[-1] and not _is_closed(tokenizer, ids):
        text, ids, offsets = _with_end(tokenizer, text, ids, offsets)
        mask.append(True)
    trained = mask if assistant_only else [True] * len(ids)
    return Encoded(ids, [id if on else IGNORED for id, on in zip(ids, trained, strict=True)], text, offsets)


def _tokenize(tokenizer: Any, text: str, add_special_tokens: bool) -> tuple[list[int], list[Span]]:
    out = tokenizer(text, add_special_tokens=add_special_tokens, return_offsets_mapping=True)
    return list(out["input_ids"]), [tuple(offset) for offset in out["offset_mapping"]]


def _with_end(tokenizer: Any, text: str, ids: list[int], offsets: list[Span]) -> tuple[str, list[int], list[Span]]:
    longer = text + tokenizer.eos_token
    return longer, [*ids, tokenizer.eos_token_id], [*offsets, (len(text), len(longer))]


def _inside(offsets: list[Span], spans: list[Span]) -> list[bool]:
    """Which tokens have a character inside one of `spans` (both in text order).

    A token trimmed to nothing (a blank that a tokenizer leaves out of its offsets) belongs where it stands.
    """
    inside, at = [], 0
    for start, end in offsets:
        while at < len(spans) and (spans[at][1] < start or spans[at][1] == start < end):
            at += 1
        low, high = spans[at] if at < len(spans) else (0, 0)
        inside.append(max(start, low) < min(end, high) if start < end else low < start <= high)
    return inside


def _close_turns(tokenizer: Any, ids: list[int], mask: list[bool]) -> list[bool]:
    """Extend each trained stretch over the token that ends the turn, where a template left it outside.

    Without it the model never learns to stop. Nothing but blanks may stand between.
    """
    closed = list(mask)
    for last in (i for i, on in enumerate(mask) if on and not any(mask[i + 1 : i + 2])):
        following = last + 1
        while following < len(ids) and _is_blank(tokenizer, ids[following]):
            following += 1
        if not _is_closed(tokenizer, ids[: last + 1]) and ids[following : following + 1] == [turn_end(tokenizer)]:
            closed[last + 1 : following + 1] = [True] * (following - last)
    return closed


def _is_closed(tokenizer: Any, ids: list[int]) -> bool:
    """Whether a stretch ends in a token that ends the turn, blanks after it aside."""
    last = next((id for id in reversed(ids) if not _is_blank(tokenizer, id)), None)
    return last in stop_ids(tokenizer)


def _is_blank(tokenizer: Any, id: int) -> bool:
    return not tokenizer.decode([id]).strip()


def collator(tokenizer: Any) -> Any:
    """TRL's own collator, as the training uses it: pads on the right, labels of padding are -100."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    return DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)


def encode_file(path: Path, tokenizer: Any, recipe: Recipe) -> tuple[Any, dict[str, Any]]:
    """A `datasets.Dataset` with the columns `input_ids` and `labels`, in file order, and what became of the rows.

    The report: `kept`, `dropped` (rows), `reasons` (rows by reason), `longest`, `tokens`, `trained_tokens` (tokens of
    the kept rows), `first_dropped` (up to 20 of `{"row", "reason", "params"}`).
    """
    from datasets import concatenate_datasets

    tally = Tally()
    kept = (encoded for row in _rows(path) if (encoded := tally.count(row, encode_row(tokenizer, row, recipe))))
    chunks = [_chunk(rows) for rows in _in_chunks(kept)] or [_chunk([])]
    return concatenate_datasets(chunks), tally.report()


class Tally:
    """Counts kept and dropped rows."""

    FIRST = 20

    def __init__(self) -> None:
        self.kept = self.longest = self.tokens = self.trained_tokens = 0
        self.reasons: Counter[str] = Counter()
        self.first: list[dict[str, Any]] = []

    def count(self, row: dict[str, Any], result: Encoded | Dropped) -> Encoded | None:
        """Pass an encoded row on, or note why there is none."""
        if isinstance(result, Dropped):
            self.reasons[result.reason] += 1
            if len(self.first) < self.FIRST:
                self.first.append({"row": row.get("row"), "reason": result.reason, "params": result.params})
            return None
        self.kept += 1
        self.longest = max(self.longest, len(result.input_ids))
        self.tokens += len(result.input_ids)
        self.trained_tokens += result.trained_tokens
        return result

    def report(self) -> dict[str, Any]:
        return {
            "kept": self.kept, "dropped": sum(self.reasons.values()), "reasons": dict(self.reasons),
            "longest": self.longest, "tokens": self.tokens, "trained_tokens": self.trained_tokens,
            "first_dropped": self.first,
        }  # fmt: skip


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _in_chunks(rows: Iterable[Encoded]) -> Iterator[list[Encoded]]:
    chunk: list[Encoded] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == ROWS_A_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _chunk(rows: list[Encoded]) -> Any:
    """Rows as an Arrow table of 32-bit ids: 4 bytes a token, where Python's lists would take 36."""
    from datasets import Dataset, Features, List, Value

    features = Features({"input_ids": List(Value("int32")), "labels": List(Value("int32"))})
    columns = {"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]}
    return Dataset.from_dict(columns, features=features)
