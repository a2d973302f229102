"""Published runs on several cards as recipes, and what of them is unknown. Printed apart by `make accuracy`."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from estimator import Estimate, Recipe, estimate
from estimator.catalog import presets_dir
from estimator.law import LOOPS, Loop
from estimator.platforms import Platform

# fsdp_qlora's loop: everything bf16, the model's own loss, whose outputs live on in a variable. Transformers of March 2024
# copied the shifted logits. FSDP1 keeps a layer's tensors in one flat buffer; `fsdp` here means FSDP2.
_OLD = {"fused_loss": False, "upcasts": "none", "keeps_outputs": True, "half_adapters": True, "copies_logits": True}
LOOPS.setdefault("fsdp_qlora", Loop("fsdp_qlora", **_OLD))
UNKNOWN = {
    "answerai-": "FSDP1, not 2; reserved includes what loading left, which was whole on each card; which attention kernel and versions",
    "torchtune-021": "its rows' lengths: full rows of 2,048 tokens, kept without checkpointing, would not fit the card; FSDP1: not compared",
    "torchtune-025": "FSDP1 with bitsandbytes' PagedAdamW, which FSDP2 does not run: not compared",
}
# The checkpoint's structure under the id that is a preset.
SAME_STRUCTURE = {"mistralai/Mistral-7B-v0.2 (base)": "mistralai/Mistral-7B-v0.1"}
ALL = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj", "gate_proj")


def rows() -> Iterator[tuple[str, Recipe | None, float, str]]:
    """(id, recipe if it can be said, measured bytes, what is unknown) of each run on more than one card."""
    with (presets_dir() / "measurements" / "published.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            unknown = next((text for name, text in UNKNOWN.items() if line["id"].startswith(name)), None)
            if unknown and int(line["n_gpus"]) > 1:
                yield line["id"], None if "not compared" in unknown else _recipe(line), float(line["measured_gib"]) * 2**30, unknown


def _recipe(line: dict[str, str]) -> Recipe:
    """A run of fsdp_qlora."""
    is_ddp, quantized = "DDP mode" in line["other"], line["method"] == "qlora"
    return Recipe(
        model=SAME_STRUCTURE.get(line["model_hf_id"], line["model_hf_id"]),
        method=line["method"],
        r=int(line["rank"]),
        lora_dropout=0.1,  # its train.py's default
        autocast_adapter_dtype=False,  # PEFT before 0.12 knew no other
        target_modules=ALL,
        per_device_train_batch_size=int(line["micro_batch"]),
        max_length=int(line["seq_len"]),
        gradient_checkpointing=line["grad_checkpointing"].startswith("true"),
        num_processes=int(line["n_gpus"]),
        distributed_type="ddp" if is_ddp else "fsdp",
        offload_param_device="cpu" if "cpu_offload=True" in line["other"] else "none",
        bnb_4bit_quant_storage="bfloat16" if quantized else "uint8",
    )


def answer(recipe: Recipe) -> Estimate:
    return estimate(recipe, loop="fsdp_qlora", platform=Platform(8.6, (2, 2)), derive=True)


def lines() -> Iterator[str]:
    for name, recipe, measured, unknown in rows():
        if recipe is None:
            yield f"  {name}: {measured / 2**30:.2f} GiB a card. {unknown}"
            continue
        made = answer(recipe)
        what = f"{recipe.model.rpartition('/')[2]} {recipe.method} {recipe.distributed_type} x{recipe.num_processes}, {recipe.per_device_train_batch_size} x {recipe.max_length}"
        error = made.peak_reserved_bytes / measured - 1
        yield f"  {name} ({what}): {measured / 2**30:.2f} GiB a card, {error:+.1%} ({made.engine}). Unknown: {unknown}"
