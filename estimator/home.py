"""Where this program keeps things on this machine. The studio's folders lie under the same root."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The data root: `LORA_STUDIO_HOME`, else the platform's data folder. Read at each call, created by whoever writes."""
    if chosen := os.environ.get("LORA_STUDIO_HOME"):
        return Path(chosen).expanduser().resolve()
    import platformdirs  # its 10 ms are not spent on a preset

    return Path(platformdirs.user_data_dir("lora-studio", appauthor=False))


def cache() -> Path:
    """Derived files: everything here can be made again."""
    return home() / "cache"
