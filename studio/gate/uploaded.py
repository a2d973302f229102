"""Files that browsers sent: they lie in our data folder for as long as they are being read, and no longer."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from studio.space import Space

FORGOTTEN_SECONDS = 24 * 3600


def keep_uploads_here(space: Space) -> None:
    """From now on Gradio writes what browsers send into our data folder, of which nothing is left from an earlier
    start."""
    sweep(space, older_than_seconds=0)
    os.environ["GRADIO_TEMP_DIR"] = str(space.uploads)


def sweep(space: Space, older_than_seconds: float = FORGOTTEN_SECONDS) -> None:
    """Remove uploads that no page came back for."""
    for one in space.uploads.iterdir() if space.uploads.is_dir() else ():
        if time.time() - one.lstat().st_mtime >= older_than_seconds:
            _remove(one)


def discard(space: Space, path: str | Path) -> None:
    """Remove an upload that has been read, or will not be. A file that lies elsewhere (a sample) is left alone."""
    file, root = Path(path).resolve(), space.uploads.resolve()
    if file.is_relative_to(root) and file != root:
        _remove(root / file.relative_to(root).parts[0])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
