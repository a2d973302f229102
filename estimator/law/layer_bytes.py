"""What one layer of a dense decoder saves for its backward, and what that backward holds beside it, written down by
hand.

Each term names what autograd saves or a kernel allocates, in bytes per token (T = B*S), with its source in the code
that allocates it. No constant is fitted. Widths: `w` weights' type, `e` type of the activations between layers, `f`
adapters' type. `h` hidden, `a` query width (heads x head_dim), `k` key width, `i` intermediate.
"""

from __future__ import annotations

from dataclasses import dataclass

from estimator.adapters.adapters import Trainables
from estimator.core.units import width_bytes
from estimator.model.inventory import Inventory
from estimator.model.spec import ModelSpec
from estimator.recipe.loop import Loop
from estimator.recipe.recipe import Recipe


@dataclass(frozen=True)
class Widths:
    """Bytes an element of: weights, stream of activations, linear outputs, adapters, softmax."""

    w: int
    e: int
    f: int


@dataclass(frozen=True)
class Layer:
    """Bytes of one decoder layer as coefficients of PHI by name: `BS` a token, `BSr` a token and rank, `BSS` a score,
    `1`.

    `attention` and `mlp` are what each half saves for its backward; `in_mlp` and `in_attention` what the backward of
    each half holds beside that, at its worst.
    """

    attention: dict[str, float]
    mlp: dict[str, float]
    in_mlp: dict[str, float]
    in_attention: dict[str, float]

    @property
    def saved(self) -> dict[str, float]:
        return added(self.attention, self.mlp)


def added(*terms: dict[str, float]) -> dict[str, float]:
    names = {name for term in terms for name in term}
    return {name: sum(term.get(name, 0.0) for term in terms) for name in names}


def is_gated(inventory: Inventory) -> bool:
    leaves = {name.rpartition(".")[2] for group in inventory.groups for name in group.names[:1]}
    return bool(leaves & {"gate_proj", "gate_up_proj", "w1"})


def stream_widths(recipe: Recipe, loop: Loop) -> Widths:
    """`Linear4bit` returns its input's type: after an upcast of the norms the whole stream is fp32 (bitsandbytes
    nn/modules.py)."""
    w = width_bytes(recipe.dtype)
    return Widths(
        w, 4 if recipe.is_quantized and loop.upcasts != "none" else w, width_bytes(adapter_dtype(recipe, loop))
    )


def adapter_dtype(recipe: Recipe, loop: Loop) -> str:
    """PEFT makes adapters fp32 (`autocast_adapter_dtype`), or of the weights' type, unless that is an integer; TRL
    casts those on quantized weights to bf16, which `program.keep_adapters_in_float32` undoes for a recipe in
    float32."""
    if recipe.is_quantized:
        return "bfloat16" if loop.half_adapters and recipe.dtype != "float32" else "float32"
    return "float32" if recipe.autocast_adapter_dtype else recipe.dtype


def layer_bytes(
    recipe: Recipe,
    inventory: Inventory,
    spec: ModelSpec,
    trained: Trainables,
    widths: Widths,
    device: str,
    masked: bool = False,
) -> Layer:
    """What one layer saves for its backward, and what that backward holds beside it.

    The saved part equals what autograd saves, byte for byte, on small models (tests/estimator/test_analytic.py).
    """
    norm = 4.0 * spec.hidden_size + 4  # x in fp32 and its scale (LlamaRMSNorm.forward)
    tokens, scores = _attention_saved(recipe, spec, widths, masked)
    mlp = (3 if is_gated(inventory) else 4) * widths.e * active_width(spec)  # gate, its activation, up
    if recipe.has_adapters:
        lora = {part: _lora_saved(recipe, spec, trained, widths, device, part) for part in PARTS}
    else:
        # A trained weight saves its input, a trained norm what its scale multiplies; o_proj's input is saved already.
        norms = 2.0 * widths.e * spec.hidden_size
        lora = {"attention": {"BS": norms}, "mlp": {"BS": norms + widths.e * active_width(spec)}}
    attention = added({"BS": norm + tokens, "BSS": scores}, lora["attention"])
    beside = (_in_mlp(recipe, spec, trained, widths), _in_attention(recipe, spec, widths))
    return Layer(attention, added({"BS": norm + mlp}, lora["mlp"]), *beside)


def _attention_saved(recipe: Recipe, spec: ModelSpec, widths: Widths, masked: bool) -> tuple[float, float]:
    """(bytes a token, bytes a score). Fused kernels save q, k, v, the output and a log-sum-exp a head; with a mask,
    sdpa saves k and v repeated to the query heads, and the mask in numbers (`estimator.trace.attention`).

    Eager attention repeats k and v to the query heads and saves the scores: softmax in fp32 and its copy in the
    stream's type where that is narrower (transformers modeling_llama eager_attention_forward).
    """
    a, k = spec.num_attention_heads * spec.head_dim, spec.num_key_value_heads * spec.head_dim
    if recipe.attn_implementation == "eager":
        return widths.e * 3 * a, (4 if widths.e == 4 else 4 + widths.e) * spec.num_attention_heads
    if masked and recipe.attn_implementation == "sdpa":
        return widths.e * 4 * a + 4 * spec.num_attention_heads, float(widths.e)
    return widths.e * (2 * a + 2 * k) + 4 * spec.num_attention_heads, 0.0


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
            terms = added(
                terms,
                {"BS": per_layer * (widths.e + f) * out, "1": per_layer * f * (n * n + 3 * out), "r": rank * f * n},
            )
        total = added(total, terms)
    return total


PARTS = {"attention": ("attention input", "attention output"), "mlp": ("mlp input", "product")}


def _input_of(leaf: str) -> str:
    """Which tensor of the layer a projection reads."""
    if leaf in ("o_proj", "out_proj", "dense", "wo"):
        return "attention output"
    if leaf in ("down_proj", "fc2", "w2", "dense_4h_to_h", "c_proj"):
        return "product"
    return (
        "mlp input"
        if leaf in ("gate_proj", "up_proj", "gate_up_proj", "fc1", "w1", "w3", "c_fc", "dense_h_to_4h")
        else "attention input"
    )
