"""Which base an adapter was trained on: told by the base's tensors and by what in its config.json changes what they
compute.

Another base of the same shapes takes an adapter without a word and answers with noise. So a fingerprint of the base is
kept beside every adapter, and compared before the adapter is used. It costs no second reading of the weights: of a
large base a few kilobytes of each tensor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.model.headers import LENGTH_BYTES, header_length, is_table
from estimator.model.spec import read_config
from studio.models import base_files

FILE = "base_fingerprint.json"
FORMAT = 1
READ_WHOLE_BYTES = 64 * 2**20
"""A base up to this size is read whole."""
SAMPLE_BYTES = 4_096
"""Of each tensor of a larger one, from its middle: a fine-tune changes nearly all of them."""
PARTS = {"config": "config.json", "tensors": "*.safetensors"}
_NO_PART_OF_THE_MODEL = frozenset(
    {"_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype", "use_cache", "auto_map",
    "bos_token_id", "eos_token_id",
     "pad_token_id", "task_specific_params", "output_attentions", "output_hidden_states", "return_dict",
     "attn_implementation", "_attn_implementation"}
)  # fmt: skip


def of(folder: Path) -> dict[str, Any]:
    """The fingerprint of a whole base (`bases.open_base`): hashes of its config and of its tensors, however they are
    cut into files."""
    config = {key: value for key, value in read_config(folder).items() if key not in _NO_PART_OF_THE_MODEL}
    tensors = hashlib.sha256()
    for line in sorted(_tensors(folder)):
        tensors.update(line)
    revision = folder.name if folder.parent.name == "snapshots" else None  # the hub's cache: snapshots/<commit>
    return {
        "format": FORMAT,
        "revision": revision,
        "config": _hash(json.dumps(config, sort_keys=True).encode()),
        "tensors": tensors.hexdigest(),
    }


def write(folder: Path, model: str, fingerprint: dict[str, Any]) -> None:
    (folder / FILE).write_text(json.dumps({"model": model, **fingerprint}, indent=2), encoding="utf-8")


def check(code: str, folder: Path, fingerprint: dict[str, Any], value: str, base: str) -> None:
    """Compare what is kept in `folder` with the base at hand. Nothing is said where nothing is kept: runs of older
    versions have no fingerprint. Raises `Problem(code)`."""
    if not (folder / FILE).is_file():
        return
    kept = base_files.read_object(folder / FILE, value, "model")
    changed = (
        [file for part, file in PARTS.items() if kept.get(part) != fingerprint[part]]
        if kept.get("format") == FORMAT
        else []
    )
    if changed:
        raise Problem(code, value=value, base=base, parts=", ".join(changed))


def _tensors(folder: Path) -> Iterator[bytes]:
    """A line a tensor: name, type, shape, and a hash of its bytes or of some of them."""
    files = base_files.weights_of(folder)
    takes_all = sum(file.stat().st_size for file in files) <= READ_WHOLE_BYTES
    for file in files:
        with file.open("rb") as opened:
            start = LENGTH_BYTES + header_length(opened.read(LENGTH_BYTES))
            header = json.loads(opened.read(start - LENGTH_BYTES))
            for name, entry in header.items():
                if name == "__metadata__" or is_table(name):
                    continue
                first, last = entry["data_offsets"]
                taken = last - first if takes_all else min(last - first, SAMPLE_BYTES)
                opened.seek(start + (first + last - taken) // 2)
                yield f"{name} {entry['dtype']} {entry['shape']} {_hash(opened.read(taken))}\n".encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
