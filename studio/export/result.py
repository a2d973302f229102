"""The trained weights as one file to take away."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.disk.storage import storage_problems
from studio.export.base_names import without_paths
from studio.export.card import model_card
from studio.jobs.folder import RunFolder
from studio.jobs.journal import Reader
from studio.jobs.learned import learned

CARD = "README.md"
MACHINES_OWN = ("is_local", "local_files_only", "name_or_path", "_name_or_path")
"""What Transformers notes in a tokenizer's and a model's config of where it was read."""
LARGEST_RECORD_BYTES = 4 * 2**20
"""JSON files up to here are looked through for paths; a tokenizer's own is larger, and has none."""


def zip_result(run: RunFolder) -> Path:
    """A zip of the adapter (or the whole model), its tokenizer, a model card, the recipe and the run's facts, in a new
    temporary folder. Nothing in it names a folder of this machine.

    Raises `Problem("run.no_result")`.
    """
    result, facts = run.result, run.facts()
    if result is None:
        raise Problem("run.no_result", value=facts.info.name)
    about = {path.name: path for path in (run.path / "recipe.json", run.path / "run.json") if path.is_file()}
    files: dict[str, Path | str] = {**_files(result), **about}
    if recipe := facts.recipe:
        course = Reader(run.path).course()
        files |= {
            name: text for name, path in files.items() if isinstance(path, Path) and (text := _shared(path, recipe))
        }
        files[CARD] = model_card(facts.info, recipe, course)
        found = learned(recipe, course)
        if found and "run.json" in files and not facts.info.learned:  # of an older version
            files["run.json"] = _json({**_read(run.path / "run.json"), "learned": found.to_dict()})
    return _zip(facts.info.name, files)


def finish(folder: Path, run: RunFolder, recipe: Recipe) -> None:
    """A freshly saved result, made fit to be shared where it lies: card and records. `run` counts as finished."""
    course = Reader(run.path).course()
    course.ended = "finished"
    for path in folder.glob("*.json"):
        if text := _shared(path, recipe):
            path.write_text(text, encoding="utf-8")
    (folder / CARD).write_text(model_card(run.facts().info, recipe, course), encoding="utf-8")


def zip_folder(run: RunFolder) -> Path:
    """A zip of all there is of a run, for one that is damaged."""
    return _zip(run.facts().info.name, _files(run.path))


def _shared(path: Path, recipe: Recipe) -> str | None:
    """A record without paths of this machine; None where it has none, or is no record."""
    if path.suffix != ".json" or path.stat().st_size > LARGEST_RECORD_BYTES or path.name == "tokenizer.json":
        return None
    record = _read(path)
    cleaned = without_paths({key: value for key, value in record.items() if key not in MACHINES_OWN}, recipe.model)
    return _json(cleaned) if cleaned != record else None


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _files(folder: Path) -> dict[str, Path | str]:
    """By name in the zip. Links are left out: they lead elsewhere."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path for path in found}


def _zip(name: str, files: dict[str, Path | str]) -> Path:
    """Stored, not deflated: weights do not shrink. A date that a zip cannot hold is no reason to keep a file back."""
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "adapter"
    with storage_problems(Path(tempfile.gettempdir())):
        target = Path(tempfile.mkdtemp(prefix="lora-studio-")) / f"{stem}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
            for inside, content in files.items():
                if isinstance(content, str):
                    archive.writestr(inside, content)
                else:
                    archive.write(content, inside)
    return target
