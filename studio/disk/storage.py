"""Writing to the disk: what it refuses, in the user's words, and when it is really there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from estimator.core.problems import Problem

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def storage_problems(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into `storage.full` or `storage.unwritable`; other errors pass."""
    try:
        yield
    except OSError as error:
        if problem := storage_problem(error, folder):
            raise problem from error
        raise


def storage_problem(error: BaseException, folder: Path) -> Problem | None:
    """What the operating system refused to write, by the error's number; None for any other error."""
    number, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
    if number in FULL:
        return Problem("storage.full", folder=str(folder), reason=reason)
    return Problem("storage.unwritable", folder=str(folder), reason=reason) if number in FORBIDDEN else None


def write_json(path: Path, data: object) -> None:
    """Whole or not at all, whatever ends this process or the machine: written beside, on the disk before it takes its
    name."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=2, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk and would survive a power cut.

    Windows cannot open a folder this way and needs no such call; some network file systems have none for folders.
    """
    is_folder = path.is_dir()
    if sys.platform == "win32" and is_folder:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
