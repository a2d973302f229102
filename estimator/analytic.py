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
    """Bytes of one decoder layer. `saved`, `backward` are per token, `_r` per token and rank, `_ss` per B*S^2."""

    saved: float
    saved_r: float
    saved_ss: float
    backward: float
    backward_ss: float


def analytic_law(recipe: Recipe, inventory: Inventory, spec: ModelSpec, trained: Trainables, loop: Loop, device: str, hopper: bool, largest_linear: int) -> Law:
    """The law of `recipe` on a dense decoder; other architectures get the same rows and a wider bar."""
    widths = stream_widths(recipe, loop)
    layer = layer_bytes(recipe, inventory, spec, trained, widths)
    workspace = 2 * CUBLAS_WORKSPACE_BYTES["hopper" if hopper else "before"] if device == "cuda" else 0
    dequantized = largest_linear * widths.w if recipe.is_quantized else 0
    dora = _dora_temporary(trained, widths) if recipe.use_dora else 0
    make = functools.partial(_row, workspace=workspace, temporary=dequantized + dora)
    L, boundary = spec.num_hidden_layers, widths.e * spec.hidden_size
    kept = boundary if recipe.gradient_checkpointing else layer.saved
    kept_r, kept_ss = (0.0, 0.0) if recipe.gradient_checkpointing else (layer.saved_r, layer.saved_ss)
    accumulated = 1.0 if recipe.gradient_accumulation_steps > 1 else 0.0
    loss = _loss(recipe, inventory, spec, widths, loop, device)
    head = {"BS": L * kept + _final_norm(spec, widths), "BSr": L * kept_r, "BSS": L * kept_ss}
    inside = {"BS": layer.saved + boundary, "BSr": layer.saved_r, "BSS": layer.saved_ss}
    others = L - 1
    last = {"BS": others * kept + inside["BS"] + boundary, "BSr": others * kept_r + inside["BSr"], "BSS": others * kept_ss + inside["BSS"]}
    transient = {"BS": layer.backward, "BSS": layer.backward_ss}
    rows = (
        make("loss", head, loss, {}, held={"gradients": accumulated}),
        make("last_layer_backward", last, {}, transient, held={"gradients": accumulated}),
        make("first_layer_backward", inside, {}, transient, held={}),
        Row("optimizer_step", {"workspace": _phi({"1": workspace})}, {}, holds_step_temporary=True),
    )
    tile = TRL_TILE_TOKENS if loop.fused_loss else 0
    return Law(rows, tile, "analytic", DENSE_ERROR if is_dense(spec, inventory) else OTHER_ERROR, dict(inventory.versions))


def _row(moment: str, activations: dict[str, float], loss: dict[str, float], transient: dict[str, float], *, held: dict[str, float], workspace: int, temporary: int) -> Row:
    parts = {
        "activations": _phi(activations),
        "logits_and_loss": _phi(loss),
        "temporary": _phi(transient | {"1": temporary}),
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


def layer_bytes(recipe: Recipe, inventory: Inventory, spec: ModelSpec, trained: Trainables, widths: Widths) -> Layer:
    """What one layer saves for its backward, and what that backward holds beside it."""
    e, f = widths.e, widths.f
    h, a = spec.hidden_size, spec.num_attention_heads * spec.head_dim
    k, i = spec.num_key_value_heads * spec.head_dim, active_width(spec)
    full = not recipe.has_adapters
    norms = 2 * ((0 if e == 4 else 4 * h) + (e * h if e == 4 or full else 0) + 4)
    attention = e * (2 * a + 2 * k) + 4 * spec.num_attention_heads
    mlp = 3 * e * i if _is_gated(inventory) else 4 * e * i
    inputs = e * (2 * h + a + i) - e * h * 0 if full else 0
    lora, lora_r = _lora_saved(recipe, spec, trained, widths)
    scores = scores_back = 0.0
    if recipe.attn_implementation == "eager":
        # Softmax in fp32 is saved, and its copy in the stream's type; its backward holds gradient, product and result.
        scores = (4 if e == 4 else 4 + e) * spec.num_attention_heads
        scores_back = (12 if e == 4 else 4 + 4 + e) * spec.num_attention_heads - (0 if e == 4 else e * spec.num_attention_heads)
    mixed = f != e and recipe.has_adapters
    backward = max(3 * e * i, (f + e) * i + 2 * f * h if mixed else 2 * e * i) + e * h
    return Layer(norms + attention + mlp + inputs + lora, lora_r, scores, backward, scores_back)


def active_width(spec: ModelSpec) -> int:
    """Width of the MLP a token passes: experts per token times their width where the layer is routed."""
    if spec.num_experts and spec.num_experts_per_tok:
        return spec.num_experts_per_tok * (spec.moe_intermediate_size or spec.intermediate_size or 4 * spec.hidden_size)
    return spec.intermediate_size or 4 * spec.hidden_size


def _lora_saved(recipe: Recipe, spec: ModelSpec, trained: Trainables, widths: Widths) -> tuple[float, float]:
    """Per layer: inputs of A (a copy in the adapters' type for each target, or one shared where types agree) and outputs of A.

    peft/tuners/lora/layer.py Linear.forward: `x = self._cast_input_dtype(x, lora_A.weight.dtype)` for each adapter.
    """
    inputs = outputs = 0.0
    shared: set[tuple[int, bool]] = set()
    for group in trained.adapters:
        per_layer = group.count / spec.num_hidden_layers
        if per_layer < 0.5:
            continue  # the head or the embedding: not part of a layer
        outputs += widths.f * per_layer * (group.r / recipe.r if recipe.r else 1.0) * group.experts
        key = (group.in_features, group.leaf in ("o_proj", "down_proj", "c_proj"))
        if recipe.lora_dropout > 0:
            inputs += (widths.f + 1) * group.in_features * per_layer
        elif widths.f != widths.e or key not in shared:
            inputs += widths.f * group.in_features * per_layer
        shared.add(key)
        if recipe.use_dora:
            inputs += (widths.e + widths.f) * group.out_features * per_layer
    return inputs, outputs


def _dora_temporary(trained: Trainables, widths: Widths) -> int:
    """DoRA multiplies A and B out and norms the sum with the weight (peft/tuners/lora/dora.py get_lora_weight, get_weight_norm)."""
    return max((widths.f * (g.in_features**2 + 3 * g.in_features * g.out_features) for g in trained.adapters), default=0)


def _final_norm(spec: ModelSpec, widths: Widths) -> float:
    """The last norm saves its input in fp32 (its own copy where the stream is narrower) and a scale a token."""
    return 4 * spec.hidden_size + 4


def _loss(recipe: Recipe, inventory: Inventory, spec: ModelSpec, widths: Widths, loop: Loop, device: str) -> dict[str, float]:
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
