"""What a flag that there is not may have meant: another tool's word for a field of the recipe, or one mistyped."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from estimator.recipe.brought import FOREIGN_NAMES

COMMON = {
    "batch_size": "per_device_train_batch_size", "bs": "per_device_train_batch_size", "train_batch_size":
    "per_device_train_batch_size",
    "grad_accum": "gradient_accumulation_steps", "gradient_accumulation": "gradient_accumulation_steps", "rank":
    "r", "lora_dim": "r",
    "alpha": "lora_alpha", "dropout": "lora_dropout", "seq_len": "max_length", "seq_length": "max_length",
    "context": "max_length",
    "context_length": "max_length", "model_max_length": "max_length", "lr": "learning_rate", "epochs":
    "num_train_epochs",
    "steps": "max_steps", "gpus": "num_processes", "num_gpus": "num_processes", "n_gpus": "num_processes", "cards":
    "num_processes",
    "nproc_per_node": "num_processes", "strategy": "distributed_type", "fsdp": "distributed_type", "deepspeed":
    "distributed_type",
    "zero": "distributed_type", "load_in_4bit": "method", "load_in_8bit": "quantization", "bits": "quantization",
    "bit": "quantization",
    "quantization_bit": "quantization", "quant": "quantization", "finetuning_type": "method", "precision": "dtype",
    "torch_dtype": "dtype",
    "bf16": "dtype", "fp16": "dtype", "lora_target": "target_modules", "targets": "target_modules", "flash_attn":
    "attn_implementation",
    "attention": "attn_implementation", "vram": "gpu_memory", "memory": "gpu_memory", "card": "gpu", "device":
    "gpu", "language": "lang",
    "price": "usd_per_kwh", "dataset_size": "rows", "samples": "rows", "num_samples": "rows", "tokens":
    "tokens_per_row",
}  # fmt: skip
"""Words of people and of other tools that are no field of a file; those are `brought.FOREIGN_NAMES`."""


def nearest(unknown: str, flags: Collection[str]) -> str | None:
    """The flag of `flags` (as `--max-length`) that `unknown` may have meant, None where nothing is near."""
    name = re.sub(r"[-\s]+", "_", unknown.strip("-").partition("=")[0].casefold())
    for words in (COMMON, FOREIGN_NAMES):
        if (meant := "--" + words.get(name, "").replace("_", "-")) in flags:
            return meant
    known = {flag.lstrip("-"): flag for flag in flags}
    close = difflib.get_close_matches(name.replace("_", "-")[:80], known, n=1, cutoff=0.75)
    return known[close[0]] if close else None
