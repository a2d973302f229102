"""Which traced law answers a recipe: one that ships with the presets, one derived earlier, or one derived now.

A law holds for a structure: everything of a recipe and a model that changes which tensors a step makes, and nothing of
batch, length and rank. Only `derive` imports torch.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from dataclasses import replace
from typing import Any

from estimator.core.same import Same
from estimator.hardware.platforms import Platform
from estimator.law.law import FORMAT, TRL_TILE_TOKENS, Law
from estimator.law.question import Question
from estimator.law.untraced import no_config, untraced
from estimator.model.catalog import Model, models, presets_dir
from estimator.recipe.batches import Batches, is_flat, shape
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from estimator.shelf.shelf import Shelf, shipped_file

ADAPTER_FIELDS = (
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "modules_to_save",
    "bias",
    "lora_bias", "use_dora", "target_parameters", "trainable_token_indices",
)  # fmt: skip
"""Fields of PEFT's LoraConfig that change which tensors there are; the rank is a variable of the law."""


def structure(question: Question) -> dict[str, Any]:
    """What a law is made for, beside the model. A field that came later is named only where it is not the default, so
    that the laws made before it keep their keys."""
    return dict(_structure(*_asked(question)))


def _asked(question: Question) -> tuple[Same, str, Platform, Batches]:
    return Same(question.recipe), question.loop_name, question.platform, question.batches


@functools.lru_cache(maxsize=16)
def _structure(same: Same[Recipe], loop: str, platform: Platform, batches: Batches) -> dict[str, Any]:
    recipe = same.value
    eager = recipe.attn_implementation == "eager"
    made = {
        "format": FORMAT,
        "method": recipe.method,
        "dtype": recipe.dtype,
        "mixed_precision": recipe.mixed_precision,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "attention": "eager" if eager else "fused",
        "kernels": None if eager else platform.kernels,
        "accumulates": recipe.gradient_accumulation_steps > 1,
        "one_row": shape(recipe)[0] == 1,
        "loop": loop,
    }
    if recipe.is_quantized:
        four_bit = recipe.quantization != "int8"
        made |= {
            "quantization": recipe.quantization,
            "double_quant": recipe.bnb_4bit_use_double_quant if four_bit else None,
        }
    if recipe.has_adapters:
        plain = {name: getattr(recipe, name) for name in ADAPTER_FIELDS}
        if isinstance(recipe.target_modules, (list, tuple)):
            plain["target_modules"] = sorted(
                recipe.target_modules
            )  # in whatever order they are named; no name is not PEFT's table
        if recipe.rank_pattern:  # the first that matches decides, and the key is made of sorted tables
            plain["rank_pattern"] = list(recipe.rank_pattern.items())
        made |= {"lora_dropout": recipe.lora_dropout > 0} | {
            name: value for name, value in plain.items() if value or value == []
        }
        if recipe.init_lora_weights == "mica":  # B does not train; no other start changes which tensors there are
            made["init_lora_weights"] = "mica"
    return made | _beside(recipe, loop, batches)


def _beside(recipe: Recipe, loop: str, batches: Batches) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if is_flat(recipe) or batches.pads(recipe):
        made |= {"rows": "flat" if is_flat(recipe) else "padded", "attn_implementation": recipe.attn_implementation}
    if batches.trained_share < 1 and LOOPS[loop].fused_loss:
        made["trained"] = "some"
    if recipe.use_reentrant and recipe.gradient_checkpointing:
        made["use_reentrant"] = True
    if recipe.has_adapters and not recipe.autocast_adapter_dtype:
        made["autocast_adapter_dtype"] = False
    return made


def key_of(question: Question) -> str:
    return _key(*_asked(question))


@functools.lru_cache(maxsize=16)
def _key(same: Same[Recipe], loop: str, platform: Platform, batches: Batches) -> str:
    """Of one estimate each law on the shelf asks again."""
    return hashed(_structure(same, loop, platform, batches))


def hashed(structure: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(structure, sort_keys=True, default=list).encode()).hexdigest()[:20]


def find(question: Question) -> Law | None:
    """A law that is at hand, shipped or derived on this machine. About 0.1 ms once it was read."""
    recipe, key = question.recipe, key_of(question)

    def law_of(key: str) -> Law | None:
        return LAWS.find(question.model, key, question.cache_dir)

    law = law_of(key)
    if recipe.attn_implementation == "flash_attention_2":
        law = law if law and law.fused else law_of(f"{key}-flash")
    else:
        while law and 0 < law.below_tokens <= shape(recipe)[1]:
            law = law_of(f"{key}-{law.below_tokens}")
    if law is None and recipe.has_adapters and recipe.gradient_accumulation_steps > 1:
        single = find(question.but(recipe=recipe.replace(gradient_accumulation_steps=1)))
        return single and _accumulating(single)
    return law


def place_of(law: Law, question: Question) -> str:
    """The key under which `find` looks for `law`: laws of longer rows, and of flash where SDPA is none, stand apart."""
    key = key_of(question)
    if law.from_tokens:
        return f"{key}-{law.from_tokens}"
    return key if law.fused or question.recipe.attn_implementation != "flash_attention_2" else f"{key}-flash"


def _accumulating(law: Law) -> Law:
    """The law of a step whose gradients are there before it begins, from that of a step which makes them.

    What it leaves out is the one new gradient on its way into the sum: that of a single adapter matrix.
    """
    whole = [
        replace(row, coefficients={name: c for name, c in row.coefficients.items() if name != "gradients"})
        for row in law.rows
    ]
    return replace(law, rows=tuple(whole))


@functools.lru_cache(maxsize=64)
def shipped(stem: str) -> dict[str, Law]:
    """The laws of `presets/laws/<stem>.json.gz` by key; of another tracer or format, none."""
    return read_shipped(stem) if shipped_file(_shipped_name(stem)) else {}


def read_shipped(stem: str) -> dict[str, Law]:
    """The same, whichever tracer made them."""
    path = presets_dir() / _shipped_name(stem)
    if not path.is_file():
        return {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {key: Law.from_dict(data) for key, data in json.load(file).items()}


def _shipped_name(stem: str) -> str:
    return f"laws/{stem}.json.gz"


def _shipped(model: Model, key: str) -> Law | None:
    return shipped(models()[model.id].stem).get(key) if model.id in models() else None


LAWS = Shelf("laws", Law.from_dict, Law.to_dict, _shipped)


def is_shipped(model: Model, key: str) -> bool:
    return _shipped(model, key) is not None


def derive(question: Question) -> Law:
    """Trace the law and keep it. Raises `Problem` (`estimator.law.untraced`), also where torch is not installed."""
    made = law = traced(question)
    LAWS.keep(law, question.model, place_of(law, question), question.cache_dir)
    while law.from_tokens:  # found by way of the laws of shorter rows
        recipe = question.recipe
        rows = shape(recipe)[1] // recipe.max_length
        question = question.but(recipe=recipe.replace(max_length=max(1, (law.from_tokens - 1) // rows)))
        law = traced(question)
        LAWS.keep(law, question.model, place_of(law, question), question.cache_dir)
    return made


def traced(question: Question, evaluates: bool = False) -> Law:
    """A law made now, of a step or of an evaluation. Raises `Problem` (`estimator.law.untraced`)."""
    model = question.model
    if not model.config:
        raise no_config(model.id)
    try:
        from estimator.trace import fit

        return fit.derive_law(
            question.recipe,
            model.config,
            question.loop,
            tile_tokens=tile_tokens(question.loop_name),
            platform=question.platform,
            class_name=model.inventory.class_name,
            batches=question.batches,
            evaluates=evaluates,
        )
    except Exception as error:  # whatever a model's own code does without data is a reason, not a failure of ours
        raise untraced(model.id, error) from error


def tile_tokens(loop: str) -> int:
    return TRL_TILE_TOKENS if LOOPS[loop].fused_loss else 0
