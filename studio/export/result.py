"""The trained weights as one file to take away."""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path

from estimator.problems import Problem
from studio import paths
from studio.runs.folder import RunFolder
from studio.storage import storage_problems


def zip_result(run: RunFolder) -> Path:
    """A zip of the adapter (or the whole model), its tokenizer, the recipe and the run's facts, in a new temporary folder.

    Stored, not deflated: weights do not shrink. Raises `Problem("run.no_result")`.
    """
    result = run.result
    if result is None:
        raise Problem("run.no_result", value=run.info().name)
    stem = re.sub(r"[^\w.-]+", "-", run.info().name).strip("-.") or "adapter"
    with storage_problems(paths.home()):
        target = Path(tempfile.mkdtemp(prefix="lora-studio-")) / f"{stem}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(result.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(result))
            archive.write(run.path / "recipe.json", "recipe.json")
            archive.write(run.path / "run.json", "run.json")
    return target
