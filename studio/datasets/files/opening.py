"""What a user gives - files, folders, archives, any of them several times - as the sources to read, and what is left.

Nothing is skipped silently: a file of no kind that is read (a picture), one that stands beside rows to explain them (a
README), and one that is broken are each named with the reason. A single file that cannot be read is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from estimator.core.problems import Problem
from studio.datasets.files.apart import Apart
from studio.datasets.files.archives import unpack
from studio.datasets.kinds import NAMED, PACKINGS, ROWS, format_of, found_in, is_archive, suffix_of
from studio.datasets.source import Source, begun, open_source
from studio.datasets.text import safe_name

FILES = 50_000
_ABOUT = re.compile(
    r"(readme|licen[cs]e|changelog|contributing|notice|authors|dataset_?card|citation)\b", re.IGNORECASE
)
_ABOUT_FILES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "datapackage.json",
                ".gitattributes")  # fmt: skip
_PASSED_OVER = ("__pycache__", "node_modules", "__MACOSX", "venv")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"), **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("eval", "evaluation", "dev", "valid", "validation", "val"), "validation"),
}  # fmt: skip
_WORDS = re.compile(r"[^a-z]+")


class Given(NamedTuple):
    """A file, folder or archive, and the name that its user knows it by; `split` where its giver says it (train,
    validation or test), `folder` where it lay, for its name to be told from others."""

    path: Path
    name: str
    split: str | None = None
    folder: str = ""


@dataclass
class Opened:
    """`sources` in their order; `left`: what is not read, each `{"file", "problem"}` with a `Problem`; `about`: where
    the files lie that describe the others."""

    sources: list[Source] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Path] = field(default_factory=dict)

    def leave(self, file: str, problem: Problem) -> None:
        self.left.append({"file": file, "problem": problem.to_dict()})


def opened(
    paths: Sequence[Given], scratch: Path, apart: Apart, stop: Callable[[], None] = lambda: None
) -> Generator[float, None, Opened]:
    """`scratch` is an empty folder that the caller removes in the end. Yields the share of the unpacking; raises
    `Problem` where nothing can be read."""
    found, alone = Opened(), len(paths) == 1
    for index, (path, name, split, folder) in enumerate(paths):
        before = len(found.sources)
        try:
            if path.is_dir():
                _take_folder(found, path, path, stop, safe_name(name) if not alone else "")
            elif is_archive(name):
                yield from _take_archive(found, path, name, scratch / str(index), stop)
            else:
                found.sources.append(open_source(path, name))
        except Problem as problem:
            if alone or problem.code == "dataset.cancelled":
                raise
            found.leave(safe_name(name), problem)
        for source in found.sources[before:]:
            source.split = split or source.split
            source.name = f"{folder}/{source.name}" if folder else source.name
    found.sources = [one for source in found.sources for one in _sheets(found, source, scratch, apart, stop)]
    if not found.sources:
        _nothing(found, paths)
    return found


def _nothing(found: Opened, paths: Sequence[Given]) -> None:
    """Of what cannot be read the first that is broken says more than that there is a picture beside it."""
    problems = [one["problem"] for one in found.left]
    mere = ("dataset.unread_kind", "dataset.about_file", "dataset.passed_over")
    problems.sort(key=lambda one: one["code"] in (*mere, "dataset.nested_archive"))
    if problems and problems[0]["code"] not in mere:
        params = problems[0]["params"]
        if len(paths) == 1 and params.get("file"):  # what is in an archive, with the archive's own name
            params = {**params, "file": f"{safe_name(paths[0].name)}: {params['file']}"}
        raise Problem(problems[0]["code"], **params)
    names = ", ".join(one["file"] for one in found.left[:5]) or "-"
    raise Problem(
        "dataset.nothing_to_read", file=safe_name(paths[0].name) if paths else "-", found=names, allowed=NAMED
    )


def _take_archive(
    found: Opened, path: Path, name: str, folder: Path, stop: Callable[[], None]
) -> Generator[float, None, None]:
    shown = safe_name(name)
    size, first = begun(path, shown)
    head = found_in(first)
    source = Source(path, shown, size, packing=head if head in PACKINGS.values() else None, stop=stop)
    folder.mkdir(parents=True)
    passed = []
    for member in (yield from unpack(source, folder, _is_wanted)):
        if _is_passed_over(member):
            passed.append(member)
        else:
            found.leave(member, _unread(member))
    _tell_passed(found, shown, passed)
    before = len(found.sources)
    _take_folder(found, folder, folder, stop, "")
    if len(found.sources) == before and not found.left:
        raise Problem("dataset.empty", file=shown)


def _is_wanted(name: str) -> bool:
    return bool(format_of(name)) and not _is_passed_over(name)


def _is_passed_over(name: str) -> bool:
    """What systems and tools leave in folders, hidden or by its usual name: nobody means it as data."""
    return any(part in _PASSED_OVER or part.startswith(".") for part in Path(name).parts)


def _unread(name: str) -> Problem:
    if is_archive(name):
        return Problem("dataset.nested_archive", file=name)
    extension = suffix_of(name) or Path(name).suffix
    if not extension:
        return Problem("dataset.no_ending", file=name)
    return Problem("dataset.unread_kind", file=name, extension=extension)


def _take_folder(found: Opened, root: Path, folder: Path, stop: Callable[[], None], prefix: str) -> None:
    """All files of a folder and those below it, by name."""
    files: list[Path] = []
    passed: list[Any] = []
    for path in _walk(root, folder, passed):
        stop()
        files.append(path)
    _tell_passed(found, safe_name(folder.name), passed)
    if len(files) > FILES:
        raise Problem("dataset.many_files", file=safe_name(folder.name), limit=FILES)
    has_rows = any(format_of(path.name) in ROWS and path.name not in _ABOUT_FILES for path in files)
    for path in files:
        name = "/".join([*([prefix] if prefix else []), *path.relative_to(root).parts])
        if has_rows and (path.name in _ABOUT_FILES or _ABOUT.match(path.name)):
            found.about[name] = path
            found.leave(name, Problem("dataset.about_file", file=name))
        elif not format_of(path.name):
            found.leave(name, _unread(name))
        else:
            try:
                source = open_source(path, path.name)
            except Problem as problem:
                found.leave(name, Problem(problem.code, **{**problem.params, "file": name}))
            else:
                source.name, source.split = name, split_of(name)
                found.sources.append(source)


def _tell_passed(found: Opened, shown: str, passed: list[str]) -> None:
    """What is hidden, a tool's or a link, in one sentence with its number."""
    if passed:
        names = ", ".join(passed[:5])
        found.leave(shown, Problem("dataset.passed_over", file=shown, count=len(passed), found=names[:200]))


def _walk(root: Path, folder: Path, passed: list[str]) -> Iterator[Path]:
    """Regular files; no links, so that a folder ends where it seems to, and nothing hidden. Those are added to
    `passed`."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise Problem("dataset.unreadable", file=safe_name(folder.name), reason=error.strerror or str(error)) from error
    for path in inside:
        if path.name.startswith(".") or path.name in _PASSED_OVER or path.is_symlink():
            passed.append(path.relative_to(root).as_posix())
            continue
        if path.is_dir():
            yield from _walk(root, path, passed)
        elif path.is_file():
            yield path


def split_of(name: str) -> str | None:
    """`validation` of `data/dev-00000-of-00002.parquet` and of `validation/data.arrow`; None where no part says it."""
    for part in reversed(Path(name).with_suffix("").parts):
        said = {_SPLITS[word] for word in _WORDS.split(part.lower()) if word in _SPLITS}
        if len(said) == 1:
            return said.pop()
    return None


def _sheets(found: Opened, source: Source, scratch: Path, apart: Apart, stop: Callable[[], None]) -> Iterator[Source]:
    """A workbook's sheets, each a source of its own; any other source as it is."""
    source.stop, source.scratch = stop, scratch
    if source.format != "excel":
        yield source
        return
    try:
        sheets = apart.parts(source)
    except Problem as problem:
        if problem.code == "dataset.cancelled" or not found.left and len(found.sources) == 1:
            raise
        found.leave(source.name, problem)
        return
    for sheet in sheets:
        yield Source(source.path, source.name, source.size_bytes, packing=source.packing, part=sheet if len(sheets) > 1
                     else None, split=source.split, stop=stop, scratch=scratch)  # fmt: skip
