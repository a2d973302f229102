"""The paths that Transformers, bitsandbytes and torch take on CUDA, taken on the meta device.

Each function that asks for a device, or that only CUDA runs, is put in place for as long as a step is traced. Imported
where torch is, by `estimator.trace.step` only.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
import transformers
from torch import nn

from estimator.hardware.platforms import Platform
from estimator.recipe.batches import Batches, is_flat, shape
from estimator.recipe.recipe import Recipe
from estimator.trace import attention, kernels


@contextlib.contextmanager
def as_on_cuda(platform: Platform, recipe: Recipe, batches: Batches, windows: set[int] | None = None) -> Iterator[None]:
    """The paths that Transformers and torch take on CUDA where they differ from those of the meta device."""
    import bitsandbytes
    from transformers import masking_utils

    told_apart = is_flat(recipe) or batches.pads(recipe)
    windows = set() if windows is None else windows
    checks = ("_ignore_causal_mask_sdpa", "_ignore_bidirectional_mask_sdpa")
    causal, both = (
        mock.patch.object(masking_utils, name, _can_skip(name, recipe, told_apart, windows)) for name in checks
    )
    with (
        mock.patch.object(nn.functional, "scaled_dot_product_attention", attention.attention_on(platform)),
        mock.patch.object(nn.functional, "dropout", kernels.dropout),
        mock.patch.object(nn.functional, "softmax", kernels.softmax),
        mock.patch.object(torch, "autocast", _autocast),
        mock.patch.object(bitsandbytes.functional, "int8_vectorwise_quant", kernels.int8_quantized),
        mock.patch.object(torch.ops.bitsandbytes, "int8_mixed_scaled_mm", kernels.int8_mixed_scaled_mm),
        # DoRA's first magnitudes are made from a copy of the layer (for FSDP), which bitsandbytes makes on the CPU
        # alone
        mock.patch.object(bitsandbytes.nn.Params4bit, "__deepcopy__", lambda weight, _: weight),
        # looks at the ids' values for a warning
        mock.patch.object(transformers.PreTrainedModel, "warn_if_padding_and_no_attention_mask", lambda *_: None),
        causal,
        both,
        _unpadding(told_apart and recipe.attn_implementation == "flash_attention_2"),
        # asked only where no mask is given, and then of values
        mock.patch.object(
            masking_utils, "find_packed_sequence_indices", _examples if is_flat(recipe) else lambda *_: None
        ),
    ):
        yield


def _can_skip(name: str, recipe: Recipe, told_apart: bool, windows: set[int]) -> Callable[..., bool]:
    """Whether SDPA goes without a mask: where rows are full, and shorter than a window (which is a matter of the
    recipe's length and not of the traced one). Flash needs none for a window."""
    from transformers import masking_utils

    theirs = inspect.signature(getattr(masking_utils, name))

    def can_skip(*args: Any, **kwargs: Any) -> bool:
        window = theirs.bind(*args, **kwargs).arguments.get("local_attention_size")
        if window is not None:
            windows.add(window)
        is_free = window is None or shape(recipe)[1] < window or recipe.attn_implementation == "flash_attention_2"
        return is_free and not told_apart

    return can_skip


@contextlib.contextmanager
def _unpadding(is_on: bool) -> Iterator[None]:
    """flash_attention_2 on rows that are told apart, which takes them out of the batch by the plain mask."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if not is_on:
        yield
        return
    ALL_ATTENTION_FUNCTIONS["sdpa"] = attention.unpadded
    ALL_MASK_ATTENTION_FUNCTIONS["sdpa"] = lambda *_, attention_mask=None, **__: attention_mask
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS["sdpa"], ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]


def _examples(position_ids: torch.Tensor) -> torch.Tensor:
    """`masking_utils.find_packed_sequence_indices` of several examples, which looks at no values."""
    return (torch.diff(position_ids, prepend=position_ids[:, :1] - 1, dim=-1) != 1).cumsum(-1)


_torch_autocast = torch.autocast


def _autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
    """torch knows no autocast of the meta device, not even to switch it off (PEFT does, around expert tensors)."""
    return contextlib.nullcontext() if device_type == "meta" else _torch_autocast(device_type, *args, **kwargs)
