"""Where this program keeps things on this machine. The studio's folders lie under the same root."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path


def home() -> Path:
    """The data root: `LORA_STUDIO_HOME`, else the platform's data folder. Read at each call, created by whoever
    writes."""
    if chosen := os.environ.get("LORA_STUDIO_HOME"):
        return _resolved(chosen) if os.path.isabs(chosen) else Path(chosen).expanduser().resolve()
    return _platform_folder(os.environ.get("HOME"), os.environ.get("XDG_DATA_HOME"))


@functools.lru_cache(maxsize=16)
def _platform_folder(*_: str | None) -> Path:
    """By what it is looked up with on Linux; elsewhere it never changes."""
    import platformdirs  # its 10 ms are not spent on a preset

    return Path(platformdirs.user_data_dir("lora-studio", appauthor=False))


@functools.lru_cache(maxsize=16)
def _resolved(chosen: str) -> Path:
    return Path(chosen).resolve()


def cache() -> Path:
    """Derived files: everything here can be made again."""
    return home() / "cache"


def keep_json(path: Path, data: object) -> bool:
    """Write a derived file; whether it could be. A reader never sees half of it, and a cache that cannot be written
    costs time, not the answer."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(data), encoding="utf-8")
        part.replace(path)
    except OSError:
        return False
    return True
