"""Published runs on several cards as recipes, and what of them is unknown. Printed apart by `make accuracy`."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from estimator import Estimate, Recipe, estimate
from estimator.cost.throughput import Range, Spread, load_of, throughput_of_several
from estimator.estimates.parts import Parts, parts_of
from estimator.hardware.cards import find_gpu
from estimator.hardware.platforms import Platform
from estimator.law.question import Question
from estimator.make.efficiency import traced_parts
from estimator.model.catalog import load_preset, presets_dir
from estimator.parallel import parallel
from estimator.recipe.loop import LOOPS, Loop
from tests.estimator import fsdp1

# fsdp_qlora's loop: everything bf16, the model's own loss, whose outputs live on in a variable. Transformers of March
# 2024 copied the shifted logits. Its FSDP1 is replayed by `tests.estimator.fsdp1`; the estimator's `fsdp` is FSDP2.
_OLD = {
    "fused_loss": False,
    "upcasts": "none",
    "keeps_outputs": True,
    "half_adapters": True,
    "copies_logits": True,
    "ends_with_step": True,
}
LOOPS.setdefault("fsdp_qlora", Loop("fsdp_qlora", **_OLD))
UNKNOWN = {
    "answerai-": "versions, of which the attention kernel and its mask depend",
    "torchtune-021": "its rows' lengths: full rows of 2,048 tokens, kept without checkpointing, would not fit the "
    "card; FSDP1: not compared",
    "torchtune-025": "FSDP1 with bitsandbytes' PagedAdamW, which FSDP2 does not run: not compared",
}
# The checkpoint's structure under the id that is a preset.
SAME_STRUCTURE = {"mistralai/Mistral-7B-v0.2 (base)": "mistralai/Mistral-7B-v0.1"}
PLATFORM = Platform(8.6, (2, 2))
ALL = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj", "gate_proj")


def _run(model: str, method: str, rank: int, batch: int, length: int) -> Recipe:
    """One process of its train.py, which quantizes without double quantization and adds dropout by default."""
    return Recipe(
        model=model,
        method=method,
        r=rank,
        lora_dropout=0.1,
        autocast_adapter_dtype=False,  # PEFT before 0.12 knew no other
        bnb_4bit_use_double_quant=False,
        target_modules=ALL,
        per_device_train_batch_size=batch,
        max_length=length,
    )


class Timed(NamedTuple):
    """Seconds of 1,024 rows on several cards under FSDP, full shard, without offload."""

    gpu: str
    devices: int
    model: str
    method: str
    batch: int
    length: int
    seconds: int


_7B, _70B = "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-70b-hf"
TIMED_ROWS = 1024
TIMED = (
    Timed("GeForce RTX 3090", 2, _7B, "qlora", 1, 512, 1082),
    Timed("GeForce RTX 3090", 2, _7B, "qlora", 1, 2048, 1564),
    Timed("GeForce RTX 3090", 2, _7B, "lora", 1, 512, 2597),
    Timed("GeForce RTX 3090", 2, _7B, "lora", 1, 2048, 3090),
    Timed("GeForce RTX 3090", 2, _7B, "qlora", 4, 2048, 998),
    Timed("GeForce RTX 3090", 2, _7B, "qlora", 10, 2048, 936),
    Timed("GeForce RTX 3090", 2, _7B, "lora", 4, 2048, 1366),
    Timed("GeForce RTX 3090", 2, _7B, "lora", 6, 2048, 1199),
    Timed("GeForce RTX 4090", 2, _7B, "lora", 6, 2048, 481),
    Timed("GeForce RTX 4090", 2, _7B, "qlora", 10, 2048, 466),
    Timed("RTX A5000", 4, _70B, "qlora", 1, 2048, 4829),
    Timed("RTX A5000", 8, _70B, "qlora", 1, 2048, 2613),
    Timed("RTX 6000 Ada", 2, _70B, "qlora", 2, 2048, 5867),
    Timed("RTX 6000 Ada", 4, _70B, "qlora", 3, 2048, 2904),
    Timed("A100 SXM4 40GB", 2, _70B, "qlora", 1, 2048, 3277),
    Timed("A100 SXM4 40GB", 4, _70B, "qlora", 4, 2048, 1266),
    Timed("A100 SXM4 40GB", 8, _70B, "qlora", 4, 2048, 672),
    Timed("H100 SXM5 80GB", 4, _70B, "qlora", 8, 2048, 667),
)
"""https://github.com/AnswerDotAI/fsdp_qlora/blob/main/benchmarks_03_2024.md"""


def rows() -> Iterator[tuple[str, str, Recipe | None, float, str]]:
    """(id, card, recipe if it can be said, measured bytes, what is unknown) of each run on more than one card."""
    with (presets_dir() / "measurements" / "published.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            unknown = next((text for name, text in UNKNOWN.items() if line["id"].startswith(name)), None)
            if unknown and int(line["n_gpus"]) > 1:
                yield (
                    line["id"],
                    line["gpu"],
                    None if "not compared" in unknown else _recipe(line),
                    float(line["measured_gib"]) * 2**30,
                    unknown,
                )


def _recipe(line: dict[str, str]) -> Recipe:
    """A run of fsdp_qlora."""
    is_ddp, quantized = "DDP mode" in line["other"], line["method"] == "qlora"
    model, batch, length = (
        SAME_STRUCTURE.get(line["model_hf_id"], line["model_hf_id"]),
        int(line["micro_batch"]),
        int(line["seq_len"]),
    )
    return _run(model, line["method"], int(line["rank"]), batch, length).replace(
        gradient_checkpointing=line["grad_checkpointing"].startswith("true"),
        num_processes=int(line["n_gpus"]),
        distributed_type="ddp" if is_ddp else "fsdp",
        offload_param_device="cpu" if "cpu_offload=True" in line["other"] else "none",
        bnb_4bit_quant_storage="bfloat16" if quantized else "uint8",
    )


def seconds(line: Timed) -> Range:
    """What the estimate says of a timed run."""
    gpu = find_gpu(line.gpu)
    one = _run(line.model, line.method, 64, line.batch, line.length)
    stored = {"bnb_4bit_quant_storage": "bfloat16"} if one.is_quantized else {}
    spread = one.replace(num_processes=line.devices, distributed_type="fsdp", **stored)
    sharded = parallel.shard(spread, _traced(one, Platform.of(gpu)), "fsdp_qlora")
    load = load_of(one, _traced(one, Platform.of(gpu)))
    load = replace(load, step_bytes=sharded.gradient_share * load.step_bytes)
    sent = sum(sharded.plan.communication_bytes_per_step.values())
    made = throughput_of_several(Spread(line.devices, load, sent), gpu)
    return made.seconds_per_step.scaled(math.ceil(TIMED_ROWS / (line.devices * line.batch)))


_LAWS: dict[Any, Parts] = {}


def _traced(recipe: Recipe, platform: Platform) -> Parts:
    key = recipe.model, recipe.method, recipe.per_device_train_batch_size == 1
    _LAWS[key] = _LAWS.get(key) or traced_parts(recipe, LOOPS["fsdp_qlora"], platform)
    return replace(parts_of(Question(recipe, load_preset(recipe.model), platform=platform)), law=_LAWS[key].law)


def answer(recipe: Recipe) -> Estimate:
    return estimate(recipe, loop="fsdp_qlora", platform=PLATFORM, derive=True)


def lines() -> Iterator[str]:
    for name, gpu, recipe, measured, unknown in rows():
        if recipe is None:
            yield f"  {name}: {measured / 2**30:.2f} GiB a card. {unknown}"
            continue
        made = answer(recipe)
        old = fsdp1.replayed(
            recipe, load_preset(recipe.model), LOOPS["fsdp_qlora"], PLATFORM, find_gpu(gpu).usable_bytes().bytes
        )
        rows_of = f"{recipe.per_device_train_batch_size} x {recipe.max_length}"
        devices = f"{recipe.distributed_type} x{recipe.num_processes}"
        what = f"{recipe.model.rpartition('/')[2]} {recipe.method} {devices}, {rows_of}"
        errors = [reserved / measured - 1 for reserved in (old.peak_reserved_bytes, made.peak_reserved_bytes)]
        found = f"{errors[0]:+.1%} replayed as FSDP1, {errors[1]:+.1%} by the law of {recipe.distributed_type}"
        yield f"  {name} ({what}): {measured / 2**30:.2f} GiB a card, {found}. Unknown: {unknown}"


def time_lines() -> Iterator[str]:
    for line in TIMED:
        made = seconds(line)
        what = (
            f"{line.gpu} x{line.devices}, {line.model.rpartition('/')[2]} {line.method}, {line.batch} x {line.length}"
        )
        where = "inside" if made.low <= line.seconds <= made.high else "OUTSIDE"
        off, reach = made.central / line.seconds - 1, f"{made.low:,.0f} to {made.high:,.0f}"
        yield f"  {what}: {line.seconds:,} s, {off:+.0%} ({reach}: {where})"
