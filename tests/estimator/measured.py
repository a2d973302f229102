"""Published measurements as recipes, with the loop and the kernels of the program that was measured."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace

from estimator import Estimate, Recipe, estimate
from estimator.hardware.platforms import Platform
from estimator.model.catalog import presets_dir
from estimator.recipe.loop import LOOPS, Loop

# Rows that say enough of what they ran, and ran it with code that still exists.
SERIES = ("fitcheck-t4-", "canifinetune-", "fms-")
# Kernels of their own (fused cross entropy and rope), which no loop here has.
OTHER_KERNELS = "foak"
# The checkpoint's structure under the id that is a preset.
SAME_STRUCTURE = {f"Qwen/Qwen2.5-{size}-Instruct": f"Qwen/Qwen2.5-{size}" for size in ("0.5B", "1.5B", "3B")} | {
    "Qwen/Qwen2.5-Coder-1.5B-Instruct": "Qwen/Qwen2.5-1.5B",
    "meta-llama/Llama-3.2-1B-Instruct": "meta-llama/Llama-3.2-1B",
}
# The programs that were measured, as far as their sources or their own figures tell:
# fitcheck's step is a function; canifinetune's is not. fms-acceleration ran TRL 0.13 on Transformers 4.48, whose loss
# copied the logits; its QLoRA under bf16 autocast, with the norms upcast or (the "accelerated" plugin) nothing: both
# rows keep the same 4.011 GiB after training, so head and embeddings were not.
_OLD = {"fused_loss": False, "keeps_outputs": False, "half_adapters": False, "copies_logits": True}
# PEFT 0.19.1 did not empty the cache after the upcast yet (pull request 3293). Transformers 5.0 (fitcheck's later rows
# say it) reads ahead with min(4, cores) threads, and Kaggle's machine with a T4 has four cores. fitcheck's rows 001 to
# 040 are recorded as Transformers 5.17 and PEFT 0.20, which load one by one and empty the cache. Their own figures say
# otherwise: of runs that differ in attention alone they hold after loading 1,070.1 to 1,077.6 MiB (TinyLlama, six
# runs), 388.2 and 381.6 (SmolLM2-360M), which one by one cannot be; and the four of SmolLM2-135M reserve to the MiB
# what threads and a kept cache do.
_KEPT = replace(LOOPS["plain"], empties_cache=False)
LOOPS.setdefault("canifinetune", replace(_KEPT, name="canifinetune"))
LOOPS.setdefault("fitcheck", replace(_KEPT, name="fitcheck", ends_with_step=True, reads_ahead=4))
LOOPS.setdefault("trl-0.13", Loop("trl-0.13", upcasts="norms", **_OLD))
LOOPS.setdefault("trl-0.13-16", Loop("trl-0.13-16", upcasts="none", **_OLD))
PLATFORMS = {
    "fitcheck-t4-": Platform(7.5, (2, 14)),
    "canifinetune-": Platform(8.9, (2, 6), has_flash=False),  # Windows
    "fms-": Platform(8.0, (2, 4)),
}


@dataclass(frozen=True)
class Row:
    """One published run: torch's peak allocated, and its peak reserved where it was published."""

    id: str
    recipe: Recipe
    loop: str
    platform: Platform
    measured_bytes: float
    reserved_bytes: float | None

    def estimate(self, engine: str = "law") -> Estimate:
        return estimate(self.recipe, loop=self.loop, platform=self.platform, engine=engine, derive=True)


def rows() -> list[Row]:
    with (presets_dir() / "measurements" / "published.csv").open(encoding="utf-8", newline="") as file:
        return [
            _row(line)
            for line in csv.DictReader(file)
            if line["id"].startswith(SERIES) and OTHER_KERNELS not in line["other"]
        ]


def _row(line: dict[str, str]) -> Row:
    fields = {
        "model": SAME_STRUCTURE.get(line["model_hf_id"], line["model_hf_id"]),
        "method": line["method"],
        "dtype": "float16" if line["dtype"].startswith("fp16") else "bfloat16",
        "per_device_train_batch_size": int(line["micro_batch"]),
        "max_length": int(re.match(r"\d+", line["seq_len"])[0]),
        "gradient_checkpointing": line["grad_checkpointing"].startswith("true"),
        "attn_implementation": next(
            n for n in ("sdpa", "eager", "flash_attention_2") if line["attention_impl"].startswith(n)
        ),
        "optim": "paged_adamw_8bit" if line["optimizer"] == "paged_adamw_8bit" else "adamw_torch",
    }
    if line["method"] != "full":
        targets = tuple(name for name in re.split(r"[ ,]+", line["target_modules"].partition(" (")[0]) if name)
        fields |= {
            "r": int(line["rank"]),
            "target_modules": targets,
            "lora_dropout": 0.1 if "dropout=0.1" in line["other"] else 0.0,
        }
    if line["method"] == "qlora":
        fields["bnb_4bit_use_double_quant"] = "double" in line["quant"] and "no double" not in line["quant"]
    series = next(name for name in SERIES if line["id"].startswith(name))
    loop = {"fitcheck-t4-": "fitcheck", "canifinetune-": "canifinetune"}.get(series) or (
        "trl-0.13-16" if "no fp32 upcast" in line["quant"] else "trl-0.13"
    )
    if "AMP" in line["dtype"]:
        fields["mixed_precision"] = "bf16"
    return Row(
        line["id"],
        Recipe(**fields),
        loop,
        PLATFORMS[series],
        float(line["measured_gib"]) * 2**30,
        _reserved(line["notes"]),
    )


def _reserved(notes: str) -> float | None:
    """`peak RESERVED 4.3574` is in GiB, `peak RESERVED 8164 MiB` is not."""
    found = re.search(r"peak RESERVED ([\d.]+)( MiB)?", notes)
    return float(found[1]) * (2**20 if found[2] else 2**30) if found else None
