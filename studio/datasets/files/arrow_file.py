"""Arrow IPC, as a file or a stream: what `datasets` saves (`save_to_disk`) and keeps in its cache, and Feather 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.files.parquet_file import check_names, rows_of_batch
from studio.datasets.source import Source, said_by


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """Rows as dicts, like those of Parquet. The file is memory-mapped, so its batches cost no memory of their own."""
    import pyarrow as pa

    source.encoding = "arrow"
    try:
        with source.on_disk() as path, pa.memory_map(str(path)) as file:
            row, size = 0, max(1, file.size())
            for batch in _batches(file):
                check_names(source, batch.schema.names)
                for start in range(0, batch.num_rows, _rows_at_once(batch)):
                    source.stop()
                    for one in rows_of_batch(batch.slice(start, _rows_at_once(batch))):
                        row += 1
                        yield row, one
                source.read_share = min(1.0, file.tell() / size)
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise Problem("dataset.broken_arrow", file=source.name, detail=said_by(error)) from error


def _batches(file: Any) -> Iterator[Any]:
    import pyarrow as pa

    if file.read(6) == b"ARROW1":
        opened = pa.ipc.open_file(file)
        for index in range(opened.num_record_batches):
            yield _checked(opened.get_batch(index))
        return
    file.seek(0)
    with pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield _checked(batch)


def _checked(batch: Any) -> Any:
    """A damaged file's offsets point anywhere, and reading there would end the process."""
    batch.validate(full=True)
    return batch


def _rows_at_once(batch: Any) -> int:
    """256 rows, fewer where they are large."""
    row_bytes = batch.nbytes / max(1, batch.num_rows)
    return max(1, min(256, int(32 * 1024**2 // max(1, row_bytes))))
