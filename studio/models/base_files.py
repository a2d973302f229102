"""Whether a base's files are whole, before anything is loaded from them: every JSON that loading reads, every file of
weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.model.spec import MAX_CONFIG_BYTES, is_deeper

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
"""What Transformers looks for, in this order (modeling_utils `_get_resolved_checkpoint_files`); it takes no other
name."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
READ_BY_LOADING = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter_config.json",
)
MAX_JSON_DEPTH, MAX_INDEX_BYTES, MAX_TABLE_BYTES = 32, 64 * 2**20, 16 * MAX_CONFIG_BYTES
LFS_POINTER = b"version https://git-lfs"
SHOWN = 3


def check_json(folder: Path, name: str, field: str) -> None:
    """Raises `Problem("base.broken")` for a file that is no object, or nested so deep that its readers end in a
    RecursionError."""
    for file in READ_BY_LOADING:
        if (folder / file).is_file():
            read_object(folder / file, name, field, MAX_TABLE_BYTES)


def read_object(
    file: Path, name: str, field: str, limit_bytes: int = MAX_CONFIG_BYTES, code: str = "base.broken"
) -> dict[str, Any]:
    """The JSON object in a file that somebody brought. Raises `Problem(code)`."""
    try:
        with file.open("rb") as opened:
            content = opened.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise ValueError(f"more than {limit_bytes:,} bytes")
        made = json.loads(content)
        if not isinstance(made, dict):
            raise ValueError("not an object")
        if is_deeper(made, MAX_JSON_DEPTH):
            raise ValueError(f"nested more than {MAX_JSON_DEPTH} deep")
    except RecursionError as error:
        raise Problem(
            code, field=field, value=name, reason=f"{file.name}: nested more than {MAX_JSON_DEPTH} deep"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Problem(code, field=field, value=name, reason=f"{file.name}: {reason}"[:160]) from error
    return made


def check_weights(folder: Path, name: str, field: str) -> None:
    """Every file of weights that Transformers would read is there and as long as its own header says. Raises `Problem`
    (`base.*`)."""
    if (folder / WEIGHTS).is_file():
        check_safetensors(folder / WEIGHTS, name, field)
    elif (folder / INDEX).is_file():
        _check_shards(folder, name, field)
    else:
        _refuse_without_weights(folder, name, field)


def _refuse_without_weights(folder: Path, name: str, field: str) -> None:
    found = sorted(file.name for file in folder.glob("*.safetensors"))
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if found:
        missing = INDEX if len(found) > 1 or "-of-" in found[0] else WEIGHTS
        raise Problem("base.no_index", field=field, value=name, missing=missing, files=_shown(found))
    if pickles:
        raise Problem("base.pickled", field=field, value=name, files=_shown(pickles))
    raise Problem("base.no_weights", field=field, value=name)


def _check_shards(folder: Path, name: str, field: str) -> None:
    """The index against the files: each is there, whole, and holds the tensors that the index looks for in it."""
    places = read_object(folder / INDEX, name, field, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise Problem("base.broken", field=field, value=name, reason=f"{INDEX}: no weight_map from tensors to files")
    shards = sorted(set(places.values()))
    foreign = [file for file in shards if Path(file).name != file or not file.endswith(".safetensors")]
    if foreign:
        raise Problem(
            "base.broken",
            field=field,
            value=name,
            reason=f"{INDEX}: {_shown(foreign)}: no safetensors file of this folder",
        )
    if gone := [file for file in shards if not (folder / file).is_file()]:
        raise Problem(
            "base.shards_missing", field=field, value=name, missing=len(gone), count=len(shards), files=_shown(gone)
        )
    held = {file: check_safetensors(folder / file, name, field) for file in shards}
    if lost := [tensor for tensor, file in places.items() if tensor not in held[file]]:
        reason = f"{INDEX}: {len(lost):,} tensors are not where it says ({_shown(lost)})"
        raise Problem("base.broken", field=field, value=name, reason=reason[:200])


def weights_of(folder: Path) -> list[Path]:
    """The files of weights of a base that was checked, each once."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    return [folder / file for file in sorted(set(json.loads((folder / INDEX).read_bytes())["weight_map"].values()))]


def check_safetensors(file: Path, name: str, field: str, code: str = "base.torn") -> frozenset[str]:
    """The names of the tensors of a whole file; safetensors itself compares the file's length with its header, and
    reads no weights. Raises `Problem(code)`."""
    from safetensors import SafetensorError, safe_open

    try:
        with file.open("rb") as opened:
            if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                raise ValueError("a Git LFS pointer, not the weights: run `git lfs pull`")
        with safe_open(file, framework="numpy") as opened:
            return frozenset(opened.keys())
    except (SafetensorError, OSError, ValueError) as error:
        size = file.stat().st_size if file.is_file() else 0
        raise Problem(
            code, field=field, value=name, file=file.name, size=f"{size:,}", reason=str(error)[:160]
        ) from error


def _shown(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
