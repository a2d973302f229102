"""The recipes of `make gpu-proof`, model by model, in an order that covers every size before the time is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from estimator.model.catalog import TINY_BASE
from estimator.recipe.recipe import Recipe

MODELS: dict[str, str] = {
    "Qwen/Qwen2.5-0.5B": """
        full b1 s512 | full b4 s1024 | full b8 s2048 | full b2 s1024 nockpt | full b2 s2048 eager | full b2 s1024 adam8
        full b2 s1024 adafactor | full b2 s1024 sgd | full b2 s1024 fused | full b4 s1024 eval | full b2 s1024 plain
        full b2 s1024 float32 amp | lora b1 s8192 | lora b8 s512 | lora b4 s2048 nockpt | lora b2 s1024 eager nockpt
        lora b4 s1024 r128 | lora b4 s1024 eval | lora b8 s1024 trainer | lora b2 s1024 accumulate | qlora b4 s1024
        qlora b8 s2048 eval | qlora b2 s1024 eager nockpt | qlora b4 s1024 int8 | dora b4 s1024""",
    "meta-llama/Llama-3.2-1B": """
        full b1 s1024 | full b4 s2048 | full b2 s1024 nockpt | full b2 s1024 lion | full b8 s8192 eager nockpt
        lora b2 s4096 | lora b1 s8192 | lora b2 s2048 nockpt | lora b4 s1024 eager | lora b2 s1024 qv
        lora b4 s1024 plain
        qlora b4 s2048 | qlora b1 s8192 | qlora b2 s1024 fp4 single | qlora b2 s1024 paged8 | dora b2 s2048
        qdora b2 s1024""",
    "meta-llama/Llama-3.1-8B": """
        full b1 s1024 adam8 | full b1 s1024 | lora b1 s2048 | lora b2 s2048 | lora b1 s1024 nockpt | lora b1 s8192
        qlora b2 s2048 | qlora b1 s4096 | qlora b2 s1024 trainer | qlora b2 s1024 eval | dora b1 s1024
        qdora b1 s512""",
    "Qwen/Qwen2.5-14B-Instruct": """
        lora b1 s512 | lora b1 s2048 | lora b2 s1024 eval | lora b1 s1024 nockpt | qlora b1 s2048 | qlora b2 s1024
        qlora b1 s512 plain | dora b1 s512 | full b1 s512 sgd | full b1 s512 adafactor""",
    "Qwen/Qwen3-1.7B": """
        full b2 s1024 | full b1 s4096 adam8 | full b2 s1024 adafactor eval | lora b4 s1024 | lora b2 s2048 nockpt
        lora b1 s4096 eager | qlora b2 s4096 | qlora b4 s1024 nockpt | qlora b8 s1024 eval | dora b2 s1024 nockpt""",
    "meta-llama/Llama-3.2-3B": """
        full b1 s1024 | full b2 s2048 adam8 | lora b2 s2048 | lora b4 s1024 nockpt | lora b1 s8192
        lora b2 s1024 qv plain
        qlora b2 s2048 | qlora b8 s512 | qlora b2 s1024 eager nockpt | dora b2 s1024""",
    "google/gemma-2-2b": "lora b2 s1024 eager | lora b2 s2048 | qlora b2 s1024 nockpt | full b1 s1024 adafactor",
    "mistralai/Mistral-7B-v0.3": "lora b4 s1024 | lora b1 s4096 eager | qlora b1 s512 | qlora b4 s1024 plain",
}
"""Rows apart by `|` or a line's end, in words of `WORDS`, `b` rows, `s` tokens, `r` rank. Loop and evaluation are
`LOOP_WORDS` and `eval`. One is meant to run out of memory on any card: eager attention over 8 x 8192 tokens keeps
terabytes of scores."""

DRY_RUN = {
    TINY_BASE: """full b2 s32 float32 | lora b2 s32 float32 eval | qlora b1 s32 float32 plain
        qdora b2 s16 float32 nockpt | lora b1 s32 float32 eager trainer"""
}
"""The same path with a model that a CPU trains."""

WORDS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "lora": {"method": "lora"},
    "qlora": {"method": "qlora"},
    "dora": {"method": "lora", "use_dora": True},
    "qdora": {"method": "qlora", "use_dora": True},
    "int8": {"quantization": "int8"},
    "fp4": {"quantization": "fp4"},
    "single": {"bnb_4bit_use_double_quant": False},
    "qv": {"target_modules": ("q_proj", "v_proj")},
    "nockpt": {"gradient_checkpointing": False},
    "eager": {"attn_implementation": "eager"},
    "float32": {"dtype": "float32"},
    "amp": {"mixed_precision": "bf16"},
    "accumulate": {"gradient_accumulation_steps": 2},
    "eval": {"eval_steps": 1},
    "fused": {"optim": "adamw_torch_fused"},
    "adam8": {"optim": "adamw_bnb_8bit"},
    "paged8": {"optim": "paged_adamw_8bit"},
    "adafactor": {"optim": "adafactor"},
    "sgd": {"optim": "sgd"},
    "lion": {"optim": "lion_32bit"},
}
LOOP_WORDS = ("trainer", "plain")
SIZES = {"b": "per_device_train_batch_size", "s": "max_length", "r": "r"}
VARIED = tuple(dict.fromkeys(["model", *(name for word in WORDS.values() for name in word), *SIZES.values()]))
"""Fields of `Recipe` that the sweep varies: the columns of its table; all others stand at their default."""


@dataclass(frozen=True)
class SweepRow:
    """One run to make. `id` is the model's short name and the words of the row."""

    id: str
    recipe: Recipe
    loop: str


def sweep_rows(models: dict[str, str] = MODELS) -> list[SweepRow]:
    lines = {
        model: [line for block in text.splitlines() for line in block.split("|") if line.strip()]
        for model, text in models.items()
    }
    return [_row(model, line.split()) for model, rows in lines.items() for line in rows]


def _row(model: str, words: list[str]) -> SweepRow:
    """Raises KeyError for a word that means nothing."""
    fields: dict[str, Any] = {"model": model, "eval_steps": 0}
    for word in words:
        if word[1:].isdigit() and word not in WORDS:
            fields[SIZES[word[0]]] = int(word[1:])
        elif word not in LOOP_WORDS:
            fields |= WORDS[word]
    loop = next((word for word in words if word in LOOP_WORDS), "trl")
    return SweepRow("-".join([model.rpartition("/")[2].lower(), *words]), Recipe(**fields), loop)
