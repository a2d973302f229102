"""Parquet, a few hundred rows at a time. The only reader that needs pyarrow, which it imports when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.shapes.columns import COLUMNS, KNOWN_COLUMNS
from studio.datasets.source import Source, said_by
from studio.datasets.values import Held

ROWS_A_BATCH = 256
# Reading through a buffer keeps a row group of any size out of memory, a smaller batch where rows are large.
BUFFER_BYTES = 1024**2
BATCH_BYTES = 32 * 1024**2
DICTIONARY_BYTES = 1.5 * 1024**2
# Structs of a table have all keys of all rows: an empty one was not there.
_SPARSE = frozenset(
    name for part in ("messages", "conversations", "tools", "chosen", "rejected") for name in COLUMNS[part]
)


def read(source: Source) -> Iterator[tuple[int, Any]]:
    """Rows as dicts. Of a column that nobody asked for and that is large (images, embeddings) only that it is there."""
    import pyarrow as pa
    from pyarrow import parquet

    source.encoding = "parquet"
    try:
        with (
            source.on_disk() as path,
            parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file,
        ):
            check_names(source, file.schema_arrow.names)
            row, total = 0, max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=_rows_a_batch(file.metadata), use_threads=False):
                source.stop()
                for one in rows_of_batch(batch):
                    row += 1
                    yield row, one
                source.read_share = row / total
    except (pa.ArrowException, OSError) as error:
        raise Problem("dataset.broken_parquet", file=source.name, detail=said_by(error)) from error


def rows_of_batch(batch: Any) -> Iterator[dict[str, Any]]:
    """A batch of Arrow as rows."""
    names = batch.schema.names
    columns = [_cells(name, column) for name, column in zip(names, batch.columns, strict=True)]
    for cells in zip(*columns, strict=True):
        yield dict(zip(names, cells, strict=True))


def check_names(source: Source, names: list[str]) -> None:
    if doubled := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise Problem("dataset.doubled_column", file=source.name, column=doubled[:80], found=", ".join(names)[:400])


def _rows_a_batch(metadata: Any) -> int:
    """Fewer rows at once where they are large, so that a batch stays in `BATCH_BYTES` on the whole.

    A text that stands in a thousand rows is stored once, in a dictionary, and is as large in each of them when it is
    read: writers keep dictionaries to 1 MiB, so a larger one is of large texts.
    """
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    average = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
    chunks = (group.column(index) for group in groups for index in range(group.num_columns))
    repeated = max(map(_dictionary_bytes, chunks), default=0)
    fit = BATCH_BYTES // max(1, average)
    return max(1, int(min(ROWS_A_BATCH, fit, ROWS_A_BATCH if repeated <= DICTIONARY_BYTES else
        BATCH_BYTES // repeated)))  # fmt: skip


def _dictionary_bytes(chunk: Any) -> float:
    """About how large a column's dictionary is once it is unpacked."""
    if not chunk.has_dictionary_page or chunk.dictionary_page_offset is None:
        return 0
    packed = max(0, chunk.data_page_offset - chunk.dictionary_page_offset)
    return packed * chunk.total_uncompressed_size / max(1, chunk.total_compressed_size)


def _cells(name: str, column: Any) -> list[Any]:
    """A column's values as Python's; numbers, dates and decimals as they were written."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    known = name.strip().lower()
    if known not in KNOWN_COLUMNS and _is_large(kind) or known in COLUMNS["media"] and not pa.types.is_string(kind):
        return [Held() if there else None for there in _has_content(column)]
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return [text and _without_zeros(text) for text in column.cast(kind).cast(pa.string()).to_pylist()]
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return [None if number is None else float(str(number)) for number in _numpy(column)]
    values = column.to_pylist(maps_as_pydicts="lossy")
    return [_without_nulls(value) for value in values] if known in _SPARSE else values


def _is_large(kind: Any) -> bool:
    """Bytes and lists of numbers, also inside structs."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(_is_large(kind.field(index).type) for index in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return (
            _is_large(kind.value_type) or pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
        )
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _has_content(column: Any) -> list[bool]:
    """Which cells hold something: not null, and no empty list."""
    import pyarrow as pa
    from pyarrow import compute

    there = column.is_valid()
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        there = compute.and_(there, compute.fill_null(compute.greater(compute.list_value_length(column), 0), False))
    return there.to_pylist()


def _numpy(column: Any) -> Any:
    """Cells in their own precision: 0.1 of 32 bits is 0.1, not 0.10000000149011612."""
    values = column.to_numpy(zero_copy_only=False)
    return (None if not there else value for there, value in zip(column.is_valid().to_pylist(), values, strict=True))


def _without_zeros(text: str) -> str:
    """`2020-01-02 03:04:05` where the column could have held a fraction of a second."""
    whole, dot, rest = text.partition(".")
    digits = rest.rstrip("Z") if dot else ""
    zone = rest[len(digits) :]
    return whole + (f".{digits.rstrip('0')}" if digits.strip("0") else "") + zone if digits.isdigit() else text


def _without_nulls(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
