"""A dataset while it is being written: rows go to a hidden folder, which is split, described and renamed at the end."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from studio.datasets.language import LanguageGuess
from studio.datasets.text import NAME_LIMIT_CHARACTERS, clean, cleaned, safe_name
from studio.disk.storage import storage_problem, storage_problems, sync, write_json

UNUSED_NAMES = 100
OTHER_SHAPE = "other_shape"
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
        self.stop: Callable[[], None] = lambda: None
        """Called at every row read back or moved; raises where the reading was cancelled."""
        self._hash, self._language = hashlib.sha256(), LanguageGuess()

    def __enter__(self) -> Draft:
        with storage_problems(self.folder.parent):
            self.folder.mkdir(parents=True)
            self._rows = (self.folder / "rows.jsonl").open("w", encoding="utf-8")
            self._dropped = (self.folder / "dropped.jsonl").open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._rows, self._dropped):
            try:
                file.close()
            except OSError:
                pass  # its last buffer did not fit on the disk; the folder goes away below
        shutil.rmtree(self.folder, ignore_errors=True)  # after `finish` it has its final name and nothing is here

    @property
    def dropped(self) -> int:
        return sum(self.reasons.values())

    def keep(self, row: dict[str, Any], changed: bool = False) -> None:
        """Add a normalised row with its `row` number."""
        content: dict[str, Any] = {key: row[key] for key in ("messages", "tools", "text") if key in row}
        stored, canonical = _written(content)
        line = canonical.encode("utf-8")
        self._hash.update(line + b"\n")
        self.text_bytes += len(line)
        self._language.see(content)
        self._write(self._rows, f'{stored[:-1]}, "row": {json.dumps(row["row"])}}}\n')
        self.kept += 1
        self.changed += changed

    def drop(self, row: int, reason: str, **params: Any) -> None:
        """Record a row that is left out."""
        self._write(self._dropped, _AS_IS({"row": row, "reason": reason, "params": cleaned(params)}) + "\n")
        self.reasons[reason] += 1
        if reason == OTHER_SHAPE:
            self.other_shapes[params["shape"]] += 1

    def _write(self, file: Any, line: str) -> None:
        """Once a row: `storage_problems` as a context would cost as much as the writing."""
        try:
            file.write(line)
        except OSError as error:
            raise storage_problem(error, self.folder.parent) or error from error

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
        columns: dict[str, str] | None = None,
    ) -> Generator[dict[str, Any], None, Path]:  # fmt: skip
        """Split, describe, and rename into place; returns the folder. The dataset exists from the moment of the rename,
        whole.

        Yields `{"phase": "storing" or "syncing", "share"}`.
        """
        with storage_problems(self.folder.parent):
            self._rows.close()
            self._dropped.close()
            chosen = eval_rows(self.kept, eval_share, seed)
            for done in self._split(chosen):
                yield {"phase": "storing", "share": done / self.kept}
            meta = {
                "name": safe_name(name), "created": time.time(), "shape": shape, "file_name": safe_name(file_name),
                "encoding": encoding, "read": self.read or self.kept + self.dropped, "kept": self.kept,
                "dropped": self.dropped, "changed": self.changed, "train_rows": self.kept - len(chosen),
                "eval_rows": len(chosen), "language": self._language.result(), "fingerprint": self._hash.hexdigest(),
                "eval_share": eval_share, "seed": seed, "reasons": dict(self.reasons),
                "other_shapes": dict(self.other_shapes), "columns": cleaned(columns or {}),
                "unused": dict(sorted(self.unused.items(), key=lambda one: (-one[1], one[0]))),
            }  # fmt: skip
            write_json(self.folder / "meta.json", meta)
            yield {"phase": "syncing", "share": None}
            for file in self.folder.iterdir():
                sync(file)
            self.stop()
            self.folder.rename(self.final)
            sync(self.final.parent)
        return self.final

    def rows(self) -> Iterator[dict[str, Any]]:
        """What was kept so far, read back from the disk."""
        with storage_problems(self.folder.parent):
            self._rows.flush()
        with (self.folder / "rows.jsonl").open(encoding="utf-8") as file:
            for line in file:
                self.stop()
                yield json.loads(line)

    def dropped_so_far(self, limit: int) -> list[dict[str, Any]]:
        """The first rows left out: `{"row", "reason", "params"}`."""
        with storage_problems(self.folder.parent):
            self._dropped.flush()
        with (self.folder / "dropped.jsonl").open(encoding="utf-8") as file:
            return [json.loads(line) for line in itertools.islice(file, limit)]

    def _split(self, chosen: set[int]) -> Iterator[int]:
        """Yields how many rows are done."""
        source, train, evaluation = (self.folder / f"{part}.jsonl" for part in ("rows", "train", "eval"))
        if not chosen:
            source.rename(train)
            evaluation.touch()
            return
        with source.open("rb") as lines, train.open("wb") as to_train, evaluation.open("wb") as to_eval:
            for index, line in enumerate(lines):
                self.stop()
                (to_eval if index in chosen else to_train).write(line)
                yield index + 1
        source.unlink()


def _written(content: dict[str, Any]) -> tuple[str, str]:
    """A row's content as JSON: as it is stored, and with sorted keys, which is what the fingerprint covers.

    Nearly all rows are messages of a role and a content. Of these each text is written once, and not by each of two
    encoders.
    """
    messages = content.get("messages")
    if len(content) != 1 or not messages or not all(message.keys() == _PLAIN for message in messages):
        return _AS_IS(content), _SORTED(content)
    texts = [(encode_basestring(one["role"]), encode_basestring(one["content"])) for one in messages]
    stored = ", ".join(f'{{"role": {role}, "content": {text}}}' for role, text in texts)
    canonical = ", ".join(f'{{"content": {text}, "role": {role}}}' for role, text in texts)
    return f'{{"messages": [{stored}]}}', f'{{"messages": [{canonical}]}}'


def eval_rows(rows: int, share: float, seed: int) -> set[int]:
    """Indices of the rows held out: `share` of them, at least one of two or more, never all; the same for a seed."""
    if share <= 0 or rows < 2:
        return set()
    count = min(max(1, round(rows * share)), rows - 1)
    return set(random.Random(seed).sample(range(rows), count))
