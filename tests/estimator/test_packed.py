"""Quantized layers on tensors without memory against bitsandbytes' own on the CPU: every allocation, in order."""

from __future__ import annotations

import inspect
import warnings

import bitsandbytes
import bitsandbytes._ops
import pytest
import torch
from bitsandbytes.autograd._functions import MatMul8bitLt

from estimator.hardware.platforms import Platform
from estimator.memory.recorded import Events
from estimator.recipe.batches import Batches
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from estimator.trace import packed
from estimator.trace.on_cuda import as_on_cuda
from estimator.trace.prepared import prepared
from estimator.trace.recorder import Recorder
from tests.estimator.test_analytic import ROWS, SIZES, TOKENS, made
from tests.estimator.test_peak import LiveBytes

LAYERS = 2


def recorded(model: torch.nn.Module, recipe: Recipe, device: str) -> Events:
    """Forward and backward pass of a model, attention by the same stand-in on either device."""
    ids = torch.zeros(ROWS, TOKENS, dtype=torch.long, device=device)
    recorder = Recorder(recipe.r, device=device)
    recorder.ignore(*model.parameters(), *model.buffers(), *packed.packed_state(model), ids)
    with as_on_cuda(Platform(), recipe, Batches()), recorder:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    return recorder.finish()


@pytest.mark.parametrize("fields", [{}, {"use_dora": True}, {"use_dora": True, "lora_dropout": 0.1}], ids=str)
def test_a_step_on_4_bits_allocates_on_meta_what_it_allocates_on_the_cpu(fields: dict) -> None:
    """DoRA's norms go by the dequantized weight, whose doubly quantized scales are dequantized first."""
    warnings.simplefilter("ignore")
    recipe = Recipe(model="small", method="qlora", r=8, gradient_checkpointing=False, **fields)
    real = made("llama", LAYERS, recipe, "plain")
    real.disable_input_require_grads()
    with as_on_cuda(Platform(), recipe, Batches()):
        ours = prepared(recipe, SIZES | {"model_type": "llama", "num_hidden_layers": LAYERS}, LOOPS["plain"], None)
    on_meta = recorded(ours, recipe, "meta")
    assert on_meta.delta_bytes == recorded(real, recipe, "cpu").delta_bytes
    dequantized = SIZES["hidden_size"] * SIZES["intermediate_size"] * 2
    inside = [
        on_meta.delta_bytes[n] for n, storage in enumerate(on_meta.storage) if on_meta.component[storage] == "temporary"
    ]
    assert inside.count(dequantized) == LAYERS * 3 * (
        3 if fields else 2
    )  # of gate, up and down: product, backward, norm


def test_int8_weights_are_dequantized_by_way_of_a_copy() -> None:
    """The kernel is one operator to a trace, and two of torch's."""
    assert "return A * stats.view(-1, 1) * " in inspect.getsource(bitsandbytes._ops)
    weight, scales = torch.zeros(64, 96, dtype=torch.int8, device="meta"), torch.ones(64, device="meta")
    with Recorder(rank=1) as recorder:
        recorder.ignore(weight, scales)
        held = bitsandbytes.functional.int8_vectorwise_dequant(weight, scales)
    assert held.dtype is torch.float32 and recorder.finish().delta_bytes == [4 * 64 * 96, 4 * 64 * 96, -4 * 64 * 96]


def test_an_8bit_layer_keeps_on_meta_what_it_keeps_on_the_cpu() -> None:
    """`MatMul8bitLt` itself, which a CPU leaves aside while training: the bytes alive after forward, with the
    result."""

    def kept(device: str) -> int:
        weight = torch.empty(96, 64, dtype=torch.int8, device=device).zero_()
        state = bitsandbytes.MatmulLtState()
        state.CB, state.SCB, state.threshold, state.has_fp16_weights = weight, torch.ones(96, device=device), 6.0, False
        hidden = torch.zeros(2, 32, 64, dtype=torch.bfloat16, device=device, requires_grad=True)
        with LiveBytes(set()) as counter:
            out = MatMul8bitLt.apply(hidden.to(torch.bfloat16, copy=True), weight, None, None, state)
        assert out.shape == (2, 32, 96) and out.dtype is torch.bfloat16
        return counter.now

    with as_on_cuda(Platform(), Recipe(model="small"), Batches()):
        on_meta = kept("meta")
    assert on_meta == kept("cpu") == 2 * 32 * (64 + 96) * 2
