"""fitcheck-llm, through its Python API: `fetch_model_config` asks the hub, `estimate` is arithmetic.

Its five tensor terms are compared with peak allocated memory, as its own accuracy table does; `overhead_mib` (context
and allocator) is left out. The options are those a reader of its documentation would choose: SDPA is its flash-like
path, and AdamW keeps its states in the weights' dtype where all weights train. Dropout and a frozen base that is not
upcast are not among its options.
"""

from __future__ import annotations

import functools

from fitcheck import TrainingConfig, estimate, fetch_model_config, get_gpu

from tests.estimator.peers.asking import DoesNotSay, Row, answer

TERMS = ("weight_mib", "lora_mib", "optimizer_mib", "gradient_mib", "activation_mib")
PRECISIONS = {"float16": "fp16", "bfloat16": "bf16"}
OPTIMIZERS = {"adamw_torch": "adamw", "paged_adamw_8bit": "adam8bit"}

read = functools.cache(fetch_model_config)


def ask(row: Row) -> float:
    is_full = row["method"] == "full"
    training = TrainingConfig(
        precision=PRECISIONS[row["dtype"]],
        quantization="nf4" if row["method"] == "qlora" else "none",
        double_quant=row["method"] == "qlora" and row["bnb_4bit_use_double_quant"],
        optimizer=OPTIMIZERS[row["optim"]],
        optimizer_dtype=PRECISIONS[row["dtype"]] if is_full else "fp32",
        batch_size=row["per_device_train_batch_size"],
        seq_len=row["max_length"],
        lora_rank=None if is_full else row["r"],
        lora_targets=[] if is_full else row["target_modules"],
        grad_checkpoint=row["gradient_checkpointing"],
        flash_attn=row["attn_implementation"] != "eager",
    )
    try:
        # The card decides over verdict and overhead alone; on a small one the search for the largest batch is short.
        report = estimate(read(row["model"]), training, get_gpu("t4"))
    except ValueError as refusal:
        raise DoesNotSay(str(refusal)) from refusal
    return sum(getattr(report, term) for term in TERMS) * 2**20


if __name__ == "__main__":
    answer("fitcheck-llm", ask, depends_on=lambda row: row["id"])
