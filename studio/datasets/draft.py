"""A dataset while it is being written: rows go to a hidden folder as they come, which is split, described and renamed
at the end."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import numpy as np

from studio.datasets.forms import PLACE, form_of
from studio.datasets.language import LanguageGuess
from studio.datasets.rows import CHANGED_FILE, ROWS_FILE, SPLITS, SPLITS_FILE, Writer
from studio.datasets.splits import chosen, label_of
from studio.datasets.text import NAME_LIMIT_CHARACTERS, clean, cleaned, safe_name
from studio.disk.storage import storage_problem, storage_problems, sync, write_json

UNUSED_NAMES = 100
OTHER_SHAPE = "other_shape"
FORMAT = 2
"""Of a stored dataset's folder; before 2 its rows lay in `train.jsonl` and `eval.jsonl`."""
_PLAIN = {"role", "content"}
_AS_IS = json.JSONEncoder(ensure_ascii=False).encode
_SORTED = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode


class Draft:
    """Rows on their way to `final`, kept in `folder` until `finish`."""

    def __init__(self, folder: Path, final: Path) -> None:
        self.folder, self.final = folder, final
        self.read = self.kept = self.changed = self.text_bytes = 0
        self.reasons: Counter[str] = Counter()
        self.unused: Counter[str] = Counter()
        self.other_shapes: Counter[str] = Counter()
        self.forms: Counter[str] = Counter()
        self.stop: Callable[[], None] = lambda: None
        """Raises where the reading was cancelled."""
        self._hash, self._language = hashlib.sha256(), LanguageGuess()
        self._splits: list[str | None] = []
        self._labels: list[str | None] = []
        self._changed: list[int] = []

    def __enter__(self) -> Draft:
        with storage_problems(self.folder.parent):
            self.folder.mkdir(parents=True)
            self._rows = Writer(self.folder / ROWS_FILE)
            self._dropped = (self.folder / "dropped.jsonl").open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.abandon()
        with contextlib.suppress(OSError):  # its last buffer did not fit on the disk; the folder goes away below
            self._dropped.close()
        shutil.rmtree(self.folder, ignore_errors=True)  # after `finish` it has its final name and nothing is here

    @property
    def dropped(self) -> int:
        return sum(self.reasons.values())

    def keep(self, row: dict[str, Any], changed: bool = False, split: str | None = None) -> None:
        """Add a normalised row with its `row` number, and `file` where there are several; `split` where the file says
        it."""
        content = {key: value for key, value in row.items() if key not in PLACE}
        self.keep_content(content, row["row"], row.get("file", -1), changed, split)

    def keep_content(
        self, content: dict[str, Any], row: int, file: int = -1, changed: bool = False, split: str | None = None
    ) -> None:
        """The same of what it says, its number, and its file (-1 of one alone)."""
        self.forms["chat" if "messages" in content else form_of(content)] += 1
        stored, canonical = _written(content)
        line = canonical.encode("utf-8")
        self._hash.update(line + b"\n")
        self.text_bytes += len(line)
        self._language.see(content)
        try:
            self._rows.write(row, file, stored)
        except OSError as error:
            raise storage_problem(error, self.folder.parent) or error from error
        self._splits.append(split)
        self._labels.append(label_of(content))
        if changed:
            self._changed.append(self.kept)
        self.kept += 1
        self.changed += changed

    def drop(self, row: int, reason: str, **params: Any) -> None:
        """Record a row that is left out."""
        line = _AS_IS({"row": row, "reason": reason, "params": cleaned(params)}) + "\n"
        try:  # once a row: `storage_problems` as a context would cost as much as the writing
            self._dropped.write(line)
        except OSError as error:
            raise storage_problem(error, self.folder.parent) or error from error
        self.reasons[reason] += 1
        if reason == OTHER_SHAPE:
            self.other_shapes[params["shape"]] += 1

    def leave(self, unused: Collection[str]) -> None:
        """Count a row's columns and keys that nobody reads. Where an object has ever other keys, it is counted as
        one."""
        if not unused:
            return
        names = {clean(name)[:NAME_LIMIT_CHARACTERS] for name in unused}
        is_full = len(self.unused) >= UNUSED_NAMES
        self.unused.update({name.partition(".")[0] if is_full and name not in self.unused else name for name in names})

    def finish(self, **described: Any) -> Path:
        """`finishing` to its end."""
        events = self.finishing(**described)
        while True:
            try:
                next(events)
            except StopIteration as stop:
                return stop.value

    def finishing(
        self, *, name: str, shape: str, file_name: str, encoding: str, eval_share: float, seed: int,
        test_share: float = 0.0, stratify: bool = False, columns: dict[str, str] | None = None, **more: Any,
    ) -> Generator[dict[str, Any], None, Path]:  # fmt: skip
        """Split, describe, and rename into place; returns the folder. The dataset exists from the moment of the rename,
        whole. `more` are further fields of `DatasetInfo`.

        Yields `{"phase": "storing" or "syncing", "share": None}`.
        """
        with storage_problems(self.folder.parent):
            self._rows.close()
            self._dropped.close()
            yield {"phase": "storing", "share": None}
            own = self._splits if any(self._splits) else None
            splits = chosen(self.kept, eval_share, seed, test_share, own, self._labels if stratify else None)
            np.save(self.folder / SPLITS_FILE, splits)
            if self._changed:
                np.save(self.folder / CHANGED_FILE, np.array(self._changed, np.int64))
            counts = dict(zip(SPLITS, np.bincount(splits, minlength=len(SPLITS)).tolist(), strict=True))
            meta = {
                "format": FORMAT, "name": safe_name(name), "created": time.time(), "shape": shape,
                "file_name": safe_name(file_name),
                "encoding": encoding, "read": self.read or self.kept + self.dropped, "kept": self.kept,
                "dropped": self.dropped, "changed": self.changed, "train_rows": counts["train"],
                "eval_rows": counts["eval"], "test_rows": counts["test"],
                "language": self._language.result(), "fingerprint": self._hash.hexdigest(),
                "eval_share": eval_share, "test_share": test_share, "seed": seed, "reasons": dict(self.reasons),
                "other_shapes": dict(self.other_shapes), "forms": dict(self.forms), "columns": cleaned(columns or {}),
                "unused": dict(sorted(self.unused.items(), key=lambda one: (-one[1], one[0]))),
                **more,
            }  # fmt: skip
            write_json(self.folder / "meta.json", meta)
            yield {"phase": "syncing", "share": None}
            for file in self.folder.iterdir():
                sync(file)
            self.stop()
            self.folder.rename(self.final)
            sync(self.final.parent)
        return self.final

    def dropped_so_far(self, limit: int) -> list[dict[str, Any]]:
        """The first rows left out: `{"row", "reason", "params"}`."""
        with storage_problems(self.folder.parent):
            self._dropped.flush()
        with (self.folder / "dropped.jsonl").open(encoding="utf-8") as file:
            return [json.loads(line) for line in itertools.islice(file, limit)]


def _written(content: dict[str, Any]) -> tuple[str, str]:
    """A row's content as JSON: as it is stored, and with sorted keys, which is what the fingerprint covers.

    Nearly all rows are messages of a role and a content. Of these each text is written once, and not by each of two
    encoders.
    """
    messages = content.get("messages")
    if len(content) != 1 or not messages:
        return _AS_IS(content), _SORTED(content)
    stored, canonical = "", ""
    for one in messages:
        if one.keys() != _PLAIN:
            return _AS_IS(content), _SORTED(content)
        role, text = encode_basestring(one["role"]), encode_basestring(one["content"])
        stored += f', {{"role": {role}, "content": {text}}}'
        canonical += f', {{"content": {text}, "role": {role}}}'
    return f'{{"messages": [{stored[2:]}]}}', f'{{"messages": [{canonical[2:]}]}}'
