"""The trained weights as one file to take away."""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path

from estimator.core.problems import Problem
from studio import paths
from studio.runs.folder import RunFolder
from studio.storage import storage_problems


def zip_result(run: RunFolder) -> Path:
    """A zip of the adapter (or the whole model), its tokenizer, the recipe and the run's facts, in a new temporary folder.

    Raises `Problem("run.no_result")`.
    """
    result, name = run.result, run.facts().info.name
    if result is None:
        raise Problem("run.no_result", value=name)
    about = {path.name: path for path in (run.path / "recipe.json", run.path / "run.json") if path.is_file()}
    return _zip(name, {**_files(result), **about})


def zip_folder(run: RunFolder) -> Path:
    """A zip of all there is of a run, for one that is damaged."""
    return _zip(run.facts().info.name, _files(run.path))


def _files(folder: Path) -> dict[str, Path]:
    """By name in the zip. Links are left out: they lead elsewhere."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path for path in found}


def _zip(name: str, files: dict[str, Path]) -> Path:
    """Stored, not deflated: weights do not shrink. A date that a zip cannot hold is no reason to keep a file back."""
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "adapter"
    with storage_problems(paths.home()):
        target = Path(tempfile.mkdtemp(prefix="lora-studio-")) / f"{stem}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
            for inside, path in files.items():
                archive.write(path, inside)
    return target
