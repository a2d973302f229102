"""Files that came with a description of them: which of them are meant, and what their rows are.

Without a choice the entries of axolotl's YAML are trained together, as axolotl does, and of LLaMA-Factory's catalogue
the one is meant whose file came with it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.entries import axolotl, llamafactory
from studio.datasets.entries.entry import Entry
from studio.datasets.files.opening import Opened
from studio.datasets.kinds import PACKINGS
from studio.datasets.source import Source, open_source
from studio.datasets.text import safe_name

DESCRIPTION_BYTES = 4 * 2**20
_YAML = (".yaml", ".yml")


@dataclass
class Described:
    """A description: its name, where it lies, its entries, and whether all of them are meant together."""

    name: str
    path: Path
    entries: list[Entry]
    together: bool


@dataclass
class Told:
    """Entries that are meant, those among them that are to be fetched, and what is said of the description."""

    entries: list[Entry] = field(default_factory=list)
    to_fetch: list[Entry] = field(default_factory=list)
    left: list[Problem] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What a dataset of one entry is called."""
        return self.entries[0].name if len(self.entries) == 1 else ""


def tell(found: Opened, given: Collection[Path] = (), chosen: str | None = None, beside: bool = False) -> Told:
    """Leave of `found` the files of the chosen entry (or of those that are meant), each with what is said of its rows.
    `given` are the paths that the user named; `beside`: a file that did not come may lie beside its description. Raises
    `Problem` (`dataset.entry_*`)."""
    described = [one for one in _described(found) if _speaks_of(found, one, given)]
    if not described:
        if chosen:
            raise Problem("dataset.entry_none", field="entry", value=chosen[:80])
        return Told()
    known = {id(entry): _sources(found, one, entry, beside) for one in described for entry in one.entries}
    meant = _chosen(described, chosen) if chosen else _meant(described, known)
    told = Told(meant)
    taken: list[Source] = []
    for entry in meant:
        _check(entry, known[id(entry)])
        for source in known[id(entry)]:
            source.said, source.split = (entry.shape, entry.mapping), entry.role or source.split
            taken += [source] if source not in taken else []
        told.to_fetch += [entry] if entry.reference else []
        told.left += [Problem("dataset.entry_unread", file=entry.name, key=key, value=value)
                      for key, value in entry.unread.items()]  # fmt: skip
    _settle(found, described, taken, told)
    return told


def _described(found: Opened) -> list[Described]:
    """The descriptions among what was opened: they are no data."""
    places = {source.name: source.path for source in found.sources if not source.packing and not source.part}
    described = []
    for name, path in {**places, **found.about}.items():
        last = PurePosixPath(name).name.lower()
        if last == llamafactory.FILE and (some := llamafactory.entries(_json(path))):
            described.append(Described(name, path, some, False))
        elif last.endswith(_YAML) and (some := axolotl.entries(_yaml(path))):
            described.append(Described(name, path, some, True))
    return described


def _speaks_of(found: Opened, described: Described, given: Collection[Path]) -> bool:
    """Among much code there are settings of trainings too, which say nothing of the files beside them."""
    return described.path in given or not described.together or any(
        _sources(found, described, entry, False) for entry in described.entries)  # fmt: skip


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(DESCRIPTION_BYTES + 1)
    return data.decode("utf-8-sig", "replace") if len(data) <= DESCRIPTION_BYTES else ""


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except (OSError, ValueError, RecursionError):
        return None


def _yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(_text(path))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _sources(found: Opened, described: Described, entry: Entry, beside: bool) -> list[Source]:
    """The files of an entry that came with it, in their order."""
    folder = PurePosixPath(described.name).parent
    taken: list[Source] = []
    for file in entry.files:
        path = PurePosixPath(file.replace("\\", "/"))
        inside = "/".join(part for part in path.parts if part not in (".", "/", "..", "~"))
        whole = (folder / inside).as_posix()
        others = [source for source in found.sources if source.path != described.path]
        tests = (
            lambda name: name == whole or name.startswith(f"{whole}/"),  # noqa: B023
            lambda name: f"/{name}".endswith(f"/{inside}"),  # noqa: B023
            lambda name: PurePosixPath(name).name == path.name,  # noqa: B023
        )
        some = next((fit for test in tests if (fit := [one for one in others if test(_unpacked(one.name))])), [])
        some = some or [one for one in others if _unpacked(one.name, whole) == whole]
        if not some and beside and (source := _beside(described.path, inside)):
            found.sources.append(source)
            some = [source]
        taken += [one for one in some if one not in taken]
    return taken


def _unpacked(name: str, wanted: str = "") -> str:
    """`rows.jsonl` of `rows.jsonl.gz`, where that is what is asked for."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if wanted and path.suffix in PACKINGS else name


def _beside(description: Path, inside: str) -> Source | None:
    """A file in the description's own folder, or below it; nowhere else."""
    root = description.resolve().parent
    path = (root / inside).resolve()
    if not inside or not path.is_relative_to(root) or not path.is_file():
        return None
    source = open_source(path)
    source.name = "/".join(safe_name(part) for part in PurePosixPath(inside).parts)
    return source


def _chosen(described: list[Described], name: str) -> list[Entry]:
    everything = [entry for one in described for entry in one.entries]
    if fit := [entry for entry in everything if entry.name == name]:
        return fit[:1]
    allowed = ", ".join(entry.name for entry in everything[:40])
    raise Problem("dataset.entry_unknown", field="entry", value=name[:80], allowed=allowed)


def _meant(described: list[Described], known: dict[int, list[Source]]) -> list[Entry]:
    """Those whose files came; where none did, the only one there is, if a hub has it."""
    meant: list[Entry] = []
    for one in described:
        here = [entry for entry in one.entries if known[id(entry)]]
        if not one.together and len(here) > 1:
            allowed = ", ".join(entry.name for entry in here[:40])
            raise Problem("dataset.entry_choose", file=one.name, allowed=allowed, names=[one.name for one in here])
        meant += here or ([entry for entry in one.entries if entry.reference] if one.together else one.entries[:1]
                          if len(one.entries) == 1 else [])  # fmt: skip
    if meant:
        return meant
    first = described[0]
    allowed = ", ".join(f"{entry.name} ({', '.join(entry.files) or entry.refused or 'hub'})" for entry in
                        first.entries[:20])  # fmt: skip
    raise Problem("dataset.entry_files", file=first.name, allowed=allowed)


def _check(entry: Entry, sources: list[Source]) -> None:
    if entry.refused:
        raise Problem("dataset.entry_refused", file=entry.name, value=entry.refused)
    if not sources and not entry.reference:
        raise Problem("dataset.entry_absent", file=entry.name, value=", ".join(entry.files)[:120] or "-")


def _settle(found: Opened, described: list[Described], taken: list[Source], told: Told) -> None:
    """What was not chosen is told by name."""
    descriptions = {one.name for one in described}
    meant = ", ".join(entry.name for entry in told.entries)[:200]
    for source in found.sources:
        if source not in taken and source.name not in descriptions:
            found.leave(source.name, Problem("dataset.entry_others", file=source.name, entry=meant))
    found.left = [one for one in found.left if one["file"] not in descriptions]
    found.sources = taken
    for one in described:
        others = [entry.name for entry in one.entries if entry not in told.entries]
        if others:
            told.left.append(Problem("dataset.entry_left", file=one.name, count=len(others),
                                     found=", ".join(others[:10])))  # fmt: skip
