"""The sets of layers that adapters are usually put on, by the names that a model's attention has."""

from __future__ import annotations

from estimator.model.catalog import Model

FUSED_NAMES = ("query_key_value", "qkv_proj", "c_attn", "Wqkv")
QUERY_VALUE_NAMES = ("q_proj", "v_proj", *FUSED_NAMES, "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj")
"""Latent attention (DeepSeek) makes key and value of one projection, which counts as the value's."""
OUTPUT_NAMES = ("o_proj", "out_proj", "dense", "c_proj")
"""Of these the first that the attention has: others are those of a vision tower, or of a block beside it."""


def target_sets(model: Model) -> list[str | list[str]]:
    """What adapters are put on: {q, v}, {q, k, v, o} by the names that the model's attention has, and all linear
    layers."""
    paths = [name.rpartition(".") for name in model.inventory.linear_names]
    leaves = {leaf for _, _, leaf in paths}
    inner = {
        leaf
        for parent, _, leaf in paths
        if leaf == "o_proj" or "attn" in parent.lower() or "attention" in parent.lower()
    }
    pair = sorted(leaves.intersection(QUERY_VALUE_NAMES))
    four = sorted([*pair, *leaves.intersection(["k_proj"]), *[name for name in OUTPUT_NAMES if name in inner][:1]])
    return [pair, four, "all-linear"]
