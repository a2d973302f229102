"""A batch with a row of the base and a row of an adapter: when PEFT answers it right, and faster than PEFT does."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import torch
from peft import PeftModel
from peft.tuners import lora
from peft.tuners.lora.layer import VARIANT_KWARG_KEYS, LoraLayer, ParamWrapper
from peft.utils.other import AuxiliaryTrainingWrapper

BASE_ROW = "__base__"
"""PEFT's word for a row of a mixed batch that no adapter touches."""
# peft 0.21, AuxiliaryTrainingWrapper._mixed_batch_forward
MIXABLE_MODULES = (torch.nn.Linear, torch.nn.Embedding, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


def can_mix(model: PeftModel, name: str) -> bool:
    """Whether PEFT 0.21 answers right for `name` in a batch with rows of the base.

    It refuses variants of LoRA (DoRA), weights adapted as bare parameters, and trained modules other than linear ones
    and embeddings; trained biases belong to no row. (LLM.int8 is refused by the caller: it picks its outlier columns
    over the whole batch, so that one row would change its neighbour.)
    """
    if model.peft_config[name].bias != "none":
        return False
    for module in model.modules():
        if isinstance(module, LoraLayer) and (name in module.lora_variant or isinstance(module, ParamWrapper)):
            return False
        trained_whole = isinstance(module, AuxiliaryTrainingWrapper) and name in module._adapters
        if trained_whole and not isinstance(module.original_module, MIXABLE_MODULES):
            return False
    return True


@contextlib.contextmanager
def rows_by_slice(model: PeftModel) -> Iterator[None]:
    """Let plain linear adapters take their row as a view of the batch.

    PEFT 0.21 picks rows by lists of indices: two gathers and a scatter at every layer, more than the adapter itself
    costs in a small model (`make bench` has the figure), and a wait for the device on CUDA.
    """
    kinds = tuple(kind for name in ("Linear", "Linear4bit") if (kind := getattr(lora, name, None)))
    layers = [module for module in model.modules() if type(module) in kinds]
    for layer in layers:
        layer._mixed_batch_forward = types.MethodType(_base_then_adapter, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer._mixed_batch_forward


def _base_then_adapter(self: Any, x: torch.Tensor, *args: Any, adapter_names: list[str], **kwargs: Any) -> torch.Tensor:
    """`_mixed_batch_forward` for a batch of two rows: the base's, then an adapter's."""
    base, name = adapter_names
    if base != BASE_ROW or name == BASE_ROW:
        raise ValueError(f"rows {adapter_names}: the base first, then one adapter")
    result = self.base_layer(x, *args, **{key: value for key, value in kwargs.items() if key not in VARIANT_KWARG_KEYS})
    if name in self.lora_A:
        lora_a, lora_b = self.lora_A[name], self.lora_B[name]
        rows = self.lora_dropout[name](x[1:].to(lora_a.weight.dtype))
        result[1:].add_(lora_b(lora_a(rows)).to(result.dtype), alpha=self.scaling[name])
    return result
