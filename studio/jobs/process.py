"""Which process works on a run: whether one does is told by the lock of the run's folder, which one by its own record.

`process.json` is written by the worker itself. A pid alone may have been given to another program since, and the time
of the clock at which a process began moves when the clock is set: a process is named by its pid, by the ticks of the
kernel at its start, and by the boot that these are counted from.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from estimator.core.problems import Problem
from studio.disk.records import checked_fields, read_record
from studio.disk.storage import write_json
from studio.jobs import lock

FILE_NAME = "process.json"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Handle:
    """One process of this machine, for ever."""

    pid: int
    start_ticks: int
    """When it began: clock ticks since the boot (Linux), else hundredths of a second of psutil's start time."""
    boot_id: str = ""
    """The kernel's random name of the boot; empty where there is none."""

    @classmethod
    def of(cls, pid: int) -> Handle:
        """Raises `psutil.NoSuchProcess`."""
        return cls(pid, _start_ticks(pid), _boot_id())

    @classmethod
    def read(cls, folder: Path) -> Handle | None:
        """The process that last worked in `folder`; None where nobody did, or where its record is broken or older."""
        try:
            values, faults = checked_fields(cls, read_record(folder / FILE_NAME), FILE_NAME)
        except Problem:
            return None
        return None if faults or not 0 < values["pid"] < 2**31 else cls(**values)

    def write(self, folder: Path) -> None:
        write_json(folder / FILE_NAME, asdict(self))

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        with contextlib.suppress(psutil.Error):
            return Handle.of(self.pid) == self and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        return False


def at_work(folder: Path) -> bool:
    """Whether a worker holds the folder. Where the file system has no locks, its record has to do."""
    is_held = lock.held(folder)
    if is_held is None:
        handle = Handle.read(folder)
        return handle is not None and handle.alive
    return is_held


def _start_ticks(pid: int) -> int:
    """Field 22 of /proc/<pid>/stat (proc(5)): psutil's start time follows the clock there. The second field, the
    program's name, may hold blanks and brackets."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
        return int(after_name.split()[19])
    except (OSError, IndexError):
        return round(psutil.Process(pid).create_time() * 100)


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
