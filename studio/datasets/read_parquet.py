"""Parquet, a few hundred rows at a time. The only reader that needs pyarrow, which it imports when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from estimator.problems import Problem
from studio.datasets.formats import KNOWN_COLUMNS
from studio.datasets.reading import Source

ROWS_A_BATCH = 256
# Reading through a buffer keeps a row group of any size out of memory.
BUFFER_BYTES = 1024**2


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """Rows as dicts. Columns nobody asked for (images, embeddings) are not read when known ones are there."""
    import pyarrow as pa
    from pyarrow import parquet

    source.encoding = "parquet"
    try:
        with parquet.ParquetFile(source.path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
            names = file.schema_arrow.names
            wanted = [name for name in names if name.strip().lower() in KNOWN_COLUMNS] or names
            row, total = 0, max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=ROWS_A_BATCH, columns=wanted, use_threads=False):
                for value in batch.to_pylist():
                    row += 1
                    yield row, value
                source.read_share = row / total
    except (pa.ArrowException, OSError) as error:
        detail = str(error).strip().splitlines()[0][:160]
        raise Problem("dataset.broken_parquet", file=source.name, detail=detail) from error
