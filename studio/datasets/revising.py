"""Rows changed by hand: what is written is read by the code that reads files, and the rest stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.forms import PLACE, form_of
from studio.datasets.rows import Row, place_key
from studio.datasets.shapes.formats import normalise
from studio.datasets.shapes.record import NO_MAPPING
from studio.datasets.shapes.record import Mapping as Columns
from studio.datasets.source import RowError
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.datasets.values import DECODER
from studio.datasets.versions import Dropped, derive

READ_AS = {
    "chat": ("openai", NO_MAPPING),
    "text": ("text", NO_MAPPING),
    "preference": ("preference", NO_MAPPING),
    "unpaired": ("unpaired", Columns({"output": "completion", "instruction": "prompt", "label": "label"})),
    "labelled": ("labelled", Columns({"labelled": "text", "text_pair": "text_pair", "class": "label"})),
    "tags": ("tags", NO_MAPPING),
    "span": ("span", NO_MAPPING),
    "pairs": ("pairs", Columns({"anchor": "anchor", "positive": "positive", "negative": "negatives"})),
    "seq2seq": ("seq2seq", Columns({"from": "source", "to": "target"})),
}
"""The shape by which a stored row of each form reads as itself."""


def decoded(text: str, row: int | str) -> Any:
    """A row written as JSON. Raises `Problem` `dataset.row_json`."""
    try:
        return DECODER.decode(text.strip())
    except (ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        detail = getattr(error, "msg", type(error).__name__)
        raise Problem("dataset.row_json", row=row, line=line, column=column, detail=detail) from error


def checked(written: Any, row: int | str) -> Row:
    """What was written, as it is stored. Raises `Problem` `dataset.row_unfit` with the reason, as of a file's row, and
    `dataset.row_unused` for what would be lost of it."""
    if not isinstance(written, dict):
        raise Problem("dataset.row_form", row=row, found=type(written).__name__)
    content = {key: value for key, value in written.items() if key not in PLACE and not _is_no_prompt(key, value)}
    unused: set[str] = set()
    try:
        form = form_of(written)
        shape, columns = READ_AS[form]
        made, _ = normalise(shape, content, unused=unused, mapping=columns)
        if form == "chat" and len(made["messages"]) < len(content["messages"]):
            raise RowError("unanswered")
    except RowError as error:
        raise Problem("dataset.row_unfit", row=row, reason=error.reason, params=error.params) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Problem("dataset.row_form", row=row, found=", ".join(map(str, written))[:80] or "-") from error
    if unused or form_of(made) != form:
        raise Problem("dataset.row_unused", row=row, names=", ".join(sorted(unused))[:160] or form)
    return made


def revise(
    store: DatasetStore,
    id: str,
    edited: Mapping[int, Any] | None = None,
    removed: Sequence[int] = (),
    added: Sequence[Any] = (),
    stop: Callable[[], None] = lambda: None,
) -> DatasetInfo:
    """A new version of `id`: `edited` are rows by their place in `DatasetInfo.rows()`, `removed` places, `added` what
    comes behind all others, to be trained. Raises `Problem`, after which there is no new version."""
    info = store.get(id)
    rows = info.rows()
    for at in (*(edited or {}), *removed):
        if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < len(rows):
            raise Problem("dataset.no_row", field="row", value=str(at)[:40], most=len(rows))
    made = {at: _in_place(checked(row, rows[at]["row"]), rows[at]) for at, row in (edited or {}).items()}
    first = _next_number(info) if added else 0
    new = [{**checked(row, first + n), "row": first + n} for n, row in enumerate(added)]
    gone = set(removed)

    def all_rows() -> Iterator[Row]:
        for at, row in enumerate(rows):
            if at not in gone:
                yield made.get(at, row)
        yield from new

    counts = {name: len(those) for name, those in (("edited", made), ("removed", gone), ("added", new)) if those}
    return derive(
        store, id, all_rows(), stop=stop,
        changes=[{"step": "edit", "options": {}, "counts": counts}],
        dropped=_left_out(info, gone),
        changed={(row.get("file", -1), row["row"]) for row in made.values()},
    )  # fmt: skip


def _is_no_prompt(key: str, value: Any) -> bool:
    """Of answers in which the prompt stands: a file says so without the column."""
    return key == "prompt" and value == []


def _in_place(content: Row, row: Row) -> Row:
    return {**content, **{key: row[key] for key in PLACE if key in row}}


def _left_out(info: DatasetInfo, places: Collection[int]) -> Iterator[Dropped]:
    """What is told of rows removed, without what they said."""
    keys = info.rows().places()[0] if places else ()
    for at in sorted(places):
        file, number = divmod(int(keys[at]), int(place_key(0, 0)))
        yield Dropped(number, "removed", {}, file - 1)


def _next_number(info: DatasetInfo) -> int:
    """For a row of no file: behind the highest of any file, so that no two have one place."""
    keys, _ = info.rows().places()
    return int((keys % place_key(0, 0)).max()) + 1 if len(keys) else 1
