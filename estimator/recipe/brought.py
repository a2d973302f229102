"""Recipes that other tools write, in this program's fields: LLaMA-Factory's and Axolotl's YAML or JSON, and the names
that Unsloth's scripts use.

Sources: LLaMA-Factory 0.9 (src/llamafactory/hparams, model/adapter.py, model/model_utils), Unsloth's
`FastLanguageModel` and its command line. What is left out stands at the other tool's default, not at ours. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from estimator.core.field_text import number_or_text
from estimator.core.fields import shown
from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS

LLAMA_FACTORY, UNSLOTH, AXOLOTL = "LLaMA-Factory", "Unsloth", "Axolotl"
_SAME = (
    "lora_alpha", "lora_dropout", "use_dora", "use_rslora", "per_device_train_batch_size", "per_device_eval_batch_size",
    "gradient_accumulation_steps", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay",
    "max_grad_norm",
    "num_train_epochs", "max_steps", "optim", "seed", "logging_steps", "eval_steps", "save_steps", "save_total_limit",
    "packing",
)  # fmt: skip
"""Fields of the same name and meaning."""
_FACTORY = {
    "model_name_or_path": "model", "lora_rank": "r", "cutoff_len": "max_length", "warmup_ratio": "warmup_steps",
    "double_quantization": "bnb_4bit_use_double_quant", "additional_target": "modules_to_save",
}  # fmt: skip
_FACTORY_DEFAULTS = {
    "r": 8, "max_length": 2048, "per_device_train_batch_size": 8, "learning_rate": 5e-5, "logging_steps": 500,
    "save_steps": 500,
    "use_reentrant": True, "target_modules": "all-linear",
}  # fmt: skip
_UNSLOTH = {
    "model_name": "model", "max_seq_length": "max_length", "random_state": "seed", "r": "r", "lora_r": "r",
    "bias": "bias",
    "target_modules": "target_modules", "warmup_ratio": "warmup_steps", "modules_to_save": "modules_to_save",
}  # fmt: skip
_UNSLOTH_DEFAULTS = {
    "r": 16, "lora_alpha": 16, "max_length": 2048,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}  # fmt: skip
_AXOLOTL = {
    "base_model": "model", "sequence_len": "max_length", "micro_batch_size": "per_device_train_batch_size",
    "num_epochs": "num_train_epochs",
    "eval_batch_size": "per_device_eval_batch_size", "lora_r": "r", "optimizer": "optim", "lr_scheduler":
    "lr_scheduler_type",
    "warmup_ratio": "warmup_steps", "sample_packing": "packing", "lora_modules_to_save": "modules_to_save",
    "peft_use_dora": "use_dora",
    "peft_use_rslora": "use_rslora", "excess_length_strategy": "excess_length_strategy",
}  # fmt: skip
_AXOLOTL_DEFAULTS = {
    "r": 8, "lora_alpha": 16, "max_length": 512, "per_device_train_batch_size": 1, "num_train_epochs": 1, "optim":
    "adamw_torch_fused",
    "lr_scheduler_type": "cosine", "gradient_checkpointing": False, "use_reentrant": True,
}  # fmt: skip
FOREIGN_NAMES = _FACTORY | _UNSLOTH | _AXOLOTL
"""Other tools' words for our fields."""
_ATTENTION = {"fa2": "flash_attention_2", "sdpa": "sdpa", "disabled": "eager", "auto": "sdpa"}


@dataclass(frozen=True)
class Brought:
    """A foreign recipe in our fields, and the settings of it that say nothing here."""

    tool: str
    fields: dict[str, Any]
    unused: tuple[str, ...]
    uncounted: tuple[Problem, ...] = ()
    """What of it changes the memory or says how many devices there are, and is not counted."""

    def note(self, path: str) -> Problem:
        unused = ", ".join(self.unused) or "-"
        return Problem(
            "recipe.brought", field="recipe", value=path, tool=self.tool, fields=len(self.fields), unused=unused
        )


def brought(found: dict[str, Any]) -> Brought | None:
    """What another tool's file says, or None where it is one of ours. Raises `Problem` (`recipe.choice`) for what is
    not trained here."""
    if {"base_model", "micro_batch_size", "sequence_len"} & found.keys():
        return _read(AXOLOTL, found, _AXOLOTL, _AXOLOTL_DEFAULTS, _axolotl)
    if {"model_name_or_path", "finetuning_type"} & found.keys():
        return _read(LLAMA_FACTORY, found, _FACTORY, _FACTORY_DEFAULTS, _factory)
    if {"model_name", "max_seq_length", "load_in_4bit"} & found.keys():
        return _read(UNSLOTH, found, _UNSLOTH, _UNSLOTH_DEFAULTS, _unsloth)
    return None


def _read(
    tool: str,
    found: dict[str, Any],
    names: dict[str, str],
    defaults: dict[str, Any],
    rest: Callable[[dict[str, Any]], tuple[dict[str, Any], set[str]]],
) -> Brought:
    names = {name: name for name in _SAME} | names
    # nothing said is nothing said: null in YAML
    stated = {
        names[key]: _number(names[key], value) for key, value in found.items() if key in names and value is not None
    }
    more, read = rest(found)
    if tool == LLAMA_FACTORY and "lora_alpha" not in stated:
        stated["lora_alpha"] = 2 * stated["r"] if isinstance(stated.get("r"), int) else 2 * defaults["r"]
    unused = tuple(key for key in found if key not in names and key not in read)
    return Brought(tool, {**defaults, **stated, **more}, unused, tuple(_uncounted(found)))


def _uncounted(found: dict[str, Any]) -> Iterator[Problem]:
    """Settings that take more or less memory than what is counted, each with what it does and what to give instead."""
    for key, code in _EFFECTS.items():
        value = found.get(key)
        if value and (code != "offloads" or value in ("unsloth", "offload")):
            kind = _zero_of(str(value)) if code == "deepspeed" else "fsdp"
            yield Problem(f"recipe.uncounted_{code}", field=key, value=shown(value), kind=kind)


_EFFECTS = {
    "deepspeed": "deepspeed", "fsdp": "fsdp", "fsdp_config": "fsdp", "use_gradient_checkpointing": "offloads",
    "gradient_checkpointing": "offloads", "use_unsloth": "unsloth", "use_unsloth_gc": "unsloth_gc",
    "enable_liger_kernel": "liger",
    "use_liger_kernel": "liger", "liger_fused_linear_cross_entropy": "liger", "use_galore": "optimizer",
    "use_badam": "optimizer",
    "use_apollo": "optimizer", "cut_cross_entropy": "liger", "unsloth_lora_mlp": "unsloth",
}  # fmt: skip
"""Settings by what they do; each code is a sentence, `recipe.uncounted_*`."""


def _zero_of(value: str) -> str:
    """The stage that the name of a DeepSpeed file says: `ds_z3_config.json`, `zero2.json`; ZeRO-3 where it says
    none."""
    stage = re.search(r"z(?:ero)?[_-]?(?:stage)?[_-]?([123])", value.lower())
    return f"zero{stage[1]}" if stage else "zero3"


def _number(field: str, value: object) -> Any:
    """YAML reads `1e-4` as text; a list may be written with commas."""
    kinds = FIELDS[field].kinds
    if isinstance(value, str) and {int, float} & set(kinds):
        return number_or_text(value)
    if field in ("modules_to_save",) and isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value


def _factory(found: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """What takes more than another name."""
    for key, allowed in (("stage", ("sft", "pt")), ("finetuning_type", ("lora", "full"))):
        _check(found, key, allowed)
    full = found.get("finetuning_type", "lora") == "full"
    bits = found.get("quantization_bit")
    made: dict[str, Any] = {"method": "full" if full else "qlora" if bits else "lora"}
    if bits:
        _check(found, "quantization_bit", (4, 8))
        _check(found, "quantization_method", ("bnb", "bitsandbytes"))
        made["quantization"] = "int8" if bits == 8 else found.get("quantization_type", "nf4")
    target = found.get("lora_target", "all")
    if not full:
        parts = target if isinstance(target, list) else [part.strip() for part in str(target).split(",")]
        made["target_modules"] = "all-linear" if parts == ["all"] else parts
    if found.get("pissa_init"):
        made["init_lora_weights"] = "pissa"
    made |= _precision(found, full)
    made["attn_implementation"] = _ATTENTION.get(str(found.get("flash_attn", "auto")), "sdpa")
    made["gradient_checkpointing"] = not found.get("disable_gradient_checkpointing", False)
    if found.get("stage") == "pt":
        made["assistant_only_loss"] = False
    made["loop"] = "trainer-no-upcast"
    read = {
        "stage", "finetuning_type", "quantization_bit", "quantization_method", "quantization_type", "lora_target",
        "pissa_init", "bf16",
        "fp16", "pure_bf16", "flash_attn", "disable_gradient_checkpointing",
    }  # fmt: skip
    return made, read


def _precision(found: dict[str, Any], full: bool) -> dict[str, Any]:
    """Weights in the type of the compute, those that train in fp32 under autocast (`_setup_full_tuning`), unless
    `pure_bf16`."""
    if found.get("pure_bf16"):
        return {"dtype": "bfloat16"}
    for flag, dtype in (("bf16", "bfloat16"), ("fp16", "float16")):
        if found.get(flag):
            return {"dtype": "float32" if full else dtype, "mixed_precision": flag}
    return {"dtype": "float32"}


def _unsloth(found: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    four, eight = found.get("load_in_4bit", True), found.get("load_in_8bit", False)
    made: dict[str, Any] = {"method": "full" if found.get("full_finetuning") else "qlora" if four or eight else "lora"}
    if made["method"] == "qlora":
        made["quantization"] = "int8" if eight else "nf4"
    if "use_gradient_checkpointing" in found:
        made["gradient_checkpointing"] = bool(found["use_gradient_checkpointing"])
    return made, {"load_in_4bit", "load_in_8bit", "full_finetuning", "use_gradient_checkpointing"}


def _axolotl(found: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Adapters on packed weights where the base is loaded so (`load_in_4bit`, `load_in_8bit`); none is a full fine-
    tune."""
    _check(found, "adapter", ("lora", "qlora"))
    _check(found, "rl", ("none",))
    adapter, four, eight = found.get("adapter"), found.get("load_in_4bit"), found.get("load_in_8bit")
    packed = adapter and (adapter == "qlora" or four or eight)
    made: dict[str, Any] = {"method": "qlora" if packed else "lora" if adapter else "full"}
    if packed:
        made["quantization"] = "int8" if eight and adapter == "lora" else "nf4"
    if adapter:
        made["target_modules"] = "all-linear" if found.get("lora_target_linear") else found.get("lora_target_modules")
    half = "float16" if found.get("fp16") or found.get("float16") else "bfloat16"
    whole = found.get("bf16") is False and half == "bfloat16"
    made |= {"dtype": "float32" if whole else half, "mixed_precision": "no" if whole else _AUTOCAST[half]}
    attention = "eager" if found.get("eager_attention") else found.get("attn_implementation") or "sdpa"
    made["attn_implementation"] = "flash_attention_2" if found.get("flash_attention") else attention
    if "gradient_checkpointing" in found:
        made["gradient_checkpointing"] = bool(found["gradient_checkpointing"])
    if found.get("train_on_inputs"):
        made["assistant_only_loss"] = False
    made["loop"] = "trainer-no-upcast"
    read = {
        "adapter", "load_in_4bit", "load_in_8bit", "lora_target_linear", "lora_target_modules", "bf16", "fp16",
        "float16", "bfloat16",
        "flash_attention", "sdp_attention", "eager_attention", "attn_implementation", "gradient_checkpointing",
        "train_on_inputs",
    }  # fmt: skip
    return made, read


_AUTOCAST = {"bfloat16": "bf16", "float16": "fp16"}


def _check(found: dict[str, Any], key: str, allowed: tuple[Any, ...]) -> None:
    if found.get(key) is not None and found[key] not in allowed:
        raise Problem("recipe.choice", field=key, value=shown(found[key]), allowed=", ".join(map(str, allowed)))
