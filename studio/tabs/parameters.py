"""What is said of each parameter: its meaning, its range and where that is written; and which parameters stand
together.

Meanings are the `<field>_help` of the `recipe` area of `studio/i18n`, ranges those of the record itself.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from estimator.core.fields import FieldInfo
from estimator.estimates.conditions import CONDITIONS
from estimator.recipe.recipe import FIELDS
from studio.i18n import strings, t

INFOS: dict[str, FieldInfo] = {**FIELDS, **CONDITIONS}
BASIC = ["r", "target_modules", "per_device_train_batch_size", "max_length"]
"""With the model and the GPU what a beginner sees."""
FIRST = ["method", "quantization", "bnb_4bit_use_double_quant", "dtype"]
GROUPS: dict[str, list[str]] = {
    "adapters": [
        "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "init_lora_weights", "autocast_adapter_dtype",
        "exclude_modules",
        "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "modules_to_save",
        "target_parameters",
        "trainable_token_indices", "bias", "lora_bias",
    ],
    "step": [
        "gradient_checkpointing", "use_reentrant", "optim", "gradient_accumulation_steps", "attn_implementation",
        "mixed_precision",
        "packing", "packing_strategy", "per_device_eval_batch_size", "assistant_only_loss", "excess_length_strategy",
        "chat_template",
        "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "num_train_epochs",
        "max_steps", "seed",
    ],
    "data": list(CONDITIONS),
    "devices": [
        "num_processes", "distributed_type", "offload_optimizer_device", "offload_param_device",
        "fsdp_reshard_after_forward",
        "ddp_gradient_as_bucket_view", "bnb_4bit_quant_storage",
    ],
    "written": ["logging_steps", "eval_steps", "save_steps", "save_total_limit"],
}  # fmt: skip
ADVANCED = FIRST + [name for names in GROUPS.values() for name in names]

_LORA, _SFT, _ARGUMENTS = "PEFT LoraConfig", "TRL SFTConfig", "Transformers TrainingArguments"
SOURCES = {
    "r": "arXiv 2106.09685; Unsloth",
    "lora_alpha": "Unsloth",
    "lora_dropout": "arXiv 2305.14314",
    "target_modules": "arXiv 2305.14314",
    "use_rslora": "arXiv 2312.03732",
    "use_dora": "arXiv 2402.09353",
    "init_lora_weights": "PEFT LoraConfig; arXiv 2404.02948",
    "autocast_adapter_dtype": "PEFT get_peft_model",
    "method": "arXiv 2106.09685, 2305.14314",
    "quantization": "arXiv 2305.14314",
    "bnb_4bit_use_double_quant": "arXiv 2305.14314",
    "dtype": "Transformers from_pretrained",
    "max_length": _SFT,
    "packing": _SFT,
    "packing_strategy": _SFT,
    "assistant_only_loss": _SFT,
    "excess_length_strategy": "Axolotl",
    "chat_template": "TRL chat_templates",
    "trained_share": "TRL SFTTrainer",
    "padded": "Transformers masking_utils",
    "gradient_checkpointing": "arXiv 1604.06174",
    "use_reentrant": "torch.utils.checkpoint",
    "optim": "Transformers OptimizerNames",
    "attn_implementation": "Transformers from_pretrained",
    "mixed_precision": "Accelerate",
    "learning_rate": "arXiv 2305.14314",
    "num_processes": "Accelerate",
    "distributed_type": "Accelerate; arXiv 1910.02054",
    "offload_optimizer_device": "DeepSpeed",
    "offload_param_device": "DeepSpeed",
    "fsdp_reshard_after_forward": "torch fully_shard",
    "ddp_gradient_as_bucket_view": "torch DistributedDataParallel",
    "bnb_4bit_quant_storage": "bitsandbytes",
    "system": "presets/systems.csv",
    "mig": "presets/mig.csv",
    "gpu_memory": "presets/gpus.csv",
} | {name: _LORA for name in GROUPS["adapters"][6:]}


def info(name: str) -> Any:
    """The words under a control, translated by the browser."""
    return gr.i18n.I18nData(f"parameter.{name}")


def sentences(lang: str) -> dict[str, str]:
    """What `info` names, and the head of the folded settings, which counts them."""
    made = {f"parameter.{name}": described(lang, name) for name in INFOS}
    return made | {"parameter.advanced": t(lang, "estimate.advanced", count=len(ADVANCED))}


def described(lang: str, name: str) -> str:
    """Meaning, range, source."""
    source = SOURCES.get(name, "" if name == "model" else _ARGUMENTS)
    beside = " · ".join(filter(None, [_range(lang, INFOS[name]), source]))
    meaning = strings(lang)[f"recipe.{name}_help"]
    return t(lang, "recipe.meaning_beside", meaning=meaning, beside=beside) if beside else meaning


def _range(lang: str, info: FieldInfo) -> str:
    low, high, above = (info.limits.get(key) for key in ("low", "high", "above"))
    if high is None:
        return ""
    number = lambda n: f"{n:,}" if isinstance(n, int) else f"{n:g}"  # noqa: E731
    if above is not None:
        return t(lang, "recipe.above_to", low=number(above), high=number(high))
    return t(lang, "recipe.between", low=number(low), high=number(high))


assert {"model", *BASIC, *ADVANCED} == set(INFOS)
