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
from estimator.batches import Batches, is_flat
from estimator.inventory import Inventory
from estimator.law import PHI, TRL_TILE_TOKENS, Law, Loop, Row
from estimator.recipe import Recipe
from estimator.spec import ModelSpec
from estimator.units import width_bytes

TRL_TILE_VOCABULARY = 32768
"""trl/trainer/utils.py _CHUNKED_LOGPROB_CHUNK_SIZE; the buffer has this width even for a smaller vocabulary."""
IDS_BYTES = 5 * 8
"""int64 a token: ids, labels, shifted labels, mask, positions."""
ERROR_CHECKPOINTED, ERROR_KEPT, ERROR_OTHER = 0.15, 0.3, 0.5
"""Half width of the error bar on the dynamic bytes. The first two hold for every published row of a dense decoder that says
what it ran (tests/estimator/test_measured.py; the worst, -12 and -28 % of the dynamic bytes, are not explained); the last is a judgement: no
published row is of another architecture, or of tensor or pipeline parallel."""


@dataclass(frozen=True)
class Widths:
    """Bytes an element of: weights, stream of activations, linear outputs, adapters, softmax."""

    w: int
    e: int
    f: int


@dataclass(frozen=True)
class Layer:
    """Bytes of one decoder layer as coefficients of PHI by name: `BS` a token, `BSr` a token and rank, `BSS` a score, `1`.

    `attention` and `mlp` are what each half saves for its backward; `in_mlp` and `in_attention` what the backward of
    each half holds beside that, at its worst.
    """

    attention: dict[str, float]
    mlp: dict[str, float]
    in_mlp: dict[str, float]
    in_attention: dict[str, float]

    @property
    def saved(self) -> dict[str, float]:
        return _sum(self.attention, self.mlp)


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

    A stage of a pipeline keeps `layers_kept` layers' activations (its layers times the micro-batches under way), and only the
    last one has the loss.
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
    others = _sum(_times(kept, (spec.num_hidden_layers if layers_kept is None else layers_kept) - 1), mask)
    held = _held_gradients(recipe, inventory)
    losses = _losses(recipe, spec, widths, loop, device, batches) if has_loss else ()
    rows = [_row("loss", _sum(others, kept, _final_norm(spec)), loss, {}, held=held, temporary=0) for loss in losses]
    for beside in (layer.in_mlp, layer.in_attention) if layer.in_attention else (layer.in_mlp,):
        rows.append(inside("last_layer_backward", _sum(others, layer.saved, own), {}, beside, held=held))
        rows.append(inside("first_layer_backward", _sum(layer.saved, own, mask), {}, beside, held={}))
    rows.append(Row("optimizer_step", {}, {}, holds_step_temporary=True))
    tile = TRL_TILE_TOKENS if loop.fused_loss else 0
    kept_error = ERROR_CHECKPOINTED if recipe.gradient_checkpointing else ERROR_KEPT
    return Law(tuple(rows), tile, "analytic", kept_error if is_dense(spec, inventory) else ERROR_OTHER, dict(inventory.versions))


def _sum(*terms: dict[str, float]) -> dict[str, float]:
    names = {name for term in terms for name in term}
    return {name: sum(term.get(name, 0.0) for term in terms) for name in names}


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
        "temporary": _phi(_sum(transient, {"1": temporary})),
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
    return Widths(w, 4 if recipe.is_quantized and loop.upcasts != "none" else w, width_bytes(adapter_dtype(recipe, loop)))


def adapter_dtype(recipe: Recipe, loop: Loop) -> str:
    """PEFT makes adapters fp32 (`autocast_adapter_dtype`), or of the weights' type, unless that is an integer; TRL casts
    those on quantized weights to bf16, which `program.keep_adapters_in_float32` undoes for a recipe in float32."""
    if recipe.is_quantized:
        return "bfloat16" if loop.half_adapters and recipe.dtype != "float32" else "float32"
    return "float32" if recipe.autocast_adapter_dtype else recipe.dtype


def _held_gradients(recipe: Recipe, inventory: Inventory) -> dict[str, float]:
    """Share of the gradients alive before the layers' backward: all while they accumulate, else a trained head's."""
    if recipe.gradient_accumulation_steps > 1:
        return {}
    head = inventory.by_name.get(inventory.output_embedding or "")
    trains = head is not None and not recipe.has_adapters
    return {"gradients": head.parameter("weight").numel / inventory.total_parameters if trains else 0.0}


def layer_bytes(
    recipe: Recipe, inventory: Inventory, spec: ModelSpec, trained: Trainables, widths: Widths, device: str, masked: bool = False
) -> Layer:
    """What one layer saves for its backward, and what that backward holds beside it.

    The saved part equals what autograd saves, byte for byte, on small models (tests/estimator/test_analytic.py).
    """
    norm = 4.0 * spec.hidden_size + 4  # x in fp32 and its scale (LlamaRMSNorm.forward)
    tokens, scores = _attention_saved(recipe, spec, widths, masked)
    mlp = (3 if _is_gated(inventory) else 4) * widths.e * active_width(spec)  # gate, its activation, up
    if recipe.has_adapters:
        lora = {part: _lora_saved(recipe, spec, trained, widths, device, part) for part in PARTS}
    else:
        # A trained weight saves its input, a trained norm what its scale multiplies; o_proj's input is saved already.
        norms = 2.0 * widths.e * spec.hidden_size
        lora = {"attention": {"BS": norms}, "mlp": {"BS": norms + widths.e * active_width(spec)}}
    attention = _sum({"BS": norm + tokens, "BSS": scores}, lora["attention"])
    beside = (_in_mlp(recipe, spec, trained, widths), _in_attention(recipe, spec, widths))
    return Layer(attention, _sum({"BS": norm + mlp}, lora["mlp"]), *beside)


def _attention_saved(recipe: Recipe, spec: ModelSpec, widths: Widths, masked: bool) -> tuple[float, float]:
    """(bytes a token, bytes a score). Fused kernels save q, k, v, the output and a log-sum-exp a head; with a mask, sdpa saves
    k and v repeated to the query heads, and the mask in numbers (`estimator.attention`).

    Eager attention repeats k and v to the query heads and saves the scores: softmax in fp32 and its copy in the stream's
    type where that is narrower (transformers modeling_llama eager_attention_forward).
    """
    a, k = spec.num_attention_heads * spec.head_dim, spec.num_key_value_heads * spec.head_dim
    if recipe.attn_implementation == "eager":
        return widths.e * 3 * a, (4 if widths.e == 4 else 4 + widths.e) * spec.num_attention_heads
    if masked and recipe.attn_implementation == "sdpa":
        return widths.e * 4 * a + 4 * spec.num_attention_heads, float(widths.e)
    return widths.e * (2 * a + 2 * k) + 4 * spec.num_attention_heads, 0.0


def _mask(recipe: Recipe, widths: Widths, masked: bool) -> dict[str, float]:
    """Eager attention adds a mask of numbers, one for all heads and layers; sdpa gets a boolean one where rows are padded or
    packed, and none for full rows; flash never gets one of pairs."""
    if recipe.attn_implementation == "eager":
        return {"BSS": float(widths.e)}
    return {"BSS": 1.0} if masked and recipe.attn_implementation == "sdpa" else {}


def _in_mlp(recipe: Recipe, spec: ModelSpec, trained: Trainables, widths: Widths) -> dict[str, float]:
    """The worst moment of the MLP's backward beside what is saved, and the gradient of the layer's output.

    At the product: its gradient and those of gate and up, when the product itself (saved only if `down_proj` trains) is
    gone. With an adapter of another type on `down_proj`, its input's gradient comes first, in the adapter's type.
    """
    e, f, i, h = widths.e, widths.f, active_width(spec), spec.hidden_size
    adapted = any(_input_of(group.leaf) == "product" for group in trained.adapters)
    if recipe.has_adapters and not adapted:
        return {"BS": 3.0 * e * i + e * h}
    if recipe.has_adapters and f != e:
        return {"BS": f * i + (e + 2.0 * f) * h}
    return {"BS": 2.0 * e * i + e * h}


def _in_attention(recipe: Recipe, spec: ModelSpec, widths: Widths) -> dict[str, float]:
    """The worst moment of eager attention's backward; fused kernels hold less than the MLP does, and give nothing here.

    Gradient, product and result of the softmax (ATen softmax_backward_cuda_out holds grad * output), its low-precision
    copy being gone. Whether what the MLP saved is gone too differs between versions of torch; it is counted as held.
    """
    if recipe.attn_implementation != "eager":
        return {}
    scores = (12.0 if widths.e == 4 else 8.0) * spec.num_attention_heads
    return {"BS": float(widths.e * spec.hidden_size), "BSS": scores}


def _held_by_int8(recipe: Recipe, spec: ModelSpec) -> int:
    """Width of what LLM.int8 holds of a layer in spite of checkpointing: bitsandbytes keeps each projection's input as an attribute
    (autograd/_functions.py MatMul8bitLt.forward, `ctx.tensors`), where torch's non-reentrant checkpointing does not see it."""
    if not recipe.is_quantized or recipe.quantization != "int8" or not recipe.gradient_checkpointing or recipe.use_reentrant:
        return 0
    return 2 * spec.hidden_size + spec.num_attention_heads * spec.head_dim + active_width(spec)


def active_width(spec: ModelSpec) -> int:
    """Width of the MLP a token passes: experts per token times their width where the layer is routed."""
    if spec.num_experts and spec.num_experts_per_tok:
        return spec.num_experts_per_tok * (spec.moe_intermediate_size or spec.intermediate_size or 4 * spec.hidden_size)
    return spec.intermediate_size or 4 * spec.hidden_size


def _lora_saved(
    recipe: Recipe, spec: ModelSpec, trained: Trainables, widths: Widths, device: str, part: str
) -> dict[str, float]:
    """Inputs and outputs of the adapters' A in one half of a layer.

    peft/tuners/lora/layer.py Linear.forward casts the input for each adapter (`_cast_input_dtype`): a copy for each
    where the types differ, one shared tensor where they agree. Dropout saves its output and a mask instead (a byte on
    CUDA, a number on the CPU). DoRA saves both results, and what A and B make of an identity matrix (dora.py).
    """
    total: dict[str, float] = {}
    shared = {"attention output"} if recipe.attn_implementation != "eager" else set()
    for group in trained.adapters:
        per_layer = group.count / spec.num_hidden_layers
        tensor = _input_of(group.leaf)
        if per_layer < 0.5 or group.kind == "Embedding" or tensor not in PARTS[part]:
            continue  # the other half; or the head or the embedding, which are in no layer
        n, out, f = group.in_features, group.out_features, widths.f
        copies = 0.0 if f == widths.e and tensor in shared else per_layer
        inputs = per_layer * (f + (f if device == "cpu" else 1)) * n if recipe.lora_dropout > 0 else copies * f * n
        shared.add(tensor)
        rank = per_layer * group.experts * group.r / recipe.r
        terms = {"BS": inputs, "BSr": rank * f}
        if recipe.use_dora:
            terms = _sum(terms, {"BS": per_layer * (widths.e + f) * out, "1": per_layer * f * (n * n + 3 * out), "r": rank * f * n})
        total = _sum(total, terms)
    return total


PARTS = {"attention": ("attention input", "attention output"), "mlp": ("mlp input", "product")}


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


def _losses(recipe: Recipe, spec: ModelSpec, widths: Widths, loop: Loop, device: str, batches: Batches) -> list[dict[str, float]]:
    """Bytes of head and loss at the moments of its backward that can be the highest.

    TRL (kernels/chunked_logprob.py): one tile in the compute type, the gathered rows, their fp32 gradient and its cast,
    ten fp32 vectors; a trained head adds its fp32 gradient. Where some tokens have no label, the rows are those that do, and
    their gradient is then put back among all. Without Triton, on the CPU, `_backward_tile` holds 29 bytes
    a logit beside the tile (of which only the pages of real columns become resident), and `_addmm_fp32` then fp32 copies
    of tile and head. Otherwise torch's cross entropy: fp32 log-softmax, its gradient and the gradient before it (12
    bytes a logit), and the logits themselves while the loop keeps them.
    """
    V, h, e = spec.vocab_size, spec.hidden_size, widths.e
    if not loop.fused_loss:
        return [{"BS": float((12 + (e if loop.keeps_outputs else 0)) * V) + IDS_BYTES}]
    head = {"1": float((4 + widths.w) * V * h)} if not recipe.has_adapters else {}
    rows = _sum({"BS": (2.0 * e + 4) * h + 40 + IDS_BYTES}, head)
    if device != "cpu" and batches.trained_share < 1:
        gathered = _sum({"trained": (2.0 * e + 4) * h + 40, "BS": float(IDS_BYTES)}, head)
        return [_sum(gathered, {"tile": float(TRL_TILE_VOCABULARY * e)}), _sum({"trained": float(e * h), "BS": e * h + IDS_BYTES}, head)]
    if device != "cpu":
        return [_sum(rows, {"tile": float(TRL_TILE_VOCABULARY * e)})]
    columns = min(V, TRL_TILE_VOCABULARY)
    copies = {"tile": (e + 4.0) * columns, "1": 4.0 * columns * h} if e < 4 else {}
    return [_sum(rows, {"tile": (e + 29.0) * columns}), _sum(rows, copies)]
