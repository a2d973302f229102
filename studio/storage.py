"""Writing to the disk: what it refuses, in the user's words, and when it is really there."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from estimator.problems import Problem

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def storage_problems(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into `storage.full` or `storage.unwritable`; other errors pass."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in FULL:
            raise Problem("storage.full", folder=str(folder), reason=reason) from error
        if error.errno in FORBIDDEN:
            raise Problem("storage.unwritable", folder=str(folder), reason=reason) from error
        raise


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk and would survive a power cut.

    Windows cannot open a folder this way and needs no such call.
    """
    if sys.platform == "win32" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
