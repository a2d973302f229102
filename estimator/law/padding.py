"""What it takes that the rows of a batch differ in length: sdpa then gets a mask. No torch.

Transformers makes one boolean mask of every pair of tokens for all layers; each layer's sdpa makes numbers of it, and
runs the memory-efficient kernel on k and v repeated to the query heads (`estimator.trace.attention`, with the sources).
"""

from __future__ import annotations

from dataclasses import replace

from estimator.core.units import width_bytes
from estimator.hardware.platforms import Platform
from estimator.law.law import PHI, Law
from estimator.model.spec import ModelSpec
from estimator.recipe.batches import is_flat
from estimator.recipe.recipe import Recipe

ERROR_PADDED = 0.03
"""Of a traced law of full rows with the masks added, against one traced with them (tests/estimator/test_batches.py)."""


def adds_masks(recipe: Recipe, spec: ModelSpec, platform: Platform) -> bool:
    """Whether padding adds to what full rows take: eager attention has a mask anyway, flash none of pairs, and where
    full rows fall to the math path, which keeps every score, padded ones take less."""
    grouped = spec.num_key_value_heads < spec.num_attention_heads
    return recipe.attn_implementation == "sdpa" and platform.sdpa(recipe.dtype, grouped, spec.head_dim) != "math"


def padding_bytes(recipe: Recipe, spec: ModelSpec, platform: Platform) -> int:
    """What sdpa takes more where the rows of a batch differ in length, at the most.

    B S^2 (1 + L w) + B S L w 2 (heads - kv heads) head_dim, with L layers at work at once and w bytes an element
    """
    rows, length = recipe.per_device_train_batch_size, recipe.max_length
    if rows == 1 or is_flat(recipe) or not adds_masks(recipe, spec, platform):
        return 0
    more = _padding(recipe, spec, 1 if recipe.gradient_checkpointing else spec.num_hidden_layers)
    return round(rows * length * (more["BSS"] * length + more["BS"]))


def _padding(recipe: Recipe, spec: ModelSpec, layers: int) -> dict[str, float]:
    """A boolean mask for all; a mask of numbers, and k and v repeated to the query heads, for each of `layers` at
    work."""
    width = width_bytes(recipe.dtype)
    return {
        "BSS": 1.0 + layers * width,
        "BS": layers * width * 2.0 * (spec.num_attention_heads - spec.num_key_value_heads) * spec.head_dim,
    }


def with_padding(law: Law, recipe: Recipe, spec: ModelSpec) -> Law:
    """The law of padded rows from that of full ones: at each moment the masks of the layers whose tensors are there.

    A moment at which a layer's masks are gone already counts them still: never less than a trace of padded rows says.
    """
    whole = 1 if recipe.gradient_checkpointing else spec.num_hidden_layers
    layers = {
        "forward": whole,
        "loss": 0 if recipe.gradient_checkpointing else whole,
        "last_layer_backward": whole,
        "first_layer_backward": 1,
    }
    rows = []
    for row in law.rows:
        if row.moment in layers:
            more = _phi(_padding(recipe, spec, layers[row.moment]))
            parts = tuple(map(sum, zip(row.coefficients.get("activations", (0.0,) * len(PHI)), more)))
            row = replace(row, coefficients=row.coefficients | {"activations": parts})
        rows.append(row)
    return replace(law, rows=tuple(rows), relative_error=max(law.relative_error, ERROR_PADDED))


def _phi(terms: dict[str, float]) -> tuple[float, ...]:
    return tuple(terms.get(name, 0.0) for name in PHI)
