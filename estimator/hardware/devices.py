"""What a device has no kernels for, said before anything is built or rented."""

from __future__ import annotations

import importlib.util

from estimator.core.problems import Problem
from estimator.recipe.optimizers import RECORDS
from estimator.recipe.recipe import Recipe


def check_optimizer_installed(recipe: Recipe) -> None:
    """Raises `Problem` where this machine lacks the package that the optimizer comes from."""
    package = RECORDS[recipe.optim].package
    if package and importlib.util.find_spec(package) is None:
        raise Problem("machine.optimizer", field="optim", value=recipe.optim, package=package)


def check_machine(recipe: Recipe, device: str) -> None:
    """Refuse what the machine's `device` ("cuda", "mps" or "cpu") has no kernels for, and what the studio cannot keep
    apart. Raises `Problem`."""
    if recipe.has_adapters and recipe.init_lora_weights.startswith(("pissa", "olora")):
        # PEFT subtracts the start from the base's weights: a chat that switches the adapter off, or loads a second one,
        # would then talk to another base.
        allowed = "true, gaussian, orthogonal, mica"
        raise Problem(
            "machine.base_rewritten", field="init_lora_weights", value=recipe.init_lora_weights, allowed=allowed
        )
    int8 = recipe.is_quantized and recipe.quantization == "int8"
    cuda = device == "cuda"
    refusals = [
        (not RECORDS[recipe.optim].on_mps and device == "mps", "optim", "adamw_torch, adafactor, sgd"),
        (recipe.mixed_precision == "fp16" and not cuda, "mixed_precision", "no, bf16"),
        (recipe.attn_implementation == "flash_attention_2" and not cuda, "attn_implementation", "sdpa, eager"),
        (recipe.is_quantized and device == "mps", "method", "lora, full"),
        # peft 0.21 dequantizes int8 weights for DoRA's norms; bitsandbytes 0.50 then has no scales left on a CPU.
        (recipe.use_dora and int8 and not cuda, "use_dora", "false, or quantization nf4"),
    ]
    for refused, field, allowed in refusals:
        if refused:
            value = getattr(recipe, field)
            raise Problem("machine.unsupported", field=field, value=value, device=device, allowed=allowed)
