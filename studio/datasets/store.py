"""The datasets on disk: one folder each, immutable once made.

A folder is a version: whatever changes rows makes another one, which knows its `parent` and what was done. It holds
`meta.json` (what was recognised and counted), the rows and their splits (`studio.datasets.rows`) and `dropped.jsonl`
(row number, reason, values). It is written under a hidden name and renamed into place, so a crash, a full disk or a
cancelled upload leaves nothing behind. A normalised row is one JSON object, `{"messages": [{"role", "content"}, ...],
"row": n}` or `{"text": "...", "row": n}`, with `n` the row's number in the user's file, counted from 1, and `file`,
which of several it was.

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
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estimator.core import formats
from estimator.core.problems import Problem
from studio.datasets.draft import FORMAT, Draft
from studio.datasets.forms import form_of, tasks_of
from studio.datasets.rows import CHANGED_FILE, OLD_FILES, ROWS_FILE, SPLITS_FILE, Rows, row_files
from studio.datasets.shapes.formats import SHAPES
from studio.disk.records import checked_fields, read_record
from studio.disk.storage import storage_problems

IS_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """One stored dataset. Counts are rows; `created` is in seconds since the epoch."""

    id: str
    name: str
    created: float
    shape: str
    """One of `SHAPES`: what most rows of the user's file looked like."""
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
    shapes: dict[str, int] = field(default_factory=dict)
    """Kept rows by the shape that they were written in."""
    forms: dict[str, int] = field(default_factory=dict)
    """Kept rows by what they are (`studio.datasets.forms`); empty where an older version did not count them."""
    test_rows: int = 0
    test_share: float = 0.0
    files: list[str] = field(default_factory=list)
    """Names of the files that the rows came from, where there are several: `file` of a row counts from 0 in it."""
    parent: str = ""
    """The version that this one was made of, by id; empty for what was brought."""
    series: str = ""
    """The first version, by id; of that itself empty."""
    changes: list[dict[str, Any]] = field(default_factory=list)
    """What made this one of its parent: `{"step", "options", "counts"}` each."""
    file_counts: list[dict[str, Any]] = field(default_factory=list)
    """What became of each file that was read: `{"name", "size_bytes", "read", "kept", "dropped"}`, and `split` or
    `problem` (why it could not be read to its end) where there is one."""
    left_files: list[dict[str, Any]] = field(default_factory=list)
    """Files that came with them and were not read: `{"file", "problem"}`."""
    origin: dict[str, str] = field(default_factory=dict)
    """Of a hub's dataset `hub`, `id`, `commit`, `config`, `split`, and `revision` where it was asked for."""

    @property
    def first(self) -> str:
        """The id that all versions of a dataset share."""
        return self.series or self.id

    @property
    def tasks(self) -> dict[str, int]:
        """The tasks that its rows can train, with the rows of such forms; most rows first, and of as many the one that
        they are made for."""
        forms = self.forms or ({form_of(self.rows()[0]): self.kept} if self.kept else {})
        found: Counter[str] = Counter()
        for form, rows in sorted(forms.items(), key=lambda one: -one[1]):
            found.update(dict.fromkeys(tasks_of(form), rows))
        return dict(found.most_common())

    def rows(self, split: str | None = None) -> Rows:
        """Its rows, or those of one split (`rows.SPLITS`)."""
        return Rows(self.folder, split)

    def changed_places(self) -> np.ndarray:
        """Of the `changed` rows their places in `rows()`; none where an older version did not keep them."""
        try:
            found: np.ndarray = np.load(self.folder / CHANGED_FILE)
            return found
        except (OSError, ValueError):
            return np.zeros(0, np.int64)

    @property
    def stored_bytes(self) -> int:
        """What its rows take on the disk."""
        return sum((self.folder / name).stat().st_size for name in row_files(self.folder) if name != SPLITS_FILE)

    @property
    def dropped_file(self) -> Path:
        return self.folder / "dropped.jsonl"

    def dropped_rows(self, limit: int = 100, offset: int = 0) -> list[dict[str, Any]]:
        """`limit` dropped rows from `offset` on: `{"row", "reason", "params"}`; none where the file is gone or
        broken."""
        try:
            with self.dropped_file.open(encoding="utf-8") as file:
                return [json.loads(line) for line in itertools.islice(file, offset, offset + limit)]
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
            if IS_ID.fullmatch(folder.name):
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

    def trash_count(self) -> int:
        """How many deleted datasets wait for an undo."""
        return len(list(self._deleted()))

    def trash_bytes(self) -> int:
        """What `empty_trash` would free."""
        return sum(file.stat().st_size for folder in self._deleted() for file in folder.rglob("*") if file.is_file())

    def empty_trash(self) -> tuple[int, int]:
        """Remove the deleted datasets for good; returns how many, and the bytes freed. Rows that a run still trains
        stay with it."""
        folders, freed = list(self._deleted()), self.trash_bytes()
        for folder in folders:
            shutil.rmtree(folder)
        return len(folders), freed

    def _deleted(self) -> Iterator[Path]:
        return self.trash.glob("dataset-*") if self.trash.is_dir() else iter(())

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
        if not isinstance(id, str) or not IS_ID.fullmatch(id):
            raise Problem("dataset.gone", id=str(id)[:80])
        return parent / name


def _read(folder: Path) -> DatasetInfo:
    """Raises `Problem` (`record.*`): of an older version what is missing takes its default; what a newer one added is
    named."""
    written = formats.without_format(read_record(folder / "meta.json"), FORMAT, "meta.json")
    values, faults = checked_fields(DatasetInfo, {**written, "id": folder.name, "folder": folder}, "meta.json")
    if values.get("shape", next(iter(SHAPES))) not in SHAPES:
        faults.append(Problem("record.bad_value", file="meta.json", key="shape", value=values["shape"]))
    faults += [Problem("record.missing", file=name) for name in missing_files(folder)]
    if faults:
        raise faults[0]
    return DatasetInfo(**values)


def missing_files(folder: Path) -> list[str]:
    """What a folder of rows lacks; of one that has none it is the rows."""
    is_old = any((folder / name).exists() for name in OLD_FILES.values())
    needed = (OLD_FILES["train"],) if is_old else (ROWS_FILE, SPLITS_FILE)
    return [name for name in needed if not (folder / name).is_file()]


def as_json(info: DatasetInfo) -> dict[str, Any]:
    """Plain JSON types, for a worker's answer."""
    return {**asdict(info), "folder": str(info.folder)}
