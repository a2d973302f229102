"""How a repository stores its weights, read off its config.json, and what of it can be trained.

Transformers follows a repository's own quantization record whatever the caller asks for (`get_hf_quantizer`, 5.23):
bitsandbytes' packed layers stay as they are, FP8 and MXFP4 weights can be dequantized as they are loaded, everything
else needs kernels and packages that train nothing here. So the record decides what is counted, and what is refused
before anything starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from estimator.core.problems import Problem
from estimator.core.units import human_bytes, width_bytes
from estimator.memory.states import is_packed
from estimator.model.catalog import Model
from estimator.model.inventory import LINEAR_KINDS, Inventory
from estimator.model.originals import originals
from estimator.recipe.distributed import QUANT_STORAGES
from estimator.recipe.recipe import Recipe

BITSANDBYTES = "bitsandbytes"
DEQUANTIZED = {"fp8": "FP8", "mxfp8": "MXFP8", "mxfp4": "MXFP4"}
"""Methods whose quantizer can load 16-bit weights (`dequantize=True` of FineGrainedFP8Config and Mxfp4Config)."""
TITLES = {
    "aqlm": "AQLM", "auto-round": "AutoRound", "awq": "AWQ", "bitnet": "BitNet", "eetq": "EETQ", "exl2": "EXL2",
    "exl3": "EXL3",
    "fbgemm_fp8": "FBGEMM FP8", "fouroversix": "Four Over Six", "fp_quant": "FP-Quant", "gguf": "GGUF", "gptq": "GPTQ",
    "higgs": "HIGGS",
    "hqq": "HQQ", "mlx": "MLX", "modelopt": "ModelOpt", "nvfp4": "NVFP4", "quanto": "Quanto", "quark": "Quark",
    "sinq": "SINQ",
    "spqr": "SpQR", "torchao": "torchao", "vptq": "VPTQ",
}  # fmt: skip
"""How a method is written in a sentence; any other as its record writes it."""
_SKIPPED = re.compile(r"[\w.\-]+(?:\*[\w.\-]*){0,2}", re.ASCII)
"""A module that a record leaves alone: Transformers reads it as an expression, and one of a stranger may take
forever."""
MAX_SKIPPED = 4_096


@dataclass(frozen=True)
class Storage:
    """A repository whose weights are quantized. `method` is Transformers' `quant_method`, or what else names the
    format.

    The rest is told by bitsandbytes alone: `quantization`, `double_quant` and `quant_storage` as `Recipe` has them, and
    `skipped`, patterns of the linear layers left in 16 bits (None: those that Transformers leaves by itself).
    """

    method: str
    bits: int | None = None
    quantization: str | None = None
    double_quant: bool = False
    quant_storage: str = "uint8"
    skipped: tuple[str, ...] | None = None

    @property
    def is_bitsandbytes(self) -> bool:
        return self.method == BITSANDBYTES

    @property
    def is_dequantized(self) -> bool:
        """Whether it is loaded in 16 bits."""
        return self.method in DEQUANTIZED

    @property
    def title(self) -> str:
        """`nf4`, `FP8`, `GPTQ, 4 bits`: for a sentence."""
        if self.is_bitsandbytes:
            return f"{self.quantization} (bitsandbytes)"
        name = DEQUANTIZED.get(self.method) or TITLES.get(self.method, self.method)
        return f"{name}, {self.bits} bits" if self.bits else name


def storage_of(config: dict[str, Any]) -> Storage | None:
    """How the repository of this config.json stores its weights; None for plain 16 or 32 bits. Raises `Problem`
    (`model.stored_broken`) for a record that Transformers cannot read.

    The record is the config's own, or that of its language model; that of old compressed-tensors repositories is called
    `compression_config`, and MLX writes `quantization` without a method.
    """
    record = _record(config)
    if not record:
        return None
    if record.get("load_in_4bit") or record.get("load_in_8bit"):
        return _bitsandbytes(record)
    method = record.get("quant_method")
    if method is None:
        method = (
            "mlx"
            if {"bits", "group_size"} <= record.keys()
            else "compressed-tensors"
            if record.keys() & {"config_groups", "sparsity_config"}
            else None
        )
    if not isinstance(method, str) or not re.fullmatch(r"[\w.\-]{1,40}", method):
        raise _broken("quant_method", method, "the name of a method, such as bitsandbytes")
    if method == BITSANDBYTES:
        return None  # neither 4 nor 8 bits: Transformers passes it over
    bits = next((record[key] for key in ("bits", "w_bit", "nbits") if type(record.get(key)) is int), None)
    return Storage(method, bits)


def as_loaded(recipe: Recipe, config: dict[str, Any] | None, name: str | None = None) -> Recipe:
    """The recipe as it will run on this repository: what a bitsandbytes record says of double quantization and of
    storage goes before what the recipe says. Raises `Problem` (`model.stored_*`) for what cannot be trained, naming the
    repository in 16 bits.

    `name` is the repository, where it is not `recipe.model`.
    """
    storage = storage_of(config or {})
    if storage is None or storage.is_dequantized:
        return recipe
    known = {"value": (name or recipe.model)[:120], "stored": storage.title}
    if not storage.is_bitsandbytes:
        raise _refused("model.stored_untrainable", known | {"field": "model"}, config, name or recipe.model)
    if not recipe.is_quantized:
        raise _refused(
            "model.stored_packed", known | {"field": "method", "other": recipe.method}, config, name or recipe.model
        )
    if recipe.quantization != storage.quantization:
        other = {"field": "quantization", "other": recipe.quantization, "quantization": storage.quantization}
        raise _refused("model.stored_otherwise", known | other, config, name or recipe.model)
    return recipe.replace(bnb_4bit_use_double_quant=storage.double_quant, bnb_4bit_quant_storage=storage.quant_storage)


def left_alone(inventory: Inventory, config: dict[str, Any]) -> Inventory:
    """The inventory with the linear layers that the repository's bitsandbytes record keeps in 16 bits.

    Such a list stands in the place of Transformers' own (the head, tied weights), but for the modules that a model
    class keeps in fp32 (`HfQuantizer.get_modules_to_not_convert`).
    """
    storage = storage_of(config)
    if storage is None or storage.skipped is None:
        return inventory
    of_the_class = tuple(pattern for pattern in inventory.not_quantized if pattern not in inventory.by_name)
    return replace(inventory, not_quantized=tuple(sorted({*storage.skipped, *of_the_class})))


def notes(recipe: Recipe, model: Model) -> Iterator[Problem]:
    """What the answer says of a repository whose weights are quantized, for a recipe `as_loaded`."""
    storage = storage_of(model.stored_config)
    if storage is None:
        return
    known = {"field": "model", "value": model.name[:120], "stored": storage.title}
    if storage.is_dequantized:
        weights = human_bytes(model.inventory.total_parameters * width_bytes(recipe.dtype))
        code = "model.stored_dequantized_packed" if recipe.is_quantized else "model.stored_dequantized"
        yield Problem(code, dtype=recipe.dtype, weights=weights, quantization=recipe.quantization, **known)
    elif storage.is_bitsandbytes:
        double = {True: "true", False: "false"}[storage.double_quant]
        left = [
            (n, g)
            for g in model.inventory.groups
            if g.kind in LINEAR_KINDS
            for n in g.names
            if not is_packed(g, n, model.inventory)
        ]
        weights_left = [weight for _, group in left if (weight := group.parameter("weight")) is not None]
        size = sum(weight.numel for weight in weights_left if weight.tied is None) * width_bytes(recipe.dtype)
        code = "model.stored_int8" if storage.quantization == "int8" else "model.stored_packed_so"
        yield Problem(code, double=double, left=f"{len(left):,}", size=human_bytes(size), dtype=recipe.dtype, **known)


def _record(config: dict[str, Any]) -> dict[str, Any] | None:
    parts = (
        config,
        *(config[key] for key in ("text_config", "language_config", "llm_config") if isinstance(config.get(key), dict)),
    )
    for key in ("quantization_config", "compression_config"):
        for part in parts:
            if part.get(key):
                if not isinstance(part[key], dict):
                    raise _broken(key, part[key], "an object")
                record: dict[str, Any] = part[key]
                return record
    mlx = config.get("quantization")
    return mlx if isinstance(mlx, dict) and "bits" in mlx else None


def _bitsandbytes(record: dict[str, Any]) -> Storage:
    """What is missing has BitsAndBytesConfig's own default: old records hold `load_in_4bit` alone, which is fp4."""
    four, eight, double = (
        record.get(key, False) for key in ("load_in_4bit", "load_in_8bit", "bnb_4bit_use_double_quant")
    )
    for key, value in {"load_in_4bit": four, "load_in_8bit": eight, "bnb_4bit_use_double_quant": double}.items():
        if not isinstance(value, bool):
            raise _broken(key, value, "true or false")
    if four and eight:
        raise _broken("load_in_8bit", True, "false beside load_in_4bit")
    skipped = record.get("llm_int8_skip_modules")
    _check_skipped(skipped)
    kept = None if skipped is None else tuple(skipped)
    if eight:
        return Storage(BITSANDBYTES, 8, "int8", skipped=kept)
    quantization, storage = record.get("bnb_4bit_quant_type", "fp4"), record.get("bnb_4bit_quant_storage") or "uint8"
    storage = "uint8" if storage == "int8" else storage  # as wide
    if quantization not in ("nf4", "fp4"):
        raise _broken("bnb_4bit_quant_type", quantization, "nf4, fp4")
    if storage not in QUANT_STORAGES:
        raise _broken("bnb_4bit_quant_storage", storage, ", ".join(QUANT_STORAGES))
    return Storage(BITSANDBYTES, 4, quantization, double, storage, kept)


def _check_skipped(skipped: object) -> None:
    if skipped is None:
        return
    if not isinstance(skipped, list) or len(skipped) > MAX_SKIPPED:
        raise _broken("llm_int8_skip_modules", skipped, f"a list of up to {MAX_SKIPPED:,} modules")
    for module in skipped:
        if not isinstance(module, str) or not _SKIPPED.fullmatch(module):
            raise _broken("llm_int8_skip_modules", module, "names of modules")


def _refused(code: str, params: dict[str, Any], config: dict[str, Any] | None, name: str) -> Problem:
    """With the repositories in 16 bits that can be named, or without any."""
    known = originals(name, config or {})
    return Problem(code, allowed=", ".join(known), **params) if known else Problem(f"{code}_alone", **params)


def _broken(key: str, value: object, allowed: str) -> Problem:
    return Problem("model.stored_broken", field="model", key=key, value=str(value)[:80], allowed=allowed)
