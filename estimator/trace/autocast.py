"""CUDA's autocast for tensors without memory, which torch's own leaves alone (it goes by the device of a tensor).

The lists are ATen/autocast_mode.h's for CUDA (torch 2.13). Casts of trained leaves are kept until the forward pass
ends, as torch's weight cache keeps them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

LOWER = frozenset(
    "conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d convolution prelu addmm addmv "
    "addr matmul "
    "__matmul__ __rmatmul__ einsum mm mv linear addbmm baddbmm bmm chain_matmul multi_dot vecdot "
    "scaled_dot_product_attention".split()
)
FLOAT32 = frozenset(
    "acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow __pow__ __rpow__ softplus "
    "layer_norm "
    "native_layer_norm group_norm cosine_similarity nll_loss cross_entropy cross_entropy_loss kl_div l1_loss "
    "smooth_l1_loss "
    "huber_loss mse_loss binary_cross_entropy_with_logits dist cdist renorm logsumexp prod softmax log_softmax cumprod "
    "cumsum "
    "norm sum".split()
)
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Autocast(TorchFunctionMode):
    """Casts the inputs of listed functions. Around the forward pass and, given to checkpointing, around
    recomputation."""

    def __init__(self, mixed_precision: str) -> None:
        super().__init__()
        self.dtype = HALF[mixed_precision]
        self._cached: dict[int, torch.Tensor] = {}

    def __enter__(self) -> Autocast:
        """Sets torch's own flags too, which PEFT and TRL ask."""
        self._before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", self.dtype)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch.set_autocast_enabled("cuda", self._before[0])
        torch.set_autocast_dtype("cuda", self._before[1])
        self._cached.clear()
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        wanted = self.dtype if name in LOWER else torch.float32 if name in FLOAT32 and not kwargs.get("dtype") else None
        if wanted is not None:
            args, kwargs = tree_map(lambda value: self._cast(value, wanted), (args, kwargs))
        return func(*args, **kwargs)

    def _cast(self, value: Any, wanted: torch.dtype) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.dtype is wanted:
            return value
        if value.dtype is torch.float32 and value.is_leaf and value.requires_grad:
            if id(value) not in self._cached:
                self._cached[id(value)] = value.to(wanted)
            return self._cached[id(value)]
        return value.to(wanted)


def around(mixed_precision: str) -> AbstractContextManager[Any]:
    """The mode for `no`, `bf16` or `fp16`."""
    return nullcontext() if mixed_precision == "no" else Autocast(mixed_precision)
