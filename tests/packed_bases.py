"""Small repositories whose weights are stored in FP8, MXFP4 or as bitsandbytes packs them, with what they stand for."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
"""What the 16 codes of MXFP4 mean (OCP Microscaling Formats, table of E2M1)."""


def write(folder: Path, source: Path, tensors: dict[str, torch.Tensor], **config: object) -> Path:
    """A copy of `source` with these tensors in one file, and these entries in its config.json (None takes one out)."""
    if folder != source:
        shutil.copytree(source, folder)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    made = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps({key: value for key, value in made.items() if value is not None}))
    return folder


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def fp8(folder: Path, source: Path, block: tuple[int, int]) -> dict[str, torch.Tensor]:
    """`source` as DeepSeek publishes: linear weights as float8_e4m3fn and a `weight_scale_inv` a block. Returns the
    weights meant."""
    stored, meant = {}, {}
    for name, weight in tensors_of(source).items():
        stored[name] = meant[name] = weight
        if weight.ndim != 2 or "embed" in name or "lm_head" in name:
            continue
        rows, columns = weight.shape
        scales = torch.empty(math.ceil(rows / block[0]), math.ceil(columns / block[1]))
        codes, values = (
            torch.empty_like(weight, dtype=torch.float8_e4m3fn),
            torch.empty_like(weight, dtype=torch.float32),
        )
        for i in range(scales.shape[0]):
            for j in range(scales.shape[1]):
                part = (slice(i * block[0], (i + 1) * block[0]), slice(j * block[1], (j + 1) * block[1]))
                scales[i, j] = weight[part].abs().max() / 448
                codes[part] = (weight[part].float() / scales[i, j]).to(torch.float8_e4m3fn)
                values[part] = codes[part].float() * scales[i, j]
        stored |= {name: codes, f"{name}_scale_inv": scales}
        meant[name] = values
    write(
        folder,
        source,
        stored,
        quantization_config={"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": list(block)},
    )
    return meant


def mxfp4(folder: Path, source: Path) -> dict[str, torch.Tensor]:
    """A gpt-oss `source` as OpenAI publishes: random experts as `_blocks` of 4-bit codes and `_scales`. Returns the
    weights meant."""
    stored, meant = {}, {}
    generator = torch.Generator().manual_seed(1)
    for name, weight in tensors_of(source).items():
        stored[name] = meant[name] = weight
        if not name.endswith(("gate_up_proj", "down_proj")):
            continue
        experts, inputs, outputs = weight.shape
        codes = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), dtype=torch.uint8, generator=generator)
        scales = torch.randint(120, 126, (experts, outputs, inputs // 32), dtype=torch.uint8, generator=generator)
        values = (
            torch.stack([FP4[(codes & 15).long()], FP4[(codes >> 4).long()]], -1).flatten(-2)
            * torch.exp2(scales.float() - 127)[..., None]
        )
        del stored[name]
        stored |= {f"{name}_blocks": codes, f"{name}_scales": scales}
        meant[name] = values.flatten(-2).transpose(1, 2)
    write(folder, source, stored, quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})
    return meant
