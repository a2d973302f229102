"""A process one can find again after a restart: its pid and its start time, in `process.json` of the run folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

FILE_NAME = "process.json"


@dataclass(frozen=True)
class Handle:
    """A pid alone may have been given to another program since."""

    pid: int
    start_time: float
    attempt: int = 1
    """Which `started` line of the journal will be this process's, counted from 1."""

    @classmethod
    def of(cls, pid: int, attempt: int = 1) -> Handle:
        return cls(pid, psutil.Process(pid).create_time(), attempt)

    @classmethod
    def read(cls, folder: Path) -> Handle | None:
        try:
            return cls(**json.loads((folder / FILE_NAME).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        temporary = folder / (FILE_NAME + ".part")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(folder / FILE_NAME)

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.start_time) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
