"""A GGUF of llama.cpp as an ordinary base: `python -m studio.workers.convert MODEL GGUF FOLDER`.

Transformers unpacks the weights and reads the tokenizer. What it leaves out is put right here: the split of digits that
the GGUF names, the context in the tokenizer's record, and its own note of the GGUF in config.json, without which nobody
could load the folder again. Weights are stored in bfloat16, the type they were published in before they were quantized.
Exit status 1 after a line that says what was wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from estimator.model.catalog import load_preset

DTYPE = "bfloat16"
DIGITS_APART = ("smollm",)
"""Values of `tokenizer.ggml.pre` for which llama.cpp cuts each digit off before everything else (llama-vocab.cpp)."""
READ_BY_OLDER = ("rope_theta", "rope_scaling")
"""Transformers 5 writes these in `rope_parameters` alone; older versions and other programs look for them at the
top."""


def main(arguments: list[str]) -> int:
    model, gguf, folder = arguments[0], Path(arguments[1]), Path(arguments[2])
    convert(model, gguf, folder)
    return 0


def convert(model: str, gguf: Path, folder: Path) -> None:
    """Write the preset `model` into `folder`, from its weights in `gguf`. Raises `ValueError` where the two differ."""
    _weights(model, gguf, folder)
    _tokenizer(gguf, folder)


def _weights(model: str, gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    made = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
    )
    counted, known = sum(p.numel() for p in made.parameters()), load_preset(model).inventory.total_parameters
    if counted != known:
        raise ValueError(f"{gguf.name} holds {counted:,} parameters, {model} has {known:,}")
    # A model that came of a GGUF refuses to be saved (`hf_quantizer`), and its record would send the next reader to the
    # GGUF.
    made.hf_quantizer = None
    del made.config.quantization_config
    made.config._name_or_path = ""
    made.to(getattr(torch, DTYPE)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config.pop("_model_name_or_path", None)
    config["rms_norm_eps"] = _as_written(config["rms_norm_eps"])
    rope = config.get("rope_parameters") or {}
    config |= {name: rope[name] for name in READ_BY_OLDER if name in rope}
    _write(folder / "config.json", config)


def _as_written(number: float) -> float:
    """A number that went through 32 bits, as it was before: GGUF holds 1e-05 as 9.999999747378752e-06."""
    return float(f"{number:.7g}")


def _tokenizer(gguf: Path, folder: Path) -> None:
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    reader = GGUFReader(gguf)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    if _said(reader, "tokenizer.ggml.pre") in DIGITS_APART:
        backend = tokenizer.backend_tokenizer
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    architecture = _said(reader, "general.architecture")
    tokenizer.model_max_length = int(_said(reader, f"{architecture}.context_length"))
    tokenizer.save_pretrained(folder)
    record = folder / "tokenizer_config.json"
    config = json.loads(record.read_text("utf-8"))
    for name in ("is_local", "local_files_only"):
        config.pop(name, None)
    _write(record, config)


def _said(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return field.contents() if field else None


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
