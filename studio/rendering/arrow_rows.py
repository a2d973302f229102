"""Encoded rows as an Arrow stream of 32-bit ids, written batch after batch as they come: 4 bytes a token, where
Python's lists would take 36."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

BATCH_EXAMPLES, BATCH_TOKENS = 5_000, 2_000_000
"""A batch ends with whichever comes first: opening a file costs time with their number, an example with their size."""

READ_BYTES = 4 * 1024**2


class Summed:
    """A file for an Arrow stream, and the CRC-32 of what was written."""

    def __init__(self, path: Path) -> None:
        self._file, self.sum, self.size_bytes = path.open("wb"), 0, 0
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.sum = zlib.crc32(view, self.sum)
        self.size_bytes += view.nbytes
        self._file.write(view)
        return view.nbytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True
        self._file.close()


def checksum(path: Path) -> int:
    """The CRC-32 of a file."""
    found = 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(READ_BYTES):
            found = zlib.crc32(data, found)
    return found


class Sink:
    """Examples with these columns, on their way to a `datasets.Dataset`: in memory, or in `file`."""

    def __init__(self, columns: tuple[str, ...], file: Summed | None = None) -> None:
        import pyarrow as pa

        self._columns, self._file = columns, file
        self._schema = pa.schema([(name, pa.list_(pa.int32())) for name in columns])
        self._stream = pa.ipc.new_stream(pa.PythonFile(file, mode="w"), self._schema) if file else None
        self._batches: list[Any] = []
        self._waiting: list[Any] = []
        self._tokens = 0

    def write(self, examples: Iterable[Any]) -> None:
        """Raises `OSError`."""
        for one in examples:
            self._waiting.append(one)
            self._tokens += len(getattr(one, self._columns[0]))
            if len(self._waiting) >= BATCH_EXAMPLES or self._tokens >= BATCH_TOKENS:
                self._flush()

    def finish(self) -> Any:
        """Of what is in memory the `datasets.Dataset`. Raises `OSError`."""
        if self._waiting:
            self._flush()
        if self._stream:
            self._stream.close()
            return None
        import pyarrow as pa
        from datasets import Dataset

        return Dataset(pa.Table.from_batches(self._batches, self._schema))

    def _flush(self) -> None:
        import pyarrow as pa

        made = []
        for name in self._columns:
            values = [np.asarray(getattr(one, name), np.int32) for one in self._waiting]
            ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
            made.append(pa.ListArray.from_arrays(ends, np.concatenate([np.zeros(0, np.int32), *values])))
        batch = pa.record_batch(made, schema=self._schema)
        self._stream.write_batch(batch) if self._stream else self._batches.append(batch)
        self._waiting, self._tokens = [], 0
