"""A file from outside: checked by its name, size and first bytes, then open for the reader of its format.

What makes the whole file unreadable is a `Problem` that names file, row and remedy; a row that can be left out is a
`RowError`.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from estimator.core.problems import Problem
from studio.datasets.kinds import FORMATS, HEAD_BYTES, NAMED, OFFICE, PACKINGS, contradiction, found_in, suffix_of
from studio.datasets.text import safe_name

# Room for one row while the file streams by; it bounds the memory a damaged file can take.
ROW_LIMIT_CHARACTERS = 16 * 1024**2
# Read at a time; between two reads a cancelled reading ends.
READ_BYTES = 128 * 1024
# A file may unfold to this much whatever it weighs, and beyond it to so many times its own size. Rows of text shrink to
# a fifth, the emptiest tables to a fiftieth.
UNFOLDED_BYTES = 1024**3
UNFOLDED_TIMES = 100
FREE_BYTES = 512 * 1024**2
"""Left free on the disk, whatever is unpacked or uploaded."""


class RowError(Exception):
    """One row that cannot be used: a reason of `dataset.reason_*` and the values in its sentence."""

    def __init__(self, reason: str, **params: object) -> None:
        super().__init__(reason)
        self.reason, self.params = reason, params


@dataclass
class Source:
    """A file being read: where it lies, what its user called it, and how far the reader has come."""

    path: Path
    name: str
    size_bytes: int
    encoding: str = "utf-8"
    packing: str | None = None
    """gzip, zstd, bzip2 or xz, by its first bytes."""
    part: str | None = None
    """The sheet of a workbook."""
    split: str | None = None
    """train, validation or test, where the file's own place says so."""
    said: tuple[str | None, dict[str, str | None]] | None = None
    """Shape and mapping of its rows, where a description that came with it says them."""
    stop: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called at every read of the disk; raises where the reading was cancelled."""
    read_share: float = 0.0
    """Set by readers that do not go through `open`."""
    scratch: Path | None = None
    """Where a packed file is unpacked whose reader needs it on the disk; the system's own place without one."""
    _file: io.FileIO | None = None

    @property
    def format(self) -> str:
        return FORMATS[suffix_of(self.name)]

    @property
    def shown(self) -> str:
        """The name, with that of the sheet where there are several."""
        return f"{self.name} · {self.part}" if self.part else self.name

    @property
    def progress(self) -> float:
        """Share of the file read, 0 to 1."""
        if self._file is None or self._file.closed:
            return self.read_share
        return min(1.0, self._file.tell() / max(1, self.size_bytes))

    @contextlib.contextmanager
    def open(self) -> Iterator[io.BufferedReader[Any]]:
        """Its bytes, unpacked where it is packed."""
        with self.path.open("rb", buffering=0) as file:
            self._file = file
            watched = io.BufferedReader(_Watched(file, self.stop), READ_BYTES)
            try:
                yield self._unpacked(watched)
            except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
                raise self._broken(error) from error
            except OSError as error:
                if self.packing in ("zstd", "bzip2") and error.errno is None:
                    raise self._broken(error) from error
                raise
            finally:
                self.read_share = self.progress

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path for a reader that jumps about in its file; what had to be unpacked for it goes afterwards."""
        if not self.packing:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=self.scratch) as folder:
            target = Path(folder) / "file"
            with self.open() as packed, target.open("wb") as unpacked:
                copy(packed, unpacked, self.name)
            yield target

    def _unpacked(self, file: io.BufferedReader[Any]) -> io.BufferedReader[Any]:
        if not self.packing:
            return file
        return io.BufferedReader(_Bounded(self.packing, file, self.name, self.size_bytes), READ_BYTES)

    def _broken(self, error: Exception) -> Problem:
        return Problem("dataset.broken_gzip", file=self.name, detail=said_by(error))


def _opened(packing: str, file: BinaryIO | io.BufferedReader[Any]) -> Any:
    if packing == "gzip":
        return gzip.GzipFile(fileobj=file)
    if packing == "zstd":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(_Lent(file), mode="r"), "zstd")
    return bz2.BZ2File(file) if packing == "bzip2" else lzma.LZMAFile(file, format=lzma.FORMAT_XZ)


class _Lent:
    """A file that its reader cannot close: Arrow closes what it was given once it is thrown away."""

    closed = False

    def __init__(self, file: Any) -> None:
        self.read = file.read

    def close(self) -> None:
        pass


class _Watched(io.RawIOBase):
    """A file that asks before each read whether anyone still waits for it."""

    def __init__(self, file: io.FileIO, stop: Callable[[], None]) -> None:
        self._file, self._stop = file, stop

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._stop()
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Bounded(io.RawIOBase):
    """What is unpacked, up to the size at which a file is no more what it seems. Back goes by unpacking anew, which is
    what readers do once, after a look at the head."""

    def __init__(self, packing: str, packed: io.BufferedReader[Any], name: str, packed_bytes: int) -> None:
        self._packing, self._packed, self._name, self._packed_bytes = packing, packed, name, packed_bytes
        self._unpacked, self._at = _opened(packing, packed), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._unpacked.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        check_unfolded(self._name, self._packed_bytes, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 1:
            offset += self._at
        elif whence:
            raise io.UnsupportedOperation("the end of packed bytes is not known")
        if offset < self._at:
            self._packed.seek(0)
            self._unpacked, self._at = _opened(self._packing, self._packed), 0
        while self._at < offset and (data := self._unpacked.read(min(READ_BYTES, offset - self._at))):
            self._at += len(data)
        return self._at

    def tell(self) -> int:
        return self._at


def copy(unpacked: Any, target: Any, name: str) -> None:
    """Bytes to the disk, while it has room for them."""
    while data := unpacked.read(READ_BYTES * 8):
        target.write(data)
        check_room(Path(target.name).parent, name, len(data))


def check_unfolded(name: str, packed_bytes: int, unfolded_bytes: int) -> None:
    """Raises `Problem` `dataset.unfolds` for what is much more than it weighs."""
    if unfolded_bytes > UNFOLDED_BYTES and unfolded_bytes > UNFOLDED_TIMES * packed_bytes:
        raise Problem("dataset.unfolds", file=name, size=_words(packed_bytes), limit=_words(unfolded_bytes))


def check_room(folder: Path, name: str, needed_bytes: int) -> None:
    """Raises `Problem` `dataset.no_room` where the disk would be full."""
    free = shutil.disk_usage(folder).free - FREE_BYTES
    if needed_bytes > free:
        raise Problem("dataset.no_room", file=name, size=_words(needed_bytes), free=_words(max(0, free)))


def open_source(path: Path, name: str | None = None) -> Source:
    """Check a file from outside by its name, size and first bytes, before anything reads it."""
    shown = safe_name(name or path.name)
    suffix = suffix_of(shown)
    if suffix not in FORMATS:
        raise Problem("dataset.extension", file=shown, extension=suffix or Path(shown).suffix or "-", allowed=NAMED)
    size, head = begun(path, shown)
    packing = found_in(head)
    source = Source(path, shown, size, packing=packing if packing in PACKINGS.values() else None)
    if source.packing:
        with source.open() as unpacked:
            head = unpacked.read(HEAD_BYTES)
    if found := contradiction(shown, head):
        _refuse(source, found, suffix)
    return source


def begun(path: Path, shown: str) -> tuple[int, bytes]:
    """The size and the first bytes of a file. Raises `Problem`, also for what is none: to open a pipe is to wait for
    whoever writes to it."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise Problem("dataset.unreadable", file=shown, reason="not a regular file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise Problem("dataset.unreadable", file=shown, reason=said_by(error)) from error
    if not about.st_size:
        raise Problem("dataset.empty", file=shown)
    return about.st_size, head


def _refuse(source: Source, found: str, suffix: str) -> None:
    if found == "?":
        raise Problem("dataset.not_its_kind", file=source.name, extension=suffix)
    if found == "pickle":
        raise Problem("dataset.pickle", file=source.name)
    if found == "OLE" and source.format in OFFICE:
        raise Problem("dataset.password", file=source.name)
    raise Problem("dataset.not_text", file=source.name, found=found, extension=suffix)


def said_by(error: BaseException) -> str:
    """An error of a library in a few words: without paths of this machine and numbers of the system."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (words.strip().splitlines() or [""])[0][:160] or type(error).__name__


def upload_limit_bytes(folder: Path) -> int:
    """How large an upload may be: what is sent lies beside what is stored of it until that is done."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return max(0, (shutil.disk_usage(there).free - FREE_BYTES) // 2)


def too_big(name: str, size_bytes: int, limit_bytes: int) -> Problem:
    """The refusal of a file that the disk has no room for, which the browser may make before anything is sent."""
    return Problem("dataset.too_big", file=safe_name(name), size=_words(size_bytes), limit=_words(limit_bytes))


def _words(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.1f} MiB" if size_bytes < 1024**3 else f"{size_bytes / 1024**3:,.1f} GiB"
