"""One attempt at one run, around whatever trains: the folder's lock, the record of this process, and the last word in
the journal.

Imports little: a worker that finds its folder taken says so at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from estimator.core.problems import Problem
from studio import i18n  # noqa: F401  the sentences of problems
from studio.disk.storage import storage_problem
from studio.jobs.folder import RunFolder
from studio.jobs.journal import Journal
from studio.jobs.lock import FolderLock
from studio.jobs.process import Handle

REFUSED = 2
# torch.save and safetensors report a failed write as errors of their own; only the words tell.
_FULL_DISK = re.compile(
    "No space left|File too large|Disk quota|PytorchStreamWriter failed writing|inline_container.* unexpected pos",
    re.IGNORECASE,
)

Body = Callable[[RunFolder, Journal], str]
"""Trains; returns `finished` or `stopped`."""


def main(arguments: list[str], body: Body) -> int:
    """`<run folder> [descriptor of its lock]`. Exit status 0 finished or stopped, 1 failed (the journal says which and
    why), 2 where another worker holds the folder: then nothing in it was touched."""
    run = RunFolder(Path(arguments[0]).resolve())
    try:
        lock = FolderLock.inherited(run.path, int(arguments[1])) if len(arguments) > 1 else None
        lock = lock or FolderLock.take(run.path)
        if lock is None:
            other = Handle.read(run.path)
            return _refused(Problem("run.taken", folder=str(run.path), pid=other.pid if other else "?"))
        with lock:
            with contextlib.suppress(OSError):  # on a full disk the lock has to do
                Handle.of(os.getpid()).write(run.path)
            return _attempt(run, Journal(run.path), body)
    except OSError as error:  # not even the lock or the journal could be opened
        gone = Problem("run.gone", value=str(run.path)) if not run.path.is_dir() else None
        return _refused(
            storage_problem(error, run.path) or gone or Problem("run.crashed", reason=str(error), log=str(run.log))
        )


def _refused(problem: Problem) -> int:
    print(problem, file=sys.stderr, flush=True)
    return REFUSED


def _attempt(run: RunFolder, journal: Journal, body: Body) -> int:
    try:
        journal.keep_reserve()
        status = body(run, journal)
        journal.release_reserve()
        journal.write("ended", status=status)
        return 0
    except Problem as problem:
        _failed(run, journal, problem)
        said = f"failed: {problem}"
    except Exception as error:
        _failed(run, journal, _as_problem(error, run))
        said = traceback.format_exc()
    with contextlib.suppress(OSError):  # the disk may be full: the journal has said so
        print(said, file=sys.stderr, flush=True)
    return 1


def _failed(run: RunFolder, journal: Journal, problem: Problem) -> None:
    """Make room, then say why, before anything else is written: on a full disk the log would take what is left."""
    journal.release_reserve()
    with contextlib.suppress(OSError):
        run.drop_incomplete_checkpoints()
    with contextlib.suppress(OSError):  # the log has to do
        journal.write("ended", status="failed", problem=problem.to_dict())


def _as_problem(error: Exception, run: RunFolder) -> Problem:
    """What a library raised, as something to act on; the whole traceback is in the log."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in reason
    ):
        return Problem("run.out_of_memory", reason=reason)
    for behind in _chain(error):
        refused = storage_problem(behind, run.path)
        if refused and (
            behind is error or refused.code == "storage.full"
        ):  # others may have been met and mended on the way
            return refused
        if _FULL_DISK.search(str(behind)):
            return Problem("storage.full", folder=str(run.path), reason=" ".join(str(behind).split())[:300])
    return Problem("run.crashed", reason=reason, log=str(run.log))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came of."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
