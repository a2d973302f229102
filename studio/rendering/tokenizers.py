"""The tokenizer of a base, read within bounds: its files are foreign, and some take minutes and gigabytes.

`studio.rendering.templates` gives it a chat template fit for training; others import from `studio.rendering.rendering`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.protocol.bounds import LOAD_SECONDS, bounded

FILE_LIMIT_BYTES = 128 * 1024**2
"""Of one file of a tokenizer; the largest known have 35 MB."""
ADDED_LIMIT_TOKENS = 150_000
"""Loading takes about 60 microseconds and 3 kB for each added token; models of speech add 65,000."""
_FILES = (
    "tokenizer*.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.jinja",
)


def open_tokenizer(base: Path, name: str = "") -> Any:
    """The fast tokenizer of a local folder, with a pad token and an end token. `name` is what a reader calls the base.

    Never runs code of the folder. Raises `Problem` `base.broken`, `base.tokenizer_large`, `base.tokenizer_slow`.
    """
    from transformers import AutoTokenizer

    name = name or str(base)
    _check_size(base, name)
    slow = Problem("base.tokenizer_slow", field="model", value=name, seconds=round(LOAD_SECONDS))
    try:
        with bounded(slow, _large(name, "memory", "-"), LOAD_SECONDS):
            tokenizer = AutoTokenizer.from_pretrained(str(base), trust_remote_code=False, local_files_only=True)
    except Problem:
        raise
    except Exception as error:  # whatever a broken tokenizer.json makes the library raise
        reason = f"tokenizer: {type(error).__name__}: {error}"
        raise Problem("base.broken", field="model", value=name, reason=reason[:200]) from error
    for missing, word in ((not tokenizer.is_fast, "no fast tokenizer"), (tokenizer.eos_token is None, "no end token")):
        if missing:
            raise Problem("base.broken", field="model", value=name, reason=f"tokenizer: {word}")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # labels of the padding are -100 whatever its id is
    return tokenizer


def _check_size(base: Path, name: str) -> None:
    """Count before loading: a million added tokens take 46 s and 3 GB, in a library that cannot be stopped
    meanwhile."""
    for file in sorted({file for pattern in _FILES for file in base.glob(pattern) if file.is_file()}):
        if file.stat().st_size > FILE_LIMIT_BYTES:
            raise _large(name, file.name, f"{file.stat().st_size // 1024**2:,} MiB > {FILE_LIMIT_BYTES // 1024**2} MiB")
        if (added := _added_tokens(file)) > ADDED_LIMIT_TOKENS:
            raise _large(name, file.name, f"{added:,} > {ADDED_LIMIT_TOKENS:,} added tokens")


def _added_tokens(file: Path) -> int:
    if file.name == "added_tokens.json":
        try:
            return len(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError):
            return 0  # the library says what is wrong with it
    return (
        file.read_bytes().count(b'"single_word"') if file.suffix == ".json" else 0
    )  # one in each added token's record


def _large(name: str, file: str, found: str) -> Problem:
    return Problem("base.tokenizer_large", field="model", value=name, file=file, found=found)
