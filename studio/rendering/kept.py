"""Encoded rows kept on the disk, so that no rows are encoded twice for one base.

    <dataset>/encoded/<key>/rows.arrow   the examples, an Arrow stream as `datasets.Dataset.from_file` maps it
    <dataset>/encoded/<key>/report.json  what became of the rows; sizes and a checksum of the file beside it

The key stands for everything that a token or a label depends on: rows and splits, the tokenizer's content, the
template, the task, what the recipe says of lengths and of trained turns, this code and its libraries. What is being
written has a hidden name until it is whole. All of it can be made again: what is broken is, and above `MOST_BYTES` the
longest unused goes. It lies in its dataset's folder, so that it is deleted and emptied with it; rows whose dataset is
gone (a run has its own) have theirs in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets import forms
from studio.datasets.rows import Rows
from studio.datasets.store import DatasetStore
from studio.disk.storage import write_json
from studio.rendering.arrow_rows import Summed, checksum
from studio.rendering.rendering import encode_rows
from studio.rendering.templates import form_of

FORMAT = 1
FOLDER, ROWS_FILE, REPORT_FILE = "encoded", "rows.arrow", "report.json"
MOST_BYTES = 20 * 1024**3
PARTIAL_SECONDS = 24 * 3600
"""What is being written and was not touched for so long has no writer any more."""
DECIDE = ("max_length", "excess_length_strategy", "assistant_only_loss")
"""What of a recipe decides its tokens and labels, its base and its task aside."""
LIBRARIES = ("transformers", "tokenizers", "trl", "jinja2")


class Encodings:
    """What is kept below `datasets` (folders of datasets) and `cache`."""

    def __init__(self, datasets: Path, cache: Path) -> None:
        self._store, self._cache = DatasetStore(datasets), Path(cache) / FOLDER

    def rows(
        self,
        rows: Rows,
        dataset_id: str,
        fingerprint: str,
        tokenizer: Any,
        recipe: Recipe,
        cancelled: Callable[[], bool] = lambda: False,
        tell: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> tuple[Any, dict[str, Any]]:
        """What `encode_rows` gives, mapped from the disk where it was made before. `fingerprint` is that of all the
        dataset's rows; without one, and where the disk takes nothing, the dataset is in memory."""
        if fingerprint:
            try:
                return self._kept(rows, dataset_id, fingerprint, tokenizer, recipe, cancelled, tell)
            except OSError:
                pass  # full, not ours to write, or the dataset was just deleted
        return encode_rows(rows, tokenizer, recipe, cancelled, tell)

    def _kept(
        self, rows: Rows, dataset_id: str, fingerprint: str, tokenizer: Any, recipe: Recipe,
        cancelled: Callable[[], bool], tell: Callable[[dict[str, Any]], None],
    ) -> tuple[Any, dict[str, Any]]:  # fmt: skip
        folder = self._folder_of(dataset_id)
        place = folder / key_of(rows, fingerprint, tokenizer, recipe)
        if (found := opened(place, tokenizer)) is None:
            folder.mkdir(exist_ok=True)
            self._write(place, rows, tokenizer, recipe, cancelled, tell)
            found = opened(place, tokenizer)
            with contextlib.suppress(OSError):  # somebody else let go of it first
                self._let_go(place)
        if found is None:
            raise OSError(f"{place}: written, and not to be read")
        return found

    def _folder_of(self, dataset_id: str) -> Path:
        try:
            return self._store.get(dataset_id).folder / FOLDER
        except Problem:  # gone, damaged, or never there
            self._cache.mkdir(parents=True, exist_ok=True)
            return self._cache

    def _write(
        self, place: Path, rows: Rows, tokenizer: Any, recipe: Recipe,
        cancelled: Callable[[], bool], tell: Callable[[dict[str, Any]], None],
    ) -> None:  # fmt: skip
        part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
        part.mkdir()
        try:
            file = Summed(part / ROWS_FILE)
            try:
                _, report = encode_rows(rows, tokenizer, recipe, cancelled, tell, file)
            finally:
                file.close()
            record = {"size_bytes": file.size_bytes, "sum": file.sum, "dates": dict(form_of(tokenizer).dates)}
            write_json(part / REPORT_FILE, {"format": FORMAT, **record, "report": report})
            _put(part, place, tokenizer)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def all(self) -> list[Path]:
        """The folders of all that is kept, the longest unused first."""
        found = [path for parent in self._parents() for path in parent.iterdir() if not path.name.startswith(".")]
        return sorted(found, key=_used)

    def _parents(self) -> Iterator[Path]:
        yield from (path for path in self._store.root.glob(f"[!.]*/{FOLDER}") if path.is_dir())
        if self._cache.is_dir():
            yield self._cache

    def _let_go(self, but: Path) -> None:
        """Keep within `MOST_BYTES`, `but` in any case; and remove what killed processes left."""
        for parent in self._parents():
            for part in parent.glob(".*.partial"):
                if time.time() - _changed(part) > PARTIAL_SECONDS:
                    shutil.rmtree(part, ignore_errors=True)
        sizes = {path: _size(path) for path in self.all()}
        total = sum(sizes.values())
        for path, size in sizes.items():
            if total > MOST_BYTES and path != but:
                shutil.rmtree(path, ignore_errors=True)
                total -= size


def opened(place: Path, tokenizer: Any) -> tuple[Any, dict[str, Any]] | None:
    """The dataset, mapped, and its report; None where there is none, it is broken, or its template wrote another date
    than it would today."""
    from datasets import Dataset

    path, form = place / ROWS_FILE, form_of(tokenizer)
    try:
        record = json.loads((place / REPORT_FILE).read_text(encoding="utf-8"))
        if record["format"] != FORMAT or any(form.date_as(asked) != said for asked, said in record["dates"].items()):
            return None
        if path.stat().st_size != record["size_bytes"] or checksum(path) != record["sum"]:
            return None
        made, report = Dataset.from_file(str(path)), record["report"]
        if len(made) != report["examples"]:
            return None
        os.utime(place / REPORT_FILE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    form.dates |= record["dates"]
    return made, report


def _put(part: Path, place: Path, tokenizer: Any) -> None:
    """Give what is written its name. What another process put there meanwhile stays; what is broken goes."""
    for _ in range(3):
        try:
            part.rename(place)
            return
        except OSError:
            if not place.is_dir():
                raise
            if opened(place, tokenizer) is not None:
                return
            aside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
            place.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)


def key_of(rows: Rows, fingerprint: str, tokenizer: Any, recipe: Recipe) -> str:
    """One word for everything that the tokens of these rows depend on, the date that a template writes aside."""
    said = {
        "rows": [fingerprint, rows.split, rows.identity()],
        "tokenizer": _content(tokenizer), "template": tokenizer.chat_template,
        "task": recipe.task.name, "recipe": {name: getattr(recipe, name) for name in DECIDE},
        "code": _code(), "libraries": [version(name) for name in LIBRARIES],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:32]


_CONTENTS: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def _content(tokenizer: Any) -> str:
    """SHA-256 of all that the Rust tokenizer knows, and of which tokens are special."""
    if tokenizer not in _CONTENTS:
        tokenizer("a", add_special_tokens=False)  # without padding and cutting, as rows are encoded
        more = [tokenizer.special_tokens_map, getattr(tokenizer, "split_special_tokens", False)]
        said = tokenizer.backend_tokenizer.to_str() + json.dumps(more, default=str)
        _CONTENTS[tokenizer] = hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()
    return _CONTENTS[tokenizer]


@cache
def _code() -> str:
    """Of this code: what it makes of rows may change with any line."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(forms.__file__)]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _used(place: Path) -> float:
    return _changed(place / REPORT_FILE)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
