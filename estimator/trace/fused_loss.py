"""Head and loss as TRL runs them on CUDA, in tiles by Triton, and the loss of older versions of Transformers.

What is restated is read off TRL's source; nothing here is fitted. Imported where torch is, by `estimator.trace.step`
only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from estimator.core.problems import Problem
from estimator.law.law import TRL_TILE_TOKENS
from estimator.trace.work import note, size_bytes


def fused_outputs(
    model: Any,
    tile: int,
    trained: int | None,
    enter_loss: Callable[[], None],
    *,
    input_ids: torch.Tensor,
    labels: torch.Tensor,
    **beside: Any,
) -> dict[str, torch.Tensor]:
    """TRL 1.16 `add_fused_lm_head._fused_forward` and `SFTTrainer.compute_loss` on CUDA, where `trained` tokens train
    (None: all)."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    backbone = base.base_model(input_ids=input_ids, use_cache=False, **beside)
    if not hasattr(
        backbone, "last_hidden_state"
    ):  # a base_model_prefix that names no module: the model itself stands for its backbone
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
    """`hidden[mask]` of `trained` rows (None: all): a copy, the index of each row in both dimensions, zeros in the
    backward."""

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
    """A value for each trained token, among all: in place, so no tensor of its own; the gradient is picked out
    again."""

    @staticmethod
    def forward(ctx: Any, column: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ctx.trained = column.shape
        return column.new_zeros(()).expand(mask.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad.new_empty(ctx.trained), None


class FusedLoss(torch.autograd.Function):
    """Allocations of trl/kernels/chunked_logprob.py ChunkedLogProbFunction on CUDA (Triton folds the tiles in
    place)."""

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
    """The logits of all tokens, and in the backward pass the products of their gradients, in tiles: the weight is read
    anew for each tile of tokens, the buffer written and read, and summed gradients read and written in fp32."""
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
    return (
        None
        if weight.dtype is dtype
        else weight.new_empty((min(CHUNK_COLUMNS, weight.shape[0]), weight.shape[1]), dtype=dtype)
    )


CHUNK_COLUMNS = 32768
"""trl/trainer/utils.py _CHUNKED_LOGPROB_CHUNK_SIZE: the buffer has this width even for a smaller vocabulary."""


def shifted_loss(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **_: Any) -> torch.Tensor:
    """The loss of Transformers before 4.49, which copies the logits without their last position."""
    logits = logits.float()
    shifted, targets = logits[..., :-1, :].contiguous(), labels[..., 1:].contiguous()
    return nn.functional.cross_entropy(shifted.view(-1, vocab_size), targets.view(-1))
