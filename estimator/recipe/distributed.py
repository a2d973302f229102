"""What a recipe may ask of several devices at once: the choices, and what does not go together. No torch.

Read only where `num_processes` is above one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimator.recipe.optimizers import RECORDS

if TYPE_CHECKING:
    from estimator.recipe.recipe import Recipe

DISTRIBUTED_TYPES = ("ddp", "zero1", "zero2", "zero3", "fsdp", "tp", "pp")
OFFLOAD_DEVICES = ("none", "cpu", "nvme")
QUANT_STORAGES = ("uint8", "bfloat16", "float16", "float32")
SHARDED_OPTIMIZERS = {
    kind: [name for name, record in RECORDS.items() if kind in record.shards] for kind in ("fsdp", "tp")
}
"""torch's own take DTensors. bitsandbytes hands its kernels a pointer to one (bitsandbytes issues 89 and 1633);
Transformers' Adafactor mixes one with plain tensors, as schedulefree's do where only some tensors are cut
(tests/estimator/test_parallel.py)."""
OFFLOADED_OPTIMIZERS = tuple(name for name, record in RECORDS.items() if record.offloads)
"""Accelerate replaces these by DeepSpeedCPUAdam (utils/deepspeed.py map_pytorch_optim_to_deepspeed); DeepSpeed takes no
other."""


def is_zero(distributed_type: str) -> bool:
    return distributed_type.startswith("zero")


def conflicts(recipe: Recipe) -> tuple[tuple[bool, tuple[str, str, str]], ...]:
    """(refused, (field, what it cannot be combined with, what to do)) for `recipe._check_together`."""
    if recipe.num_processes == 1:
        return ()
    kind, zero = recipe.distributed_type, is_zero(recipe.distributed_type)
    named = f"distributed_type {kind}"
    four_bit = recipe.is_quantized and recipe.quantization != "int8"
    shards_weights = kind in ("zero3", "fsdp")
    return (
        (
            recipe.offload_param_device != "none" and not shards_weights,
            ("offload_param_device", named, "Use zero3 or fsdp"),
        ),
        (
            recipe.offload_optimizer_device != "none" and not zero,
            (
                "offload_optimizer_device",
                named,
                "Use zero1, zero2 or zero3; fsdp takes offload_param_device, which moves the optimizer too",
            ),
        ),
        (
            recipe.offload_param_device == "nvme" and kind == "fsdp",
            ("offload_param_device", named, "Use cpu, or zero3"),
        ),
        (
            recipe.offload_optimizer_device == "nvme" and kind != "zero3",
            ("offload_optimizer_device", named, "Use cpu, or zero3"),
        ),
        (
            kind in SHARDED_OPTIMIZERS and kind not in RECORDS[recipe.optim].shards,
            ("optim", named, f"Use {', '.join(SHARDED_OPTIMIZERS.get(kind, ()))}"),
        ),
        (
            recipe.offload_optimizer_device != "none" and not RECORDS[recipe.optim].offloads,
            (
                "optim",
                f"offload_optimizer_device {recipe.offload_optimizer_device}",
                f"Use {', '.join(OFFLOADED_OPTIMIZERS)}",
            ),
        ),
        # bitsandbytes keeps an int8 weight's scales outside of the tensor that would be cut
        (recipe.is_quantized and not four_bit and shards_weights, ("quantization", named, "Use nf4 or fp4")),
        (recipe.is_quantized and kind == "tp", ("method", named, "Use lora or full; or fsdp or zero3")),
        # PEFT, "Use PEFT QLoRA and DeepSpeed with ZeRO3": partitions must have the type of the other weights
        (
            four_bit and kind == "zero3" and recipe.bnb_4bit_quant_storage != recipe.dtype,
            ("bnb_4bit_quant_storage", named, f"Use {recipe.dtype}, the dtype of the other weights"),
        ),
        (
            four_bit and kind == "fsdp" and recipe.bnb_4bit_quant_storage not in ("uint8", recipe.dtype),
            (
                "bnb_4bit_quant_storage",
                named,
                f"Use {recipe.dtype}, the dtype of the other weights; uint8 stays whole on every device",
            ),
        ),
    )
