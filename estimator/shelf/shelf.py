"""A shelf: derived records found again by the hash of what they were derived from.

One layer ships with the presets, one is kept on this machine as JSON, a file a record. Both hold records of today's
tracer only (`estimator.law.stamp`): its stamp is in the name of a kept file, and stands beside a shipped one. No
torch.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from estimator.core import home
from estimator.law import stamp
from estimator.model.catalog import Model, presets_dir

Record = TypeVar("Record")
MOST_FILES = 4096
"""Of one shelf; the oldest go first."""
LARGEST_BYTES = 64 * 2**20
"""A larger file is none of ours."""
STAMPS = "stamps.json"
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What a file raises that was cut short or edited: it counts as not there, and is written again."""


@dataclass(frozen=True)
class Shelf(Generic[Record]):
    """Records of one kind.

    `read` and `write` turn one into JSON and back; `read` raises any of `BROKEN` for what is none. `shipped` looks
    one up that comes with a preset.
    """

    folder: str
    read: Callable[[Any], Record]
    write: Callable[[Record], Any]
    shipped: Callable[[Model, Any], Record | None] = lambda model, key: None
    most_files: int = MOST_FILES

    def find(self, model: Model, key: Hashable, cache_dir: Path | None = None) -> Record | None:
        """Shipped, or else kept on this machine. About 0.01 ms once it was read."""
        found = self.shipped(model, key)
        return found if found is not None else self.kept(model, key, cache_dir)

    def kept(self, model: Model, key: Hashable, cache_dir: Path | None = None) -> Record | None:
        """Of a model whose config is known, where a file of it is whole. What another process wrote since is seen."""
        path = self.path(model, key, cache_dir)
        if path is None:
            return None
        try:
            about = os.stat(path)
        except OSError:
            return None
        return _read(self, path, about.st_mtime_ns, about.st_size)

    def keep(self, record: Record, model: Model, key: Hashable, cache_dir: Path | None = None) -> None:
        """Write it whole, or not at all where it cannot be written: that costs time later, not the answer."""
        path = self.path(model, key, cache_dir)
        if path and home.keep_json(path, self.write(record)):
            _drop_oldest(path.parent, self.most_files)

    def path(self, model: Model, key: Hashable, cache_dir: Path | None = None) -> Path | None:
        return (cache_dir or home.cache()) / self.folder / _file_name(model, key, stamp.STAMP) if model.config else None


@functools.lru_cache(maxsize=4096)
def _file_name(model: Model, key: Hashable, tracer: str) -> str:
    text = json.dumps([tracer, model.config, key], sort_keys=True, ensure_ascii=False)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


@functools.lru_cache(maxsize=512)
def _read(shelf: Shelf[Record], path: Path, written_ns: int, size_bytes: int) -> Record | None:
    """`written_ns` and `size_bytes` make what another process wrote since a new question."""
    if size_bytes > LARGEST_BYTES:
        return None
    try:
        return shelf.read(json.loads(path.read_text("utf-8")))
    except BROKEN:
        return None


def _drop_oldest(folder: Path, most_files: int) -> None:
    with contextlib.suppress(OSError):  # another process tidies too
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for file in files[most_files:]:
            file.unlink(missing_ok=True)


def shipped_file(name: str) -> Path | None:
    """A file of `presets/` whose records are of today's tracer; None for any other."""
    path = presets_dir() / name
    return path if read_stamps().get(name) == stamp.STAMP and path.is_file() else None


@functools.lru_cache(maxsize=1)
def read_stamps() -> dict[str, str]:
    """The tracer's stamp by file, as in `presets/stamps.json`."""
    path = presets_dir() / STAMPS
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def write_stamps(names: Iterable[str], tracer: str) -> None:
    """Note by which tracer these files of `presets/` were made; of files that are gone nothing is said."""
    known = {**read_stamps(), **dict.fromkeys(names, tracer)}
    kept = {name: known[name] for name in sorted(known) if (presets_dir() / name).is_file()}
    (presets_dir() / STAMPS).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    read_stamps.cache_clear()


def traced_files() -> list[str]:
    """Names of all files of `presets/` that were traced."""
    folder = presets_dir()
    return [
        *(f"laws/{file.name}" for file in sorted((folder / "laws").glob("*.json.gz"))),
        "evaluations.json.gz",
        "caches.json",
    ]
