"""Whether an adapter's files are those of the adapter that the model has: every tensor is used, none is missing, all
shapes agree.

PEFT passes over tensors that find no place and leaves new what finds no tensor (0.21, `set_peft_model_state_dict` with
`strict=False`): an adapter of a deeper base, or with fewer targets than weights, loads without a word and does nearly
nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open

from estimator.core.problems import Problem
from estimator.program.loading import other_tensors
from studio.models import base_files

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|lm_head)(\.base_layer)?\.weight$")
"""What PEFT saves beside the adapter where embeddings are among the targets: the base's own."""


def check_files(folder: Path, value: str) -> dict[str, Any]:
    """The adapter's config, once both files are there and whole. A pickle beside or instead is never read. Raises
    `Problem("chat.adapter")`."""
    if missing := [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        raise Problem("chat.adapter", value=value, reason=f"{', '.join(missing)}: missing")
    config = base_files.read_object(folder / CONFIG, value, "model", code="chat.adapter")
    if config.get("peft_type") != "LORA":
        raise Problem(
            "chat.adapter", value=value, reason=f"{CONFIG}: peft_type {str(config.get('peft_type'))[:40]}, not LORA"
        )
    base_files.check_safetensors(folder / WEIGHTS, value, "model", code="chat.adapter")
    return config


def save(model: PeftModel, folder: Path) -> None:
    """Write the adapter `default` so that it loads as it was trained.

    Of the patterns of a rank or an alpha the first that matches a module decides, and PEFT writes its config sorted by
    key (0.21, `PeftConfigMixin.save_pretrained`): they are put back into their order here.
    """
    model.save_pretrained(folder)
    config, live = json.loads((folder / CONFIG).read_text("utf-8")), model.peft_config["default"]
    patterns = {name: getattr(live, name) for name in ("rank_pattern", "alpha_pattern")}
    (folder / CONFIG).write_text(json.dumps(config | patterns, indent=2), "utf-8")


def check_tensors(code: str, model: PeftModel, name: str, folder: Path, value: str) -> None:
    """Compare the file's tensors with those of the model's adapter `name`. Raises `Problem(code)` with counts and the
    first names."""
    with safe_open(folder / WEIGHTS, framework="numpy") as opened:
        held = {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118  (no mapping)
    wanted = {
        key: tuple(tensor.shape)
        for key, tensor in get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False).items()
    }
    missing = sorted(wanted.keys() - held.keys())
    unexpected = sorted(key for key in held.keys() - wanted.keys() if not _EMBEDDING.search(key))
    reshaped = sorted(key for key in held.keys() & wanted.keys() if held[key] != wanted[key])
    if found := missing + unexpected + reshaped:
        raise other_tensors(code, value, missing, unexpected, reshaped, found)
