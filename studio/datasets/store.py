"""The datasets on disk: one folder each, immutable once made.

A folder holds `meta.json` (what was recognised and counted), `train.jsonl` and `eval.jsonl` (normalised rows) and
`dropped.jsonl` (row number, reason, values). It is written under a hidden name and renamed into place, so a crash, a
full disk or a cancelled upload leaves nothing behind. A normalised row is one JSON object a line, `{"messages":
[{"role", "content"}, ...], "row": n}` or `{"text": "...", "row": n}`, with `n` the row's number in the user's file,
counted from 1.

What a message may hold, in this order; a key that has nothing to say is absent, never null:

    role               "system", "user", "assistant" or "tool"
    content            text; "" only beside `tool_calls`, and of a tool that answered nothing
    reasoning_content  text thought before the answer; only of the assistant
    tool_calls         [{"type": "function", "id"?, "function": {"name", "arguments": {...}}}, ...]; only of the
    assistant
    name               the function's name; only of a tool
    tool_call_id       only of a tool
    trained            false: this turn is read and never trained, whatever its role. For us: no template gets to see it

The last message is the assistant's. Beside `messages` a row may carry `tools`, what the assistant may call:
`[{"type": "function", "function": {"name", "description"?, "parameters"?}}, ...]`. Contents keep their blanks, only
wholly blank lines at their ends are cut; a `text` is kept to the letter. The fingerprint covers all of this but `row`.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.draft import Draft
from studio.disk.records import checked_fields, read_record
from studio.disk.storage import storage_problems

SHAPES = ("alpaca", "sharegpt", "openai", "text", "preference", "unpaired", "threads")
"""`preference`: a chosen answer beside a rejected one; `unpaired`: answers marked good or bad; `threads`: a message a
row."""
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """One stored dataset. Counts are rows; `created` is in seconds since the epoch."""

    id: str
    name: str
    created: float
    shape: str
    """One of `SHAPES`: what the rows of the user's file looked like."""
    file_name: str
    """The name of the uploaded file, sanitised; still text to escape where it is shown."""
    encoding: str
    kept: int
    dropped: int
    changed: int
    """Kept rows whose text was cleaned: control characters, line ends, blank lines around, unanswered last turns."""
    train_rows: int
    eval_rows: int
    language: str
    """`en`, `zh`, ... of most letters, `mixed`, or `other` where too little was seen."""
    fingerprint: str
    """SHA-256 of the normalised rows in file order, whatever the file format was."""
    eval_share: float
    seed: int
    reasons: dict[str, int]
    """Dropped rows by reason."""
    folder: Path
    columns: dict[str, str] = field(default_factory=dict)
    """Which column of the user's file was read as what: `{"instruction": "content", "output": "summary"}`."""
    read: int = 0
    """Rows of the user's file; 0 where an older version did not count them."""
    other_shapes: dict[str, int] = field(default_factory=dict)
    """Of the dropped rows those that have another shape than the file, by what they are."""
    unused: dict[str, int] = field(default_factory=dict)
    """Columns, and keys inside messages or objects (`messages.id`), that were not used, with the rows that have
    them."""

    @property
    def train_file(self) -> Path:
        return self.folder / "train.jsonl"

    @property
    def eval_file(self) -> Path | None:
        """The validation rows, or None where there is no split."""
        return self.folder / "eval.jsonl" if self.eval_rows else None

    @property
    def dropped_file(self) -> Path:
        return self.folder / "dropped.jsonl"

    def dropped_rows(self, limit: int = 100) -> list[dict[str, Any]]:
        """The first `limit` dropped rows: `{"row", "reason", "params"}`; none where the file is gone or broken."""
        try:
            with self.dropped_file.open(encoding="utf-8") as file:
                return [json.loads(line) for line in itertools.islice(file, limit)]
        except (OSError, ValueError):
            return []


class DatasetStore:
    """The datasets under `root`; deleted ones wait in `trash` (default: beside `root`) for an undo."""

    def __init__(self, root: Path, trash: Path | None = None) -> None:
        self.root = Path(root)
        self.trash = Path(trash) if trash else self.root.parent / "trash"

    def list(self) -> list[DatasetInfo]:
        """All datasets that can be used, newest first."""
        found = [info for info in self._all() if isinstance(info, DatasetInfo)]
        return sorted(found, key=lambda info: (info.created, info.id), reverse=True)

    def damaged(self) -> dict[str, Problem]:
        """What is wrong with each of the others (`record.*`), by id: they can be deleted, and nothing else."""
        return {str(info.params["id"]): info for info in self._all() if isinstance(info, Problem)}

    def _all(self) -> Iterator[DatasetInfo | Problem]:
        for folder in self.root.iterdir() if self.root.is_dir() else ():
            if _ID.fullmatch(folder.name):
                try:
                    yield _read(folder)
                except Problem as problem:
                    yield Problem(problem.code, **problem.params, id=folder.name)

    def get(self, id: str) -> DatasetInfo:
        """The dataset `id`. Raises `Problem`: `dataset.gone`, or what is wrong with it (`record.*`)."""
        folder = self._folder(self.root, id, id)
        if not folder.is_dir():
            raise Problem("dataset.gone", id=str(id)[:80])
        return _read(folder)

    def name(self, id: str) -> str:
        """Of a damaged one its id. Raises `Problem` `dataset.gone`."""
        try:
            return self.get(id).name
        except Problem as problem:
            if problem.code == "dataset.gone":
                raise
            return id

    def delete(self, id: str) -> None:
        """Move a dataset to the trash, a damaged one too; `restore` brings it back."""
        folder = self._folder(self.root, id, id)
        if not folder.is_dir():
            raise Problem("dataset.gone", id=str(id)[:80])
        with storage_problems(self.trash):
            self.trash.mkdir(parents=True, exist_ok=True)
            folder.rename(self.trash / f"dataset-{id}")

    def restore(self, id: str) -> DatasetInfo:
        """Undo `delete`; `Problem` `dataset.gone` when the trash has no such dataset."""
        folder = self._folder(self.trash, f"dataset-{id}", id)
        if not folder.is_dir():
            raise Problem("dataset.gone", id=str(id)[:80])
        with storage_problems(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            folder.rename(self.root / id)
        return self.get(id)

    def draft(self) -> Draft:
        """A dataset in the making, as a context manager: leaving it without `finish` removes every trace."""
        id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        return Draft(self.root / f".{id}.partial", self.root / id)

    def add(
        self, name: str, rows: Iterable[dict[str, Any]], shape: str = "openai", eval_share: float = 0.1, seed: int = 42
    ) -> DatasetInfo:
        """Store normalised rows (`row` may be missing: they are counted). For callers that have no file to read."""
        with self.draft() as draft:
            for number, row in enumerate(rows, start=1):
                draft.keep({**row, "row": row.get("row", number)})
            folder = draft.finish(
                name=name, shape=shape, file_name=name, encoding="utf-8", eval_share=eval_share, seed=seed
            )
        return self.get(folder.name)

    def sweep(self, older_than_seconds: float = 24 * 3600) -> None:
        """Remove drafts that a killed worker left; younger ones may be at work in another process."""
        for folder in self.root.glob(".*.partial") if self.root.is_dir() else ():
            if time.time() - folder.stat().st_mtime > older_than_seconds:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, parent: Path, name: str, id: str) -> Path:
        """A folder named by an id from a page: nothing but our own pattern reaches the file system."""
        if not isinstance(id, str) or not _ID.fullmatch(id):
            raise Problem("dataset.gone", id=str(id)[:80])
        return parent / name


def _read(folder: Path) -> DatasetInfo:
    """Raises `Problem` (`record.*`): of an older version what is missing takes its default; what a newer one added is
    named."""
    values, faults = checked_fields(
        DatasetInfo, {**read_record(folder / "meta.json"), "id": folder.name, "folder": folder}, "meta.json"
    )
    if values.get("shape", SHAPES[0]) not in SHAPES:
        faults.append(Problem("record.bad_value", file="meta.json", key="shape", value=values["shape"]))
    faults += [] if (folder / "train.jsonl").is_file() else [Problem("record.missing", file="train.jsonl")]
    if faults:
        raise faults[0]
    return DatasetInfo(**values)


def read_rows(path: Path, offset: int = 0, count: int | None = None, step: int = 1) -> Iterator[dict[str, Any]]:
    """Rows of a `train.jsonl` or `eval.jsonl` from index `offset` on, every `step`-th; others are not even parsed."""
    with path.open(encoding="utf-8") as file:
        stop = None if count is None else offset + count
        yield from map(json.loads, itertools.islice(file, offset, stop, step))


def as_json(info: DatasetInfo) -> dict[str, Any]:
    """Plain JSON types, for a worker's answer."""
    return {**asdict(info), "folder": str(info.folder)}
