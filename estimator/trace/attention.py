"""Attention as the fused kernels of CUDA hold and save it, in place of torch's and Transformers' functions.

What is restated is read off ATen's and flash-attention's sources; nothing here is fitted. Imported where torch is, by
`estimator.trace.step` only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

from estimator.hardware.platforms import Platform
from estimator.trace.work import note, size_bytes


class FusedAttention(torch.autograd.Function):
    """Saves and holds what the flash kernel does: q, k, v, the output and a log-sum-exp in fp32 a head and token.

    Of causal attention half of the scores are computed: the kernels skip the blocks above the diagonal
    (FlashAttention-2, arXiv 2307.08691, section 3.1.1); a sliding window counts as causal.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        causal: bool = True,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, heads, S, d) and (B, kv heads, S, d) in; (B, S, heads, d) in memory out, seen as (B, heads, S, d). `bias`
        is the mask as numbers, saved as the rest is (derivatives.yaml _scaled_dot_product_efficient_attention)."""
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
        query, key, value, out, logsumexp, bias = (
            ctx.saved_tensors
        )  # held to the end, as the kernel holds its arguments
        like = lambda tensor: torch.empty_like(tensor.transpose(1, 2)).transpose(1, 2)  # noqa: E731
        grad_query, grad_key, grad_value = like(query), like(key), like(value)
        held = [
            query.new_empty(query.shape, dtype=torch.float32),
            query.new_empty(query.shape[:-1], dtype=torch.float32),
        ]
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
    """`scaled_dot_product_attention` as `platform` runs it. Transformers' own function around it, and whatever a
    model's code asks of the name `sdpa`, stay theirs."""

    def attention(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> torch.Tensor:  # fmt: skip
        if torch.is_autocast_enabled("cuda"):
            lower = torch.get_autocast_dtype("cuda")
            query, key, value = (tensor.to(lower) for tensor in (query, key, value))
            attn_mask = attn_mask if attn_mask is None or attn_mask.dtype is torch.bool else attn_mask.to(lower)
        kernel = platform.sdpa(str(query.dtype).removeprefix("torch."), key.shape[1] != query.shape[1], query.shape[-1])
        if kernel == "math" or query.dim() != 4:
            return torch.ops.aten._scaled_dot_product_attention_math(
                query, key, value, attn_mask, 0.0, is_causal, enable_gqa=enable_gqa
            )[0]
        if attn_mask is not None:
            attn_mask = _bias(attn_mask, query)
        return FusedAttention.apply(query, key, value, is_causal, attn_mask)  # with a mask every score is computed

    return attention


def unpadded(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **_: Any
) -> Any:
    """The attention function of Transformers' flash_attention_2 on rows that are told apart."""
    if torch.is_autocast_enabled("cuda"):
        query, key, value = (tensor.to(torch.get_autocast_dtype("cuda")) for tensor in (query, key, value))
    if attention_mask is None:
        out = FusedAttention.apply(query, key, value)
    else:
        out = Gathered.apply(
            FusedAttention.apply(
                *(Gathered.apply(tensor.transpose(1, 2)).transpose(1, 2) for tensor in (query, key, value))
            )
        )
    return out.transpose(1, 2).contiguous(), None


def _bias(mask: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """ATen/native/transformers/attention.cpp convert_boolean_attn_mask: a mask of numbers in the query's type, for the
    memory-efficient kernel, the only one that takes a mask; of a width rounded up to 16, which is not counted."""
    return mask.new_empty(mask.shape, dtype=query.dtype) if mask.dtype is torch.bool else mask
