"""ZIP and TAR archives: what can be read of them is unpacked beside the data, within what the disk and sense allow."""

from __future__ import annotations

import functools
import gzip
import itertools
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.kinds import found_in
from studio.datasets.source import READ_BYTES, Source, check_room, check_unfolded, said_by

MEMBERS = 50_000
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, OSError,
           NotImplementedError, RuntimeError, ValueError)  # fmt: skip


def unpack(source: Source, folder: Path, wanted: Callable[[str], bool]) -> Generator[float, None, list[str]]:
    """Unpack the members that are `wanted` into `folder`, under their own names; yields the share done, returns the
    names of the others. Raises `Problem`, also for names that climb out: such an archive was made to do harm."""
    left: list[str] = []
    try:
        members = _zip(source) if _is_zip(source.path) else _tar(source)
        total = 0
        for count, (name, size, share, opened) in enumerate(members, start=1):
            if count > MEMBERS:
                raise Problem("dataset.many_files", file=source.name, limit=MEMBERS)
            target = _free(_target(source, folder, name))
            total += size
            check_unfolded(source.name, source.size_bytes, total)
            if not wanted(name):
                left.append(name)
                continue
            check_room(folder, source.name, size)
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened() as packed, target.open("wb") as unpacked:
                yield from _copied(source, packed, unpacked, size, share)
    except Problem:
        raise
    except _DAMAGE as error:
        locked = isinstance(error, RuntimeError) and "password" in str(error)
        if locked:
            raise Problem("dataset.password", file=source.name) from error
        raise Problem("dataset.broken_archive", file=source.name, detail=said_by(error)) from error
    return left


def _copied(source: Source, packed: Any, unpacked: Any, size: int, share: float) -> Iterator[float]:
    """No more than the archive says of this member: a header may lie."""
    done = 0
    while data := packed.read(READ_BYTES * 8):
        source.stop()
        done += len(data)
        if done > size:
            raise ValueError("a file in it is larger than it says")
        unpacked.write(data)
        yield share
    if done < size:
        raise EOFError("it ends in the middle of a file")


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return found_in(file.read(8)) == "ZIP"


def _target(source: Source, folder: Path, name: str) -> Path:
    """Where a member goes: inside the folder, whatever its name says."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise Problem("dataset.climbs", file=source.name, member=name[:120])
    return folder / Path(*(part if len(part) < 200 else f"{part[:150]}{part[-40:]}" for part in path.parts))


def _free(target: Path) -> Path:
    """Two members may have one name, and both are there to be read."""
    names = (target.with_name(f"{target.stem} ({number}){target.suffix}") for number in itertools.count(2))
    return next(one for one in itertools.chain([target], names) if not one.exists())


def _zip(source: Source) -> Iterator[tuple[str, int, float, Callable[[], Any]]]:
    with zipfile.ZipFile(source.path) as archive:
        members = [one for one in archive.infolist() if not one.is_dir()]
        check_unfolded(source.name, source.size_bytes, sum(one.file_size for one in members))
        for index, one in enumerate(members):
            if one.flag_bits & 1:
                raise Problem("dataset.password", file=source.name)
            yield one.filename, one.file_size, index / len(members), functools.partial(archive.open, one)


def _tar(source: Source) -> Iterator[tuple[str, int, float, Callable[[], Any]]]:
    """In the order of the archive, which is read once from end to end. Links, devices and the like are no files."""
    with source.open() as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for one in archive:
            source.stop()
            if one.isfile():
                yield one.name, one.size, source.progress, functools.partial(archive.extractfile, one)
            elif not one.isdir():
                _target(source, Path(), one.name)
                _target(source, Path(), one.linkname or "-")
