"""What CUDA kernels hold that a trace of operators does not see, and operators that CUDA runs otherwise.

One table, each entry with the source that says so; nothing here is fitted. Attention and the loss stand apart
(`estimator.trace.attention`, `estimator.trace.fused_loss`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from estimator.memory.states import BLOCK_4BIT
from estimator.trace.work import note, size_bytes


class Hidden(NamedTuple):
    """Bytes of each tensor that a kernel holds on CUDA while it runs, and whether it makes them before its output."""

    sizes_bytes: tuple[int, ...] = ()
    before_output: bool = False


def hidden(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hidden:
    """What `func` holds beside its inputs and outputs."""
    found = HIDDEN.get(func.name() if hasattr(func, "name") else str(func))
    return found(args, kwargs) if found else Hidden()


def _softmax_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hidden:
    """ATen/native/cuda/SoftMax.cu softmax_backward_cuda_out: `tmp = grad * output`; a structured kernel has its output
    by then."""
    return Hidden((_bytes(args[0]),))


def _gemm_4bit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hidden:
    """bitsandbytes 0.50 backends/cuda/ops.py _dequant_linear_fallback: beyond a few tokens the weight is dequantized,
    to the input's type, and multiplied by cuBLAS; the scales of double quantization are dequantized to fp32 first."""
    states, shape = args[0], args[2]
    numel = math.prod(shape)
    scales = (4 * -(-numel // BLOCK_4BIT),) if kwargs.get("absmax_8bit") is not None else ()
    return Hidden((*scales, numel * states.element_size()), before_output=True)


def int8_quantized(
    hidden: torch.Tensor, threshold: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """bitsandbytes 0.50 backends/cuda/ops.py int8_vectorwise_quant: rows as int8 and their scales; with a threshold
    `A.abs()` and what of it is over the threshold, at once. Its own stand-in cannot say how many columns are: none,
    here."""
    rows = torch.empty_like(hidden, dtype=torch.int8)
    scales = hidden.new_empty(hidden.numel() // hidden.shape[-1], dtype=torch.float32)
    note((), tuple(map(size_bytes, (hidden, rows, scales))), hidden.dtype, product=False)
    if threshold <= 0:
        return rows, scales, None
    sizes = hidden.new_empty(hidden.shape)
    outliers = torch.empty_like(sizes, dtype=torch.bool)
    note((), tuple(map(size_bytes, (hidden, sizes, sizes, outliers))), hidden.dtype, product=False)
    del sizes, outliers
    return rows, scales, hidden.new_empty(0, dtype=torch.int64)


def int8_mixed_scaled_mm(
    hidden: torch.Tensor,
    rows: torch.Tensor,
    weight: torch.Tensor,
    scales: torch.Tensor,
    weight_scales: torch.Tensor,
    outliers: Any = None,
    bias: Any = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """bitsandbytes 0.50 backends/default/ops.py int8_mixed_scaled_mm without outliers: the int32 product, held until it
    is scaled to fp16 (backends/cuda/ops.py int8_mm_dequant), and a copy in the input's type where that is another."""
    product = hidden.new_empty((*rows.shape[:-1], weight.shape[0]), dtype=torch.int32)
    scaled = torch.empty_like(product, dtype=torch.float16)
    note((2 * rows.numel() * weight.shape[0],), tuple(map(size_bytes, (rows, weight, product))), rows.dtype)
    note((), tuple(map(size_bytes, (product, scaled))), hidden.dtype, product=False)
    out = scaled.to(hidden.dtype)
    del product, scaled
    return out, hidden.new_empty(0)


def _int8_dequantized(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hidden:
    """bitsandbytes 0.50 _ops.py int8_vectorwise_dequant: the rows times their scales in fp32, and that once more by a
    number."""
    return Hidden((4 * args[0].numel(),), before_output=True)


HIDDEN: dict[str, Callable[[tuple[Any, ...], dict[str, Any]], Hidden]] = {
    "aten::_softmax_backward_data": _softmax_backward,
    "bitsandbytes::gemm_4bit": _gemm_4bit,
    "bitsandbytes::int8_vectorwise_dequant": _int8_dequantized,
}


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def dropout(tensor: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """On CUDA one kernel that saves a byte an element (ATen/native/Dropout.cpp is_fused_kernel_acceptable)."""
    if not training or p == 0 or not tensor.numel():
        return tensor
    return torch.native_dropout(tensor, p, True)[0]


def softmax(
    tensor: torch.Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """On CUDA a half tensor becomes an fp32 softmax without an fp32 copy (ATen/native/SoftMax.cpp softmax)."""
    if dtype is torch.float32 and tensor.dtype is torch.float16:
        return HalfSoftmax.apply(tensor, dim)
    return torch.softmax(tensor, dim, dtype=dtype)


class HalfSoftmax(torch.autograd.Function):
    """`_softmax(half_to_float=True)` and its backward, which returns half precision."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        out = torch.empty_like(tensor, dtype=torch.float32)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (out,) = ctx.saved_tensors  # held to the end, as the kernel holds its arguments
        result = torch.empty_like(grad, dtype=torch.float16)  # a structured kernel's output is there before it runs
        held = grad * out
        del held, out
        return result, None
