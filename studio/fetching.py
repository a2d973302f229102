"""One file from a hub to a folder of this machine: what was cut off is gone on with, not begun again.

huggingface_hub's own download has no end but its own and begins a file afresh over plain HTTP; here the part keeps its
name, each piece is told as it comes, and whoever hears of it may end the download.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Torn(OSError):
    """What came is not what the hub lists."""


def fetch_file(
    url: str,
    target: Path,
    size: int | None,
    sha256: str | None,
    headers: dict[str, str],
    came: Callable[[int], None] | None = None,
) -> None:
    """One file, from where an earlier attempt was cut off. `sha256` is compared where it is one. `came` hears how many
    bytes there are, piece by piece; what it raises ends the download. Raises `Torn`, and what the transport raises; the
    part is kept then, but for one whose content is wrong."""
    from huggingface_hub.file_download import http_get

    if target.exists():
        return
    part = part_of(target)
    if size is not None and part.exists() and part.stat().st_size > size:
        part.unlink()
    with part.open("ab") as opened:
        told: Any = _Told(opened, came) if came else opened
        http_get(
            url,
            told,
            resume_size=opened.tell(),
            headers=headers,
            expected_size=size,
        )
    if sha256 and _SHA256.fullmatch(sha256) and _hash_of(part) != sha256:
        part.unlink()
        raise Torn(f"{target.name[:40]}: its hash is another one than the hub lists")
    part.replace(target)


def part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.incomplete")


class _Told:
    """An open file that says how long it will be at each write."""

    def __init__(self, file: Any, came: Callable[[int], None]) -> None:
        self._file, self._came = file, came

    def write(self, data: bytes) -> int:
        self._came(self._file.tell() + len(data))  # before they are written: who was given up writes no more
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _hash_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
