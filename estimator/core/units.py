"""Widths of number types in bytes, and how sizes are written for people."""

from __future__ import annotations

KIB, MIB, GIB = 2**10, 2**20, 2**30
WIDTH_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "uint8": 1}


def width_bytes(dtype: str) -> int:
    """Bytes of one element; KeyError for a type nobody has stated."""
    return WIDTH_BYTES[dtype]


def human_bytes(size_bytes: float) -> str:
    """`7.42 GiB`, `312.0 MiB`, `-1.50 GiB`: binary units, three to four digits."""
    size = abs(size_bytes)
    sign = "-" if size_bytes < 0 else ""
    if size >= GIB:
        return f"{sign}{size / GIB:,.2f} GiB"
    if size >= MIB:
        return f"{sign}{size / MIB:.1f} MiB"
    return f"{sign}{size / KIB:.1f} KiB" if size >= KIB else f"{sign}{size:.0f} B"


def human_count(number: float) -> str:
    """`8.03 B`, `41.9 M`, `512`."""
    for limit, word in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if float(f"{abs(number):.3g}") >= limit:
            return f"{float(f'{number / limit:.3g}'):g} {word}"
    return f"{number:.0f}"
