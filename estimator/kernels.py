"""What CUDA kernels hold that a trace of operators does not see, and attention as the real kernels save it.

One table, each entry with the source that says so; nothing here is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

from estimator.law import TRL_TILE_TOKENS
from estimator.platforms import Platform
from estimator.problems import Problem
from estimator.states import BLOCK_4BIT
from estimator.work import note, size_bytes

FLASH_ROUND = 128
"""flash_attn/flash_api.cpp rounds the sequence of its accumulators up to 128."""


class Hidden(NamedTuple):
    """Bytes of each tensor that a kernel holds on CUDA while it runs, and whether it makes them before its output."""

    sizes_bytes: tuple[int, ...] = ()
    before_output: bool = False


def hidden(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hidden:
    """What `func` holds beside its inputs and outputs."""
    found = HIDDEN.get(func.name() if hasattr(func, "name") else str(func))
    return found(args, kwargs) if found else Hidden()


def _softmax_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hidden:
    """ATen/native/cuda/SoftMax.cu softmax_backward_cuda_out: `tmp = grad * output`; a structured kernel has its output by then."""
    return Hidden((_bytes(args[0]),))


def _gemm_4bit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hidden:
    """bitsandbytes 0.50 backends/cuda/ops.py _dequant_linear_fallback: beyond a few tokens the weight is dequantized, to the
    input's type, and multiplied by cuBLAS; the scales of double quantization are dequantized to fp32 first."""
    states, shape = args[0], args[2]
    numel = math.prod(shape)
    scales = (4 * -(-numel // BLOCK_4BIT),) if kwargs.get("absmax_8bit") is not None else ()
    return Hidden((*scales, numel * states.element_size()), before_output=True)


def int8_quantized(hidden: torch.Tensor, threshold: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """bitsandbytes 0.50 backends/cuda/ops.py int8_vectorwise_quant: rows as int8 and their scales; with a threshold `A.abs()`
    and what of it is over the threshold, at once. Its own stand-in cannot say how many columns are: none, here."""
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
    hidden: torch.Tensor, rows: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, weight_scales: torch.Tensor, outliers: Any = None, bias: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """bitsandbytes 0.50 backends/default/ops.py int8_mixed_scaled_mm without outliers: the int32 product, held until it is
    scaled to fp16 (backends/cuda/ops.py int8_mm_dequant), and a copy in the input's type where that is another."""
    product = hidden.new_empty((*rows.shape[:-1], weight.shape[0]), dtype=torch.int32)
    scaled = torch.empty_like(product, dtype=torch.float16)
    note((2 * rows.numel() * weight.shape[0],), tuple(map(size_bytes, (rows, weight, product))), rows.dtype)
    note((), tuple(map(size_bytes, (product, scaled))), hidden.dtype, product=False)
    out = scaled.to(hidden.dtype)
    del product, scaled
    return out, hidden.new_empty(0)


def _int8_dequantized(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hidden:
    """bitsandbytes 0.50 _ops.py int8_vectorwise_dequant: the rows times their scales in fp32, and that once more by a number."""
    return Hidden((4 * args[0].numel(),), before_output=True)


HIDDEN: dict[str, Callable[[tuple[Any, ...], dict[str, Any]], Hidden]] = {
    "aten::_softmax_backward_data": _softmax_backward,
    "bitsandbytes::gemm_4bit": _gemm_4bit,
    "bitsandbytes::int8_vectorwise_dequant": _int8_dequantized,
}


class FusedAttention(torch.autograd.Function):
    """Saves and holds what the flash kernel does: q, k, v, the output and a log-sum-exp in fp32 a head and token.

    Of causal attention half of the scores are computed: the kernels skip the blocks above the diagonal
    (FlashAttention-2, arXiv 2307.08691, section 3.1.1); a sliding window counts as causal.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool = True, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, heads, S, d) and (B, kv heads, S, d) in; (B, S, heads, d) in memory out, seen as (B, heads, S, d). `bias` is
        the mask as numbers, saved as the rest is (derivatives.yaml _scaled_dot_product_efficient_attention)."""
        batch, heads, length, _ = query.shape
        out = query.new_empty((batch, length, heads, value.shape[-1])).transpose(1, 2)
        logsumexp = query.new_empty((batch, heads, length), dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, logsumexp, bias)
        ctx.share = 0.5 if causal else 1.0
        note((sdpa_flop_count(query.shape, key.shape, value.shape),), (), query.dtype, ctx.share)
        note((), tuple(map(size_bytes, (query, key, value, out, logsumexp))), query.dtype)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """flash_api.cpp mha_bwd: fp32 accumulators of dq and of the rows' sums, and dk and dv at the query heads under
        grouped heads, summed afterwards."""
        query, key, value, out, logsumexp, bias = ctx.saved_tensors  # held to the end, as the kernel holds its arguments
        like = lambda tensor: torch.empty_like(tensor.transpose(1, 2)).transpose(1, 2)  # noqa: E731
        grad_query, grad_key, grad_value = like(query), like(key), like(value)
        held = [query.new_empty(query.shape, dtype=torch.float32), query.new_empty(query.shape[:-1], dtype=torch.float32)]
        if key.shape[1] != query.shape[1]:
            held += [query.new_empty((*query.shape[:-1], tensor.shape[-1])) for tensor in (key, value)]
        note((sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape),), (), query.dtype, ctx.share)
        moved = (grad, query, key, value, out, logsumexp, grad_query, grad_key, grad_value, *held, *held)
        note((), tuple(map(size_bytes, moved)), query.dtype)
        grad_bias = torch.empty_like(bias) if bias is not None and ctx.needs_input_grad[4] else None
        del held, out, logsumexp, moved, bias
        return (grad_query, grad_key, grad_value, None, grad_bias)[: len(ctx.needs_input_grad)]


class Gathered(torch.autograd.Function):
    """Rows taken out of a padded batch, or put back: a copy, and a copy of the gradient (transformers
    modeling_flash_attention_utils._upad_input and _pad_input; the padding counts as tokens)."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad.clone()


def attention_on(platform: Platform) -> Callable[..., torch.Tensor]:
    """`scaled_dot_product_attention` as `platform` runs it. Transformers' own function around it, and whatever a model's
    code asks of the name `sdpa`, stay theirs."""

    def attention(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> torch.Tensor:  # fmt: skip
        if torch.is_autocast_enabled("cuda"):
            lower = torch.get_autocast_dtype("cuda")
            query, key, value = (tensor.to(lower) for tensor in (query, key, value))
            attn_mask = attn_mask if attn_mask is None or attn_mask.dtype is torch.bool else attn_mask.to(lower)
        kernel = platform.sdpa(str(query.dtype).removeprefix("torch."), key.shape[1] != query.shape[1], query.shape[-1])
        if kernel == "math" or query.dim() != 4:
            return torch.ops.aten._scaled_dot_product_attention_math(query, key, value, attn_mask, 0.0, is_causal, enable_gqa=enable_gqa)[0]
        if attn_mask is not None:
            attn_mask = _bias(attn_mask, query)
        return FusedAttention.apply(query, key, value, is_causal, attn_mask)  # with a mask every score is computed

    return attention


def unpadded(module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **_: Any) -> Any:
    """The attention function of Transformers' flash_attention_2 on rows that are told apart."""
    if torch.is_autocast_enabled("cuda"):
        query, key, value = (tensor.to(torch.get_autocast_dtype("cuda")) for tensor in (query, key, value))
    if attention_mask is None:
        out = FusedAttention.apply(query, key, value)
    else:
        out = Gathered.apply(FusedAttention.apply(*(Gathered.apply(tensor.transpose(1, 2)).transpose(1, 2) for tensor in (query, key, value))))
    return out.transpose(1, 2).contiguous(), None


def _bias(mask: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """ATen/native/transformers/attention.cpp convert_boolean_attn_mask: a mask of numbers in the query's type, for the
    memory-efficient kernel, the only one that takes a mask; of a width rounded up to 16, which is not counted."""
    return mask.new_empty(mask.shape, dtype=query.dtype) if mask.dtype is torch.bool else mask


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def dropout(tensor: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """On CUDA one kernel that saves a byte an element (ATen/native/Dropout.cpp is_fused_kernel_acceptable)."""
    if not training or p == 0 or not tensor.numel():
        return tensor
    return torch.native_dropout(tensor, p, True)[0]


def softmax(tensor: torch.Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> torch.Tensor:
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


def fused_outputs(
    model: Any, tile: int, trained: int | None, enter_loss: Callable[[], None], *, input_ids: torch.Tensor, labels: torch.Tensor, **beside: Any
) -> dict[str, torch.Tensor]:
    """TRL 1.16 `add_fused_lm_head._fused_forward` and `SFTTrainer.compute_loss` on CUDA, where `trained` tokens train (None: all)."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    backbone = base.base_model(input_ids=input_ids, use_cache=False, **beside)
    if not hasattr(backbone, "last_hidden_state"):  # a base_model_prefix that names no module: the model itself stands for its backbone
        raise Problem("law.no_hidden_state", field="model", value=type(base).__name__)
    hidden = backbone.last_hidden_state[:, :-1]
    enter_loss()
    labels = labels[:, 1:]
    mask = labels != -100
    head = base.get_output_embeddings()
    targets = labels.reshape(-1) if trained is None else labels.new_empty(trained)
    columns = FusedLoss.apply(MaskedRows.apply(hidden, trained), head.weight, targets, tile)
    # new_zeros(mask.shape).masked_scatter(mask, x) for log_probs, entropy and is_top1
    scatter = (lambda column: Scattered.apply(column, mask)) if trained else lambda column: column.view(mask.shape)
    log_probs, entropy, top = (column.new_zeros(mask.shape) + scatter(column) for column in columns)
    loss = -log_probs.sum() / mask.sum().clamp(min=1)
    return {"loss": loss, "log_probs": log_probs, "entropy": entropy, "is_top1": top}


class MaskedRows(torch.autograd.Function):
    """`hidden[mask]` of `trained` rows (None: all): a copy, the index of each row in both dimensions, zeros in the backward."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, trained: int | None) -> torch.Tensor:
        batch, length, width = hidden.shape
        rows = batch * length if trained is None else trained
        ctx.shape = hidden.shape
        ctx.save_for_backward(*(hidden.new_empty(rows, dtype=torch.int64) for _ in range(2)))
        return hidden.new_empty((rows, width))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad.new_zeros(ctx.shape), None


class Scattered(torch.autograd.Function):
    """A value for each trained token, among all: in place, so no tensor of its own; the gradient is picked out again."""

    @staticmethod
    def forward(ctx: Any, column: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ctx.trained = column.shape
        return column.new_zeros(()).expand(mask.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad.new_empty(ctx.trained), None


class FusedLoss(torch.autograd.Function):
    """Allocations of trl/kernels/chunked_logprob.py ChunkedLogProbFunction on CUDA (Triton folds the tiles in place)."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, tile: int) -> Any:
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else hidden.dtype
        vectors = [hidden.new_empty(hidden.shape[0], dtype=torch.float32) for _ in range(7)]
        buffer, chunk = hidden.new_empty((tile, CHUNK_COLUMNS), dtype=dtype), _cast_chunk(weight, dtype)
        log_z = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        log_probs, entropy = torch.empty_like(log_z), torch.empty_like(log_z)
        top = torch.empty_like(log_z, dtype=torch.bool)
        _note_tiles(hidden, weight, dtype, products=1)
        del buffer, chunk, vectors
        ctx.save_for_backward(hidden, weight, targets, log_z, entropy)
        ctx.tile, ctx.dtype = tile, dtype
        ctx.mark_non_differentiable(top)
        ctx.set_materialize_grads(False)
        return log_probs, entropy, top

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, *_: Any) -> Any:
        hidden, weight, targets, log_z, entropy = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden, dtype=torch.float32)
        grad_weight = torch.empty_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        buffer, chunk = hidden.new_empty((ctx.tile, CHUNK_COLUMNS), dtype=ctx.dtype), _cast_chunk(weight, ctx.dtype)
        grad = grad.float().contiguous()
        _note_tiles(hidden, weight, ctx.dtype, products=2 if grad_weight is None else 3)
        results = grad_hidden.to(hidden.dtype), grad_weight.to(weight.dtype) if grad_weight is not None else None
        del buffer, chunk, targets, log_z, entropy
        return *results, None, None


def _note_tiles(hidden: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype, products: int) -> None:
    """The logits of all tokens, and in the backward pass the products of their gradients, in tiles: the weight is read anew for
    each tile of tokens, the buffer written and read, and summed gradients read and written in fp32."""
    (tokens, width), vocabulary = hidden.shape, weight.shape[0]
    note((2 * tokens * vocabulary * width,) * products, (), dtype)
    chunks = -(-vocabulary // CHUNK_COLUMNS)
    logits_bytes, weight_bytes = tokens * vocabulary * dtype.itemsize, size_bytes(weight)
    note((), (logits_bytes,) * products + (tokens * width * dtype.itemsize,) * chunks + (weight_bytes,), dtype)
    note((), (tokens * weight_bytes,) * min(products, 2), dtype, 1 / TRL_TILE_TOKENS)
    if products > 1:
        note((), (8 * tokens * width,) * chunks, dtype)
    if products > 2:
        note((), (tokens * 8 * weight.numel(),), dtype, 1 / TRL_TILE_TOKENS)
    note((), (logits_bytes,) * (1 if products == 1 else 2), dtype, product=False)


def _cast_chunk(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """`weight[start:end].to(compute_dtype)`, a copy where the types differ."""
    return None if weight.dtype is dtype else weight.new_empty((min(CHUNK_COLUMNS, weight.shape[0]), weight.shape[1]), dtype=dtype)


CHUNK_COLUMNS = 32768
"""trl/trainer/utils.py _CHUNKED_LOGPROB_CHUNK_SIZE: the buffer has this width even for a smaller vocabulary."""


def shifted_loss(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **_: Any) -> torch.Tensor:
    """The loss of Transformers before 4.49, which copies the logits without their last position."""
    logits = logits.float()
    shifted, targets = logits[..., :-1, :].contiguous(), labels[..., 1:].contiguous()
    return nn.functional.cross_entropy(shifted.view(-1, vocab_size), targets.view(-1))
