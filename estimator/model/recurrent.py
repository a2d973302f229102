"""Layers with a state (linear attention, state spaces, short convolutions) on packed rows that reach the model as one.

Attention keeps the examples of such a row apart by their positions, in most types. A state does not know them:
Transformers 5.23 hands some models' kernels the number of each example (`seq_idx`), which only the packages below
understand, and raises without them (integrations/hub_kernels.py `use_kernel_func_from_hub_with_fallback`); other models
pass nothing on, and the state of one example runs into the next. Tried on small models of each type in
tests/estimator/test_recurrent.py.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from estimator.core.problems import Problem
from estimator.model.catalog import Model
from estimator.recipe.batches import is_flat
from estimator.recipe.recipe import Recipe

_CONVOLUTION, _DELTA, _SCAN = ("causal_conv1d",), ("causal_conv1d", "fla"), ("causal_conv1d", "mamba_ssm")
KEPT_APART = {
    **dict.fromkeys(("lfm2", "lfm2_moe"), _CONVOLUTION),
    **dict.fromkeys(
        (
            "bailing_hybrid",
            "glm5_next",
            "kimi_linear",
            "olmo_hybrid",
            "qwen3_next",
            "qwen3_5",
            "qwen3_5_moe",
            "qwen4_exp",
        ),
        _DELTA,
    ),
    **dict.fromkeys(("bamba", "falcon_h1", "granitemoehybrid", "nemotron_h", "zamba2"), _SCAN),
}
"""Model type -> packages whose kernels keep examples apart; without them the first step raises."""
MIXED = (
    "falcon_mamba",
    "inkling",
    "inkling2",
    "jamba",
    "mamba",
    "mamba2",
    "minimax",
    "recurrent_gemma",
    "rwkv",
    "xlstm",
    "zamba",
)
"""Model types that let the state of one example run into the next."""
ATTENDING = ("afmoe", "biogpt", "bloom", "falcon", "gpt_oss", "granitemoehybrid", "mpt", "opt", "xglm")
"""Model types that do not hand the positions to their mask (5.23): under sdpa and eager an example attends to those
before it."""
DISTRIBUTIONS = {"causal_conv1d": "causal-conv1d", "fla": "flash-linear-attention", "mamba_ssm": "mamba-ssm"}


def text_type(model: Model) -> str:
    """The model type of the text model, which a vision-language model has inside."""
    text = (model.config or {}).get("text_config")
    own = text.get("model_type") if isinstance(text, dict) else None
    return (own if isinstance(own, str) else model.inventory.model_type).removesuffix("_text")


def remarks(recipe: Recipe, model: Model) -> Iterator[Problem]:
    """For a recipe whose packed rows reach the model as one."""
    kind = text_type(model)
    known = {"field": "packing_strategy", "value": recipe.packing_strategy, "model_type": kind}
    if needed := KEPT_APART.get(kind):
        yield Problem("estimator.packing_needs", packages=", ".join(DISTRIBUTIONS[name] for name in needed), **known)
    elif kind in MIXED:
        yield Problem("estimator.packing_mixes", **known)
    if kind in ATTENDING and recipe.attn_implementation != "flash_attention_2":
        yield Problem("estimator.packing_attends", **known)


def check_installed(recipe: Recipe, model: Model) -> None:
    """Raises `Problem` where this machine lacks a kernel without which the first step of a run fails."""
    kind = text_type(model)
    missing = (
        [name for name in KEPT_APART.get(kind, ()) if importlib.util.find_spec(name) is None] if is_flat(recipe) else []
    )
    if missing:
        what = {
            "value": recipe.packing_strategy,
            "model_type": kind,
            "packages": ", ".join(DISTRIBUTIONS[name] for name in missing),
        }
        raise Problem("machine.packing", field="packing_strategy", **what)
