"""What the end of a repository's name says of how its weights are stored, as a `quantization_config` would."""

from __future__ import annotations

import re
from typing import Any

_SIXTEEN = re.compile(r"[-_.](?:bf16|fp16|f16|16bit)$", re.IGNORECASE)
_NF4 = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
}
"""As Unsloth writes its copies."""
_METHODS = (
    ("gguf", r"gguf|[-_.]i?q[2-8](?![0-9])"),
    ("awq", r"awq"),
    ("gptq", r"gptq"),
    ("aqlm", r"aqlm"),
    ("auto-round", r"auto[-_]?round"),
    ("hqq", r"hqq"),
    ("eetq", r"eetq"),
    ("quanto", r"quanto"),
    ("higgs", r"higgs"),
    ("vptq", r"vptq"),
    ("spqr", r"spqr"),
    ("exl2", r"exl2"),
    ("exl3", r"exl3"),
    ("mlx", r"mlx"),
    ("torchao", r"torchao|[-_.]ao\b"),
    ("compressed-tensors", r"quantized|w\d+a\d+|fp8[-_.]?(?:dynamic|static|block)"),
    ("nvfp4", r"nvfp4"),
    ("mxfp4", r"mxfp4"),
    ("mxfp8", r"mxfp8"),
)
_FP8 = {"meta-llama": "fbgemm_fp8", "nvidia": "modelopt", "qwen": "fp8", "deepseek-ai": "fp8", "zai-org": "fp8"}
"""Which of several formats an owner's `-FP8` is."""


def sixteen_bits(name: str) -> tuple[str, str]:
    """The name without an end that says 16 bits, and that end."""
    found = _SIXTEEN.search(name)
    return (name[: found.start()], found[0]) if found else (name, "")


def record_of(endings: str, owner: str, id: str) -> dict[str, Any] | None:
    """The record that `endings` tell of in a copy `id` of a model of `owner`; `{}` for 16 bits, None where they tell no
    format."""
    text, held_by = endings.casefold(), id.rpartition("/")[0].casefold()
    if _SIXTEEN.fullmatch(text):
        return {}
    if re.search(r"bnb|unsloth", text):
        return {"quant_method": "bitsandbytes", "load_in_8bit": True} if re.search(r"8[-_.]?bit", text) else dict(_NF4)
    bits = re.search(r"(?<![0-9])([2-8])(?:[-_.]?bits?)?(?![0-9])", re.sub(r"fp\d|g\d+|w\d+a\d+", "", text))
    stated = {"bits": int(bits[1])} if bits else {}
    for method, pattern in _METHODS:
        if re.search(pattern, text):
            return {"quant_method": method} | stated
    if held_by == "mlx-community" and stated:
        return {"quant_method": "mlx"} | stated
    if "fp8" in text:
        return {"quant_method": _FP8.get((held_by or owner).casefold(), "FP8")}
    return None
