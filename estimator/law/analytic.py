"""Rows of the memory law written down by hand for dense decoders, until a traced law is at hand.

The moments of a step are put together from the bytes of a layer (`estimator.law.layer_bytes`, which names its letters)
and those of head and loss, with their sources; `V` is the vocabulary. No constant is fitted.

What is left out, and why the bar is wide: layers that are not attention + MLP (state space, convolutions), routing of
experts (counted as their active share), attention masks of padded batches, composite activation functions.
"""

from __future__ import annotations

import functools
import math

from estimator.adapters.adapters import Trainables
from estimator.law.law import PHI, TRL_TILE_TOKENS, Law, Row
from estimator.law.layer_bytes import (
    Widths,
    active_width,
    added,
    is_gated,
    layer_bytes,
    stream_widths,
)
from estimator.model.inventory import Inventory
from estimator.model.spec import ModelSpec
from estimator.recipe.batches import Batches, is_flat
from estimator.recipe.loop import Loop
from estimator.recipe.recipe import Recipe

TRL_TILE_VOCABULARY = 32768
"""trl/trainer/utils.py _CHUNKED_LOGPROB_CHUNK_SIZE; the buffer has this width even for a smaller vocabulary."""
IDS_BYTES = 5 * 8
"""int64 a token: ids, labels, shifted labels, mask, positions."""
ERROR_CHECKPOINTED, ERROR_KEPT, ERROR_OTHER = 0.15, 0.3, 0.5
"""Half width of the error bar on the dynamic bytes. The first two hold for every published row of a dense decoder that
says what it ran (tests/estimator/test_measured.py; the worst, -12 and -28 % of the dynamic bytes, are not explained);
the last is a judgement: no published row is of another architecture, or of tensor or pipeline parallel."""


def analytic_law(
    recipe: Recipe,
    inventory: Inventory,
    spec: ModelSpec,
    trained: Trainables,
    loop: Loop,
    *,
    device: str,
    largest_linear: int,
    batches: Batches = Batches(),
    layers_kept: int | None = None,
    has_loss: bool = True,
) -> Law:
    """The law of `recipe` on a dense decoder; other architectures get the same rows and a wider bar.

    A stage of a pipeline keeps `layers_kept` layers' activations (its layers times the micro-batches under way), and
    only the last one has the loss.
    """
    widths = stream_widths(recipe, loop)
    masked = is_flat(recipe) or batches.pads(recipe)
    layer = layer_bytes(recipe, inventory, spec, trained, widths, device, masked)
    dequantized = largest_linear * widths.w if recipe.is_quantized else 0
    dora = _dora_temporary(trained, widths) if recipe.use_dora else 0
    inside = functools.partial(_row, temporary=dequantized + dora)  # no layer is at work while the loss is
    boundary = {"BS": float(widths.e * (spec.hidden_size + _held_by_int8(recipe, spec)))}
    kept = boundary if recipe.gradient_checkpointing else layer.saved
    own = boundary if recipe.gradient_checkpointing else {}
    mask = _mask(recipe, widths, masked)
    others = added(_times(kept, (spec.num_hidden_layers if layers_kept is None else layers_kept) - 1), mask)
    held = _held_gradients(recipe, inventory)
    losses = _losses(recipe, spec, widths, loop, device, batches) if has_loss else ()
    rows = [_row("loss", added(others, kept, _final_norm(spec)), loss, {}, held=held, temporary=0) for loss in losses]
    for beside in (layer.in_mlp, layer.in_attention) if layer.in_attention else (layer.in_mlp,):
        rows.append(inside("last_layer_backward", added(others, layer.saved, own), {}, beside, held=held))
        rows.append(inside("first_layer_backward", added(layer.saved, own, mask), {}, beside, held={}))
    rows.append(Row("optimizer_step", {}, {}, holds_step_temporary=True))
    tile = TRL_TILE_TOKENS if loop.fused_loss else 0
    kept_error = ERROR_CHECKPOINTED if recipe.gradient_checkpointing else ERROR_KEPT
    return Law(
        tuple(rows),
        tile,
        "analytic",
        kept_error if is_dense(spec, inventory) else ERROR_OTHER,
        dict(inventory.versions),
    )


def _times(terms: dict[str, float], factor: float) -> dict[str, float]:
    return {name: factor * value for name, value in terms.items()}


def _row(
    moment: str,
    activations: dict[str, float],
    loss: dict[str, float],
    transient: dict[str, float],
    *,
    held: dict[str, float],
    temporary: int,
) -> Row:
    parts = {
        "activations": _phi(activations),
        "logits_and_loss": _phi(loss),
        "temporary": _phi(added(transient, {"1": temporary})),
    }
    return Row(moment, parts, held)


def _phi(terms: dict[str, float]) -> tuple[float, ...]:
    return tuple(float(terms.get(name, 0.0)) for name in PHI)


def is_dense(spec: ModelSpec, inventory: Inventory) -> bool:
    """Whether every layer is attention and one gated MLP, as the terms below assume."""
    return (
        spec.num_experts is None
        and bool(spec.intermediate_size)
        and inventory.class_name.endswith("CausalLM")
        and is_gated(inventory)
    )


def _held_gradients(recipe: Recipe, inventory: Inventory) -> dict[str, float]:
    """Share of the gradients alive before the layers' backward: all while they accumulate, else a trained head's."""
    if recipe.gradient_accumulation_steps > 1:
        return {}
    head = inventory.by_name.get(inventory.output_embedding or "")
    if head is None or recipe.has_adapters:
        return {"gradients": 0.0}
    return {"gradients": math.prod(head.shape("weight")) / inventory.total_parameters}


def _mask(recipe: Recipe, widths: Widths, masked: bool) -> dict[str, float]:
    """Eager attention adds a mask of numbers, one for all heads and layers; sdpa gets a boolean one where rows are
    padded or packed, and none for full rows; flash never gets one of pairs."""
    if recipe.attn_implementation == "eager":
        return {"BSS": float(widths.e)}
    return {"BSS": 1.0} if masked and recipe.attn_implementation == "sdpa" else {}


def _held_by_int8(recipe: Recipe, spec: ModelSpec) -> int:
    """Width of what LLM.int8 holds of a layer in spite of checkpointing: bitsandbytes keeps each projection's input as
    an attribute (autograd/_functions.py MatMul8bitLt.forward, `ctx.tensors`), where torch's non-reentrant checkpointing
    does not see it."""
    if (
        not recipe.is_quantized
        or recipe.quantization != "int8"
        or not recipe.gradient_checkpointing
        or recipe.use_reentrant
    ):
        return 0
    return 2 * spec.hidden_size + spec.num_attention_heads * spec.head_dim + active_width(spec)


def _dora_temporary(trained: Trainables, widths: Widths) -> int:
    """DoRA multiplies A and B out and norms the sum with the weight (peft/tuners/lora/dora.py get_lora_weight,
    get_weight_norm)."""
    return max(
        (widths.f * (g.in_features**2 + 3 * g.in_features * g.out_features) for g in trained.adapters), default=0
    )


def _final_norm(spec: ModelSpec) -> dict[str, float]:
    """The last norm saves its input in fp32 (its own copy where the stream is narrower) and a scale a token."""
    return {"BS": 4.0 * spec.hidden_size + 4}


def _losses(
    recipe: Recipe, spec: ModelSpec, widths: Widths, loop: Loop, device: str, batches: Batches
) -> list[dict[str, float]]:
    """Bytes of head and loss at the moments of its backward that can be the highest.

    TRL (kernels/chunked_logprob.py): one tile in the compute type, the gathered rows, their fp32 gradient and its cast,
    ten fp32 vectors; a trained head adds its fp32 gradient. Where some tokens have no label, the rows are those that
    do, and their gradient is then put back among all. Without Triton, on the CPU, `_backward_tile` holds 29 bytes a
    logit beside the tile (of which only the pages of real columns become resident), and `_addmm_fp32` then fp32 copies
    of tile and head. Otherwise torch's cross entropy: fp32 log-softmax, its gradient and the gradient before it (12
    bytes a logit), and the logits themselves while the loop keeps them.
    """
    V, h, e = spec.vocab_size, spec.hidden_size, widths.e
    if not loop.fused_loss:
        return [{"BS": float((12 + (e if loop.keeps_outputs else 0)) * V) + IDS_BYTES}]
    head = {"1": float((4 + widths.w) * V * h)} if not recipe.has_adapters else {}
    rows = added({"BS": (2.0 * e + 4) * h + 40 + IDS_BYTES}, head)
    if device != "cpu" and batches.trained_share < 1:
        gathered = added({"trained": (2.0 * e + 4) * h + 40, "BS": float(IDS_BYTES)}, head)
        return [
            added(gathered, {"tile": float(TRL_TILE_VOCABULARY * e)}),
            added({"trained": float(e * h), "BS": e * h + IDS_BYTES}, head),
        ]
    if device != "cpu":
        return [added(rows, {"tile": float(TRL_TILE_VOCABULARY * e)})]
    columns = min(V, TRL_TILE_VOCABULARY)
    copies = {"tile": (e + 4.0) * columns, "1": 4.0 * columns * h} if e < 4 else {}
    return [added(rows, {"tile": (e + 29.0) * columns}), added(rows, copies)]
