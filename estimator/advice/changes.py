"""What of a recipe may change to take less memory, and what each change costs. No estimate is made here.

A change is an assignment to `Recipe` fields. Its cost is one of five kinds, mildest first; nothing is weighed against
anything else inside a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from estimator.adapters.adapters import trainables
from estimator.core.problems import Problem
from estimator.hardware.cards import Gpu
from estimator.model.catalog import Model
from estimator.recipe.optimizers import optimizer
from estimator.recipe.recipe import Recipe

COSTS = ("none", "time", "precision", "data", "quality", "devices")
"""What a change takes: nothing; time at the same result; rounding of weights or states; long rows; what can be
learned; more devices."""
LENGTH_STEP_TOKENS = 64
"""Lengths are proposed in these steps."""
DEVICE_COUNTS = (2, 3, 4, 6, 8, 16)
"""Cards that machines and clouds come with."""
CUTTING = ("fsdp", "zero3")
"""What cuts a model's weights over the devices there are, the best known first."""
ATTENTION_SETS = (
    (("q_proj", "k_proj", "v_proj", "o_proj"), ("q_proj", "v_proj")),
    (("query_key_value", "dense"), ("query_key_value",)),
    (("qkv_proj", "o_proj"), ("qkv_proj",)),
    (("c_attn", "c_proj"), ("c_attn",)),
)
"""Names of attention projections, all and fewest, as architectures have them."""


@dataclass(frozen=True)
class Change:
    """`values` are fields of a recipe; `kind` names the lever; `cost` is one of COSTS and `note` says it in a
    sentence."""

    kind: str
    values: dict[str, Any]
    cost: str

    @property
    def note(self) -> Problem:
        return self.note_in(lambda field: field)

    def note_in(self, word: Callable[[str], str]) -> Problem:
        """The note with each field called by its `word`."""
        values = ", ".join(f"{word(name)} = {_shown(value)}" for name, value in self.values.items())
        return Problem(f"advice.{self.kind}", values=values)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "values": self.values, "cost": self.cost, "note": str(self.note)}


def _shown(value: object) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else ", ".join(value) if isinstance(value, tuple) else str(value)
    )


def fixed_changes(recipe: Recipe, model: Model, gpu: Gpu | None) -> Iterator[Change]:
    """Changes that are one choice each, strongest of a lever last."""
    if recipe.attn_implementation == "eager":
        yield Change("attention", {"attn_implementation": "sdpa"}, "none")
    if not recipe.gradient_checkpointing:
        yield Change("checkpointing", {"gradient_checkpointing": True}, "time")
    yield from _shared(recipe)
    yield from _optimizers(recipe)
    yield from _stored_weights(recipe, gpu)
    yield from _adapters(recipe, model)


MILDER = {
    "adamw_torch_fused": ("optimizer_fused", "none"),
    "paged_adamw_32bit": ("optimizer_paged", "time"),
    "adamw_bnb_8bit": ("optimizer_8bit", "precision"),
    "paged_adamw_8bit": ("optimizer_8bit", "precision"),
    "adafactor": ("optimizer_adafactor", "quality"),
}
"""What a change to an optimizer is called, and what it costs."""


def _optimizers(recipe: Recipe) -> Iterator[Change]:
    """Fused AdamW computes what AdamW does without its temporary; paging and 8-bit states are bitsandbytes', which, as
    Adafactor, do not go with every way to cut the weights."""
    for name in optimizer(recipe.optim).milder:
        code, cost = MILDER[name]
        if cost == "none" or recipe.num_processes == 1:
            yield Change(code, {"optim": name}, cost)


def _stored_weights(recipe: Recipe, gpu: Gpu | None) -> Iterator[Change]:
    half = "bfloat16" if gpu is None or gpu.bf16_supported is not False else "float16"
    if recipe.dtype == "float32" and not (recipe.method == "full" and half == "float16"):
        yield Change("dtype", {"dtype": half, "mixed_precision": "no"}, "precision")
    if recipe.method == "full":
        yield Change("adapters", {"method": "lora"}, "quality")
        yield Change("adapters", {"method": "qlora"}, "quality")
    if recipe.method == "lora":
        yield Change(
            "quantize", {"method": "qlora", "quantization": "nf4", "bnb_4bit_use_double_quant": True}, "precision"
        )
    if recipe.is_quantized and recipe.quantization == "int8":
        yield Change("quantize", {"quantization": "nf4", "bnb_4bit_use_double_quant": True}, "precision")
    if recipe.is_quantized and not recipe.bnb_4bit_use_double_quant:
        yield Change("double_quantization", {"bnb_4bit_use_double_quant": True}, "precision")


def _adapters(recipe: Recipe, model: Model) -> Iterator[Change]:
    """Fewer tensors that train. Target sets that the model does not have are no change."""
    if not recipe.has_adapters:
        return
    if recipe.use_dora:
        yield Change("plain_lora", {"use_dora": False}, "quality")
    if recipe.lora_dropout:
        yield Change("dropout", {"lora_dropout": 0.0}, "quality")
    if recipe.modules_to_save:
        yield Change("saved_modules", {"modules_to_save": None}, "quality")
    if recipe.target_modules == "all-linear":
        for names in _attention_names(recipe, model):
            yield Change("targets", {"target_modules": names}, "quality")
    elif isinstance(recipe.target_modules, tuple):
        for whole, fewest in ATTENTION_SETS:
            if set(fewest) < set(recipe.target_modules) <= set(whole):
                yield Change("targets", {"target_modules": fewest}, "quality")


def _attention_names(recipe: Recipe, model: Model) -> tuple[tuple[str, ...], ...]:
    for whole, fewest in ATTENTION_SETS:
        try:
            for names in (whole, fewest):
                trainables(recipe.replace(target_modules=names), model.inventory)
        except Problem:
            continue
        return whole, fewest
    return ()


def smaller_batches(recipe: Recipe) -> list[Change]:
    """Fewer rows at once with as many for each optimizer step, most rows first."""
    rows = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    counts = [n for n in range(recipe.per_device_train_batch_size - 1, 0, -1) if rows % n == 0]
    return [
        Change("batch", {"per_device_train_batch_size": n, "gradient_accumulation_steps": rows // n}, "time")
        for n in counts
        if rows // n <= 4096
    ]


def shorter_lengths(recipe: Recipe) -> list[Change]:
    """Shorter rows, longest first."""
    longest = (recipe.max_length - 1) // LENGTH_STEP_TOKENS
    return [Change("length", {"max_length": n * LENGTH_STEP_TOKENS}, "data") for n in range(longest, 0, -1)]


def lower_ranks(recipe: Recipe) -> list[Change]:
    """Half the rank, a quarter, and so on."""
    ranks = [recipe.r >> n for n in range(1, recipe.r.bit_length())] if recipe.has_adapters else []
    return [Change("rank", {"r": rank}, "quality") for rank in ranks]


def more_devices(recipe: Recipe) -> list[Change]:
    """FSDP2 over ever more devices; packed weights are cut only where they are stored in a floating type."""
    return [
        Change("devices", {"num_processes": n, "distributed_type": "fsdp"} | _stored(recipe), "devices")
        for n in DEVICE_COUNTS
        if n > recipe.num_processes
    ]


def _stored(recipe: Recipe) -> dict[str, Any]:
    packed = recipe.is_quantized and recipe.quantization != "int8"
    return {"bnb_4bit_quant_storage": recipe.dtype} if packed else {}


def _shared(recipe: Recipe) -> Iterator[Change]:
    """The devices that there are, each with a part of the weights in place of all of them, by the best known way that
    the recipe takes."""
    if recipe.num_processes == 1:
        return
    for kind in CUTTING:
        values = {"distributed_type": kind} | _stored(recipe)
        try:
            is_other = recipe.replace(**values) != recipe
        except Problem:
            continue
        if is_other and recipe.distributed_type in ("ddp", "zero1", "zero2", kind):
            yield Change(f"shard_{kind}", values, "time")
        return
