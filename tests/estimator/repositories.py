"""Folders that look like a model's repository: a real config.json and real safetensors files of a small model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.estimator.small import CONFIGS

REMOTE = CONFIGS["llama"] | {
    "model_type": "homemade",
    "auto_map": {"AutoModelForCausalLM": "modeling_homemade.HomemadeForCausalLM"},
}
"""Needs code that nobody runs."""


def write_config(folder: Path, config: dict[str, Any] | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


def tensors_of(name: str) -> dict[str, Any]:
    """What Transformers saves of a small model: tied tensors once, under its own names."""
    import torch

    from estimator.trace import meta_model

    model = meta_model.build_on_meta(CONFIGS[name])
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    return {
        key: torch.zeros(value.shape, dtype=torch.bfloat16)
        for key, value in model.state_dict().items()
        if key not in tied
    }


def write_tensors(folder: Path, tensors: dict[str, Any], shards: int = 1) -> Path:
    """In one file, or in `shards` files under Transformers' names."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    for number in range(shards):
        file = "model.safetensors" if shards == 1 else f"model-{number + 1:05}-of-{shards:05}.safetensors"
        save_file({name: tensors[name] for name in names[number::shards]}, folder / file, {"format": "pt"})
    return folder


def repository(folder: Path, name: str = "llama", shards: int = 3, **changed: Any) -> Path:
    """A whole repository, with files beside the weights that nobody should ask for."""
    write_tensors(write_config(folder, CONFIGS[name] | changed), tensors_of(name), shards)
    (folder / "modeling_homemade.py").write_text("raise SystemExit('code of a repository was run')")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "tokenizer.json").write_text("{}")
    return folder
