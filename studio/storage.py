"""A full disk or a read-only folder, in the user's words."""

from __future__ import annotations

import contextlib
import errno
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
