"""Which kinds of files there are: by the end of a name, and by what stands in the first bytes.

A new kind is a line in `FORMATS`, a module in `studio.datasets.files` and a line in its `reading.READERS`.
"""

from __future__ import annotations

from pathlib import PurePath

_CODE = (
    ".py", ".pyi", ".js", ".mjs", ".jsx", ".ts", ".tsx", ".java", ".kt", ".scala", ".c", ".h", ".cc", ".cpp", ".hpp",
    ".cu", ".cs", ".go", ".rs", ".swift", ".m", ".rb", ".php", ".pl", ".lua", ".r", ".jl", ".dart", ".ex", ".erl",
    ".hs", ".ml", ".clj", ".sh", ".bash", ".ps1", ".sql", ".vue", ".svelte", ".css", ".scss", ".proto", ".zig", ".v",
    ".sv", ".vhd", ".f90", ".asm", ".sol", ".tf", ".yaml", ".yml", ".toml", ".tex",
)  # fmt: skip
FORMATS: dict[str, str] = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".xlsx": "excel", ".xlsm": "excel", ".xls": "excel", ".txt": "text",
    ".md": "markdown", ".markdown": "markdown", ".rst": "markdown", ".pdf": "pdf", ".docx": "docx", ".pptx": "pptx",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".epub": "epub", **dict.fromkeys(_CODE, "code"),
}  # fmt: skip
"""The format of a file, by its suffix."""
ROWS = ("json", "jsonl", "csv", "parquet", "arrow", "excel")
"""Formats of which each row is a row; of the others the whole file is one text."""
PACKINGS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", *(f".tar{suffix}" for suffix in PACKINGS))

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "Parquet"), (b"ARROW1", "Arrow"), (b"FEA1", "Feather 1"), (b"PK\x03\x04", "ZIP"), (b"PK\x05\x06", "ZIP"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "OLE"), (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"%PDF", "PDF"), (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"), (b"Rar!", "RAR"), (b"SQLite format 3", "SQLite"), (b"\x7fELF", "ELF"),
    (b"{\\rtf", "RTF"), (b"\x93NUMPY", "NumPy"), (b"\x89HDF", "HDF5"), (b"Obj\x01", "Avro"), (b"RIFF", "RIFF"),
    (b"\x80\x02", "pickle"), (b"\x80\x03", "pickle"), (b"\x80\x04", "pickle"), (b"\x80\x05", "pickle"),
)  # fmt: skip
HEAD_BYTES = 1024
_SIGNED = {
    "parquet": ("Parquet",), "arrow": ("Arrow",), "pdf": ("PDF",), "docx": ("ZIP",), "pptx": ("ZIP",), "epub": ("ZIP",),
    "excel": ("ZIP", "OLE"),
}  # fmt: skip
OFFICE = ("docx", "pptx", "excel")
NAMED = ", ".join(suffix for suffix, kind in FORMATS.items() if kind != "code") + ", source code"
"""For sentences: what may be given, without the long list of source code."""


def suffix_of(name: str) -> str:
    """`.jsonl` of `rows.jsonl` and of `rows.jsonl.gz`, in lower case; "" without one."""
    path = PurePath(name)
    return PurePath(path.stem).suffix.lower() if path.suffix.lower() in PACKINGS else path.suffix.lower()


def format_of(name: str) -> str | None:
    return FORMATS.get(suffix_of(name))


def is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def found_in(head: bytes) -> str | None:
    """The kind that the first bytes of a file belong to; None for text and what is not known."""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def contradiction(name: str, head: bytes) -> str | None:
    """What a file is in truth where its first bytes are not those of its name; None where they agree."""
    kind, found = format_of(name), found_in(head)
    allowed = _SIGNED.get(kind or "")
    if kind == "pdf" and b"%PDF" in head[:HEAD_BYTES]:
        return None  # readers let some bytes stand before it
    if allowed is None:
        return found
    if found in allowed or kind == "arrow" and found is None:  # an Arrow stream has no mark of its own
        return None
    return found or "?"
