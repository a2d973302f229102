"""Rows of the memory law written down by hand for dense decoders, until a traced law is at hand.

Each term names what autograd saves or a kernel allocates, in bytes per token (T = B*S), with its source in the code
that allocates it. No constant is fitted. Widths: `w` weights' type, `e` type of the activations between layers, `f`
adapters' type. `h` hidden, `a` query width (heads x head_dim), `k` key width, `i` intermediate, `V` vocabulary.

What is left out, and why the bar is wide: layers that are not attention + MLP (state space, convolutions), routing of
experts (counted as their active share), attention masks of padded batches, composite activation functions.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from estimator.adapters import Trainables
from estimator.inventory import Inventory
from estimator.law import PHI, Law, Loop, Row
from estimator.recipe import Recipe
from estimator.spec import ModelSpec
from estimator.units import width_bytes

TRL_TILE_TOKENS = 4096
"""trl/kernels/chunked_logprob.py TOKEN_CHUNK_SIZE."""
TRL_TILE_VOCABULARY = 32768
"""trl/trainer/utils.py _CHUNKED_LOGPROB_CHUNK_SIZE; the buffer has this width even for a smaller vocabulary."""
CUBLAS_WORKSPACE_BYTES = {"hopper": 32 * 2**20, "before": 8_519_680}
"""Per handle and stream (PyTorch CUDABlas getChosenWorkspaceSize); two: the forward thread's and autograd's."""
IDS_BYTES = 5 * 8
"""int64 a token: ids, labels, shifted labels, mask, positions."""
DENSE_ERROR, OTHER_ERROR = 0.15, 0.5
"""Half width of the error bar on the dynamic bytes: the worst row of each kind in tests/estimator/measured.py, rounded up."""


@dataclass(frozen=True)
class Widths:
    """Bytes an element of: weights, stream of activations, linear outputs, adapters, softmax."""

    w: int
    e: int
    f: int


@dataclass(frozen=True)
class Layer:
    """Bytes of one decoder layer: saved for its backward, and held beside that while the backward runs.

    `saved` and `backward` are coefficients of PHI by name (`BS` a token, `BSr` a token and rank, `BSS` a score, `1`).
    """

    saved: dict[str, float]
    backward: dict[str, float]


def analytic_law(recipe: Recipe, inventory: Inventory, spec: ModelSpec, trained: Trainables, loop: Loop, device: str, hopper: bool, largest_linear: int) -> Law:
    """The law of `recipe` on a dense decoder; other architectures get the same rows and a wider bar."""
    widths = stream_widths(recipe, loop)
    layer = layer_bytes(recipe, inventory, spec, trained, widths, device)
    workspace = 2 * CUBLAS_WORKSPACE_BYTES["hopper" if hopper else "before"] if device == "cuda" else 0
    dequantized = largest_linear * widths.w if recipe.is_quantized else 0
    dora = _dora_temporary(trained, widths) if recipe.use_dora else 0
    make = functools.partial(_row, workspace=workspace, temporary=dequantized + dora)
    boundary = {"BS": float(widths.e * spec.hidden_size)}
    kept = boundary if recipe.gradient_checkpointing else layer.saved
    accumulated = {"gradients": 1.0 if recipe.gradient_accumulation_steps > 1 else 0.0}
    loss = _loss(recipe, spec, widths, loop)
    rows = (
        make("loss", _sum(_times(kept, spec.num_hidden_layers), _final_norm(spec)), loss, {}, held=accumulated),
        make("last_layer_backward", _sum(_times(kept, spec.num_hidden_layers - 1), layer.saved, boundary), {}, layer.backward, held=accumulated),
        make("first_layer_backward", _sum(layer.saved, boundary), {}, layer.backward, held={}),
        Row("optimizer_step", {"workspace": _phi({"1": workspace})}, {}, holds_step_temporary=True),
    )
    tile = TRL_TILE_TOKENS if loop.fused_loss else 0
    return Law(rows, tile, "analytic", DENSE_ERROR if is_dense(spec, inventory) else OTHER_ERROR, dict(inventory.versions))


def _sum(*terms: dict[str, float]) -> dict[str, float]:
    names = {name for term in terms for name in term}
    return {name: sum(term.get(name, 0.0) for term in terms) for name in names}


def _times(terms: dict[str, float], factor: float) -> dict[str, float]:
    return {name: factor * value for name, value in terms.items()}


def _row(moment: str, activations: dict[str, float], loss: dict[str, float], transient: dict[str, float], *, held: dict[str, float], workspace: int, temporary: int) -> Row:
    parts = {
        "activations": _phi(activations),
        "logits_and_loss": _phi(loss),
        "temporary": _phi(_sum(transient, {"1": temporary})),
        "workspace": _phi({"1": workspace}),
    }
    return Row(moment, parts, held)


def _phi(terms: dict[str, float]) -> tuple[float, ...]:
    return tuple(float(terms.get(name, 0.0)) for name in PHI)


def is_dense(spec: ModelSpec, inventory: Inventory) -> bool:
    """Whether every layer is attention and one gated MLP, as the terms below assume."""
    return spec.num_experts is None and bool(spec.intermediate_size) and inventory.class_name.endswith("CausalLM") and _is_gated(inventory)


def _is_gated(inventory: Inventory) -> bool:
    leaves = {name.rpartition(".")[2] for group in inventory.groups for name in group.names[:1]}
    return bool(leaves & {"gate_proj", "gate_up_proj", "w1"})


def stream_widths(recipe: Recipe, loop: Loop) -> Widths:
    """`Linear4bit` returns its input's type: after an upcast of the norms the whole stream is fp32 (bitsandbytes nn/modules.py)."""
    w = width_bytes(recipe.dtype)
    return Widths(w, 4 if recipe.is_quantized and loop.upcasts else w, width_bytes(adapter_dtype(recipe, loop)))


def adapter_dtype(recipe: Recipe, loop: Loop) -> str:
    """PEFT makes adapters fp32 (`autocast_adapter_dtype`); TRL casts those on quantized weights to bf16."""
    return "bfloat16" if recipe.is_quantized and loop.half_adapters else "float32"


def layer_bytes(recipe: Recipe, inventory: Inventory, spec: ModelSpec, trained: Trainables, widths: Widths, device: str) -> Layer:
    """What one layer saves for its backward, and what that backward holds beside it.

    The saved part equals what autograd saves, byte for byte, on small models (tests/estimator/test_analytic.py).
    """
    norms = 2 * (4 * spec.hidden_size + 4)  # x in fp32 and its scale (LlamaRMSNorm.forward)
    attention, scores = _attention_saved(recipe, spec, widths)
    mlp = (3 if _is_gated(inventory) else 4) * widths.e * active_width(spec)  # gate, its activation, up
    own = _full_saved(spec, widths) if not recipe.has_adapters else _lora_saved(recipe, spec, trained, widths, device)
    saved = _sum({"BS": norms + attention + mlp, "BSS": scores}, own)
    return Layer(saved, _backward(recipe, spec, widths))


def _attention_saved(recipe: Recipe, spec: ModelSpec, widths: Widths) -> tuple[float, float]:
    """(bytes a token, bytes a score). Fused kernels save q, k, v, the output and a log-sum-exp a head.

    Eager attention repeats k and v to the query heads and saves the scores: softmax in fp32 and its copy in the stream's
    type where that is narrower (transformers modeling_llama eager_attention_forward).
    """
    a, k = spec.num_attention_heads * spec.head_dim, spec.num_key_value_heads * spec.head_dim
    if recipe.attn_implementation == "eager":
        return widths.e * 3 * a, (4 if widths.e == 4 else 4 + widths.e) * spec.num_attention_heads
    return widths.e * (2 * a + 2 * k) + 4 * spec.num_attention_heads, 0.0


def _full_saved(spec: ModelSpec, widths: Widths) -> dict[str, float]:
    """Trained weights save their inputs: both norms' outputs (and what their scales multiply) and the product in the MLP.

    The output projection's input is the attention's output, saved already.
    """
    return {"BS": widths.e * (4 * spec.hidden_size + active_width(spec))}


def _backward(recipe: Recipe, spec: ModelSpec, widths: Widths) -> dict[str, float]:
    """Gradients alive at once: in the MLP, those of product, gate and up, or of an adapter's input on their way down;
    in eager attention, gradient, product and result of the softmax (ATen softmax_backward_cuda holds grad * output)."""
    e, f, i = widths.e, widths.f, active_width(spec)
    mixed = f != e and recipe.has_adapters
    mlp = max(3 * e * i, (f + e) * i + 2 * f * spec.hidden_size if mixed else 2 * e * i) + e * spec.hidden_size
    scores = (12 if e == 4 else 8) * spec.num_attention_heads if recipe.attn_implementation == "eager" else 0.0
    return {"BS": mlp, "BSS": scores}


def active_width(spec: ModelSpec) -> int:
    """Width of the MLP a token passes: experts per token times their width where the layer is routed."""
    if spec.num_experts and spec.num_experts_per_tok:
        return spec.num_experts_per_tok * (spec.moe_intermediate_size or spec.intermediate_size or 4 * spec.hidden_size)
    return spec.intermediate_size or 4 * spec.hidden_size


def _lora_saved(recipe: Recipe, spec: ModelSpec, trained: Trainables, widths: Widths, device: str) -> dict[str, float]:
    """Inputs and outputs of the adapters' A in one layer.

    peft/tuners/lora/layer.py Linear.forward casts the input for each adapter (`_cast_input_dtype`): a copy for each
    where the types differ, one shared tensor where they agree. Dropout saves its output and a mask instead (a byte on
    CUDA, a number on the CPU). DoRA saves both results, and what A and B make of an identity matrix (dora.py).
    """
    total: dict[str, float] = {}
    shared = {"attention output"} if recipe.attn_implementation != "eager" else set()
    for group in trained.adapters:
        per_layer = group.count / spec.num_hidden_layers
        if per_layer < 0.5 or group.kind == "Embedding":
            continue  # the head or the embedding: not part of a layer
        n, out, f = group.in_features, group.out_features, widths.f
        tensor = _input_of(group.leaf)
        copies = 0.0 if f == widths.e and tensor in shared else per_layer
        inputs = per_layer * (f + (f if device == "cpu" else 1)) * n if recipe.lora_dropout > 0 else copies * f * n
        shared.add(tensor)
        rank = per_layer * group.experts * group.r / recipe.r
        terms = {"BS": inputs, "BSr": rank * f}
        if recipe.use_dora:
            terms = _sum(terms, {"BS": per_layer * (widths.e + f) * out, "1": per_layer * f * (n * n + 3 * out), "r": rank * f * n})
        total = _sum(total, terms)
    return total


def _input_of(leaf: str) -> str:
    """Which tensor of the layer a projection reads."""
    if leaf in ("o_proj", "out_proj", "dense", "wo"):
        return "attention output"
    if leaf in ("down_proj", "fc2", "w2", "dense_4h_to_h", "c_proj"):
        return "product"
    return "mlp input" if leaf in ("gate_proj", "up_proj", "gate_up_proj", "fc1", "w1", "w3", "c_fc", "dense_h_to_4h") else "attention input"


def _dora_temporary(trained: Trainables, widths: Widths) -> int:
    """DoRA multiplies A and B out and norms the sum with the weight (peft/tuners/lora/dora.py get_lora_weight, get_weight_norm)."""
    return max((widths.f * (g.in_features**2 + 3 * g.in_features * g.out_features) for g in trained.adapters), default=0)


def _final_norm(spec: ModelSpec) -> dict[str, float]:
    """The last norm saves its input in fp32 (its own copy where the stream is narrower) and a scale a token."""
    return {"BS": 4.0 * spec.hidden_size + 4}


def _loss(recipe: Recipe, spec: ModelSpec, widths: Widths, loop: Loop) -> dict[str, float]:
    """Bytes of head and loss at their peak, in the backward of the loss.

    TRL (kernels/chunked_logprob.py): one tile in the compute type, the gathered rows, their fp32 gradient and its cast,
    ten fp32 vectors; a trained head adds its fp32 gradient. Otherwise torch's cross entropy: fp32 log-softmax, its
    gradient and the gradient before it (12 bytes a logit), and the logits themselves while the loop keeps them.
    """
    V, h = spec.vocab_size, spec.hidden_size
    if loop.fused_loss:
        terms = {"tile": float(TRL_TILE_VOCABULARY * widths.e), "BS": (2 * widths.e + 4) * h + 40.0 + IDS_BYTES}
        if not recipe.has_adapters:
            terms["1"] = float((4 + widths.w) * V * h)
        return terms
    logits = widths.e if loop.keeps_outputs else 0
    return {"BS": float((12 + logits) * V) + IDS_BYTES}
