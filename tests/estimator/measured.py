"""Published measurements as recipes: `python -m tests.estimator.measured` prints each row beside the estimate."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from estimator import Estimate, Recipe, estimate
from estimator.catalog import presets_dir
from estimator.law import LOOPS, Loop

# Rows that say enough of what they ran, and ran it with code that still exists.
SERIES = ("fitcheck-t4-", "canifinetune-", "fms-")
# Kernels of their own (fused cross entropy and rope), which no loop here has.
OTHER_KERNELS = "foak"
# The checkpoint's structure under the id that is a preset.
SAME_STRUCTURE = {f"Qwen/Qwen2.5-{size}-Instruct": f"Qwen/Qwen2.5-{size}" for size in ("0.5B", "1.5B", "3B")}
# A hand-written loop as fms-acceleration runs QLoRA: the frozen 16-bit weights are not upcast.
LOOPS.setdefault("plain-16", Loop("plain-16", fused_loss=False, upcasts="none", keeps_outputs=True, half_adapters=False))


@dataclass(frozen=True)
class Row:
    """One published run. `measured_bytes` is torch's peak allocated."""

    id: str
    recipe: Recipe
    loop: str
    measured_bytes: float

    def estimate(self) -> Estimate:
        return estimate(self.recipe, loop=self.loop)

    @property
    def error(self) -> float:
        return self.estimate().peak_allocated_bytes / self.measured_bytes - 1


def rows() -> list[Row]:
    with (presets_dir() / "measurements" / "published.csv").open(encoding="utf-8", newline="") as file:
        return [_row(line) for line in csv.DictReader(file) if line["id"].startswith(SERIES) and OTHER_KERNELS not in line["other"]]


def _row(line: dict[str, str]) -> Row:
    fields = {
        "model": SAME_STRUCTURE.get(line["model_hf_id"], line["model_hf_id"]),
        "method": line["method"],
        "dtype": "float16" if line["dtype"].startswith("fp16") else "bfloat16",
        "per_device_train_batch_size": int(line["micro_batch"]),
        "max_length": int(re.match(r"\d+", line["seq_len"])[0]),
        "gradient_checkpointing": line["grad_checkpointing"].startswith("true"),
        "attn_implementation": next(n for n in ("sdpa", "eager", "flash_attention_2") if line["attention_impl"].startswith(n)),
        "optim": "paged_adamw_8bit" if line["optimizer"] == "paged_adamw_8bit" else "adamw_torch",
    }
    if line["method"] != "full":
        targets = tuple(name for name in re.split(r"[ ,]+", line["target_modules"].partition(" (")[0]) if name)
        fields |= {"r": int(line["rank"]), "target_modules": targets, "lora_dropout": 0.1 if "dropout=0.1" in line["other"] else 0.0}
    if line["method"] == "qlora":
        fields["bnb_4bit_use_double_quant"] = "double" in line["quant"] and "no double" not in line["quant"]
    loop = "plain-16" if "no fp32 upcast" in line["quant"] else "plain"
    return Row(line["id"], Recipe(**fields), loop, float(line["measured_gib"]) * 2**30)


def main() -> None:
    errors = []
    for row in rows():
        made, error = row.estimate(), row.error
        errors.append(abs(error))
        r = row.recipe
        print(f"{row.id:18} {r.model.rpartition('/')[2]:26} {r.method:5} {r.attn_implementation:18} B{r.per_device_train_batch_size} S{r.max_length:<5} {row.measured_bytes / 2**30:8.3f} GiB {100 * error:+6.2f} %  {made.peak_moment}")
    errors.sort()
    print(f"{len(errors)} rows: median {100 * errors[len(errors) // 2]:.2f} %, 90 % within {100 * errors[int(0.9 * len(errors))]:.1f} %, worst {100 * errors[-1]:.1f} %")


if __name__ == "__main__":
    main()
