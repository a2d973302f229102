"""The files that a dataset was read of stay beside its rows, so that they can be read again another way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from estimator.core.problems import Problem
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.datasets.text import safe_name

FOLDER = "source"
Files = list[tuple[Path, str]]
"""Files, each with the name that its user knows it by."""


def keep(info: DatasetInfo, given: Iterable[tuple[Path, str]]) -> None:
    """Lay the files beside the rows, as second names of the same bytes where the disk can do that. What cannot be kept
    (the disk is full, a folder) is not there later, and `kept` says so then."""
    for index, (path, name) in enumerate(given):
        target = info.folder / FOLDER / str(index) / safe_name(name)
        try:
            target.parent.mkdir(parents=True)
            try:
                os.link(path, target)
            except OSError:
                shutil.copyfile(path, target)
        except OSError:
            shutil.rmtree(info.folder / FOLDER, ignore_errors=True)
            return


def kept(store: DatasetStore, info: DatasetInfo) -> Files:
    """The files of a version: its own, or those of the nearest version it was made of that has some. Raises `Problem`
    `dataset.source_gone`."""
    seen = info
    while not (found := _beside(seen)):
        try:
            seen = store.get(seen.parent)
        except Problem:
            raise Problem("dataset.source_gone", file=info.file_name) from None
    return found


def _beside(info: DatasetInfo) -> Files:
    folder = info.folder / FOLDER
    files = [next(one.iterdir(), None) for one in folder.iterdir()] if folder.is_dir() else []
    found = [(int(file.parent.name), file) for file in files if file and file.parent.name.isdigit()]
    return [(file, file.name) for _, file in sorted(found)]
