"""Where things lie: the user's data under one root, and the files that ship with the program."""

from __future__ import annotations

from pathlib import Path

from estimator.core.home import cache, home
from estimator.core.problems import Problem
from studio.disk.storage import FULL

PACKAGE = Path(__file__).parents[1]


def datasets() -> Path:
    return home() / "datasets"


def runs() -> Path:
    return home() / "runs"


def bases() -> Path:
    """Models that were fetched as a wheel (`studio.get`)."""
    return home() / "bases"


def trash() -> Path:
    """Deleted things wait here for an undo."""
    return home() / "trash"


def logs() -> Path:
    return home() / "logs"


def uploads() -> Path:
    """What browsers sent and nobody has read yet; emptied at each start."""
    return home() / "uploads"


def prepare() -> Path:
    """Create the data root and its folders; a `Problem` when it cannot be written."""
    root = home()
    try:
        for folder in (root, datasets(), runs(), trash(), cache(), logs(), uploads()):
            folder.mkdir(parents=True, exist_ok=True)
        probe = root / ".writable"
        probe.write_text("ok")
        probe.unlink()
    except OSError as error:
        code = "storage.full" if error.errno in FULL else "storage.unwritable"
        raise Problem(code, folder=str(root), reason=error.strerror or str(error)) from error
    return root


def inside(root: Path, name: str) -> Path:
    """`root/name`, resolved, or a `Problem` when it would leave `root`. For every path that has a user's word in it."""
    path = (root / name).resolve()
    if path == root.resolve() or not path.is_relative_to(root.resolve()):
        raise Problem("storage.outside", name=name)
    return path


def assets() -> Path:
    """The embedded model, samples and theme: inside the wheel, or at the top of the repository."""
    shipped = PACKAGE / "_assets"
    return shipped if shipped.is_dir() else PACKAGE.parent / "assets"


def embedded_base() -> Path:
    return assets() / "base"


def samples() -> Path:
    return assets() / "samples"


def theme() -> Path:
    return assets() / "theme"


def scripts() -> list[Path]:
    """The page's own scripts; `frame.js` runs first."""
    first = assets() / "scripts" / "frame.js"
    return [first, *sorted(set((assets() / "scripts").glob("*.js")) - {first})]
