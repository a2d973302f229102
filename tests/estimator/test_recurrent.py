"""Packed rows on models with a state: what Transformers raises is known beforehand, on small models of each type."""

import functools
import re
from pathlib import Path

import pytest

from estimator import Problem, Recipe, estimate
from estimator.model import recurrent
from estimator.model.catalog import Model
from estimator.model.spec import ModelSpec
from tests.estimator import small

torch = pytest.importorskip("torch")

_BASE = {key: value for key, value in small.CONFIGS["llama"].items() if key != "model_type"} | {
    "num_hidden_layers": 2,
    "vocab_size": 128,
}
_LINEAR = {
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention", "full_attention"],
}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}
_SCAN = {"mamba_d_state": 8, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_expand": 2}
RAISING = {
    "qwen3_next": _BASE | _LINEAR | _MOE,
    "qwen3_5_text": _BASE | _LINEAR,
    "qwen3_5_moe_text": _BASE | _LINEAR | _MOE,
    "lfm2": _BASE | {"layer_types": ["conv", "full_attention"]},
    "bamba": _BASE | _SCAN,
    "falcon_h1": _BASE | _SCAN | {"mamba_d_ssm": 128},
}
MIXING = {
    "mamba": {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 128, "state_size": 8},
    "minimax": _BASE
    | {
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "layer_types": ["linear_attention", "full_attention"],
        "block_size": 16,
    },
}
ATTENDING = {
    "gpt_oss": _BASE | {"head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1},
    "afmoe": _BASE | _MOE | {"head_dim": 16, "num_dense_layers": 1},
    "granitemoehybrid": _BASE
    | {"layer_types": ["attention"] * 2, "num_local_experts": 0, "shared_intermediate_size": 64},
    "opt": _BASE | {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "falcon": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 128},
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 128},
    "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 128, "max_seq_len": 64},
    "biogpt": _BASE,
    "xglm": {"d_model": 64, "ffn_dim": 128, "num_layers": 2, "attention_heads": 4, "vocab_size": 128},
}
KNOWS = pytest.mark.skipif(
    any(map(__import__("importlib.util").util.find_spec, recurrent.DISTRIBUTIONS)),
    reason="the kernels are installed here",
)


SEQ_IDX = torch.tensor([[0] * 8 + [1] * 8], dtype=torch.int32)


@functools.cache
def real(model_type):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = (RAISING | MIXING | ATTENDING | {"llama": _BASE})[model_type]
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **config)).eval()


def logits(model_type, first, **more):
    """Of the second of two examples of 8 tokens that reach the model as one row, as TRL's collator lays them out."""
    ids = torch.tensor([[first] * 8 + [9] * 8])
    flat = {"input_ids": ids, "position_ids": torch.arange(8).repeat(2)[None]}
    with torch.no_grad():
        return real(model_type)(use_cache=False, **flat, **more).logits[0, 8:]


@KNOWS
@pytest.mark.parametrize("model_type", RAISING)
def test_a_type_that_needs_kernels_raises_without_them(model_type):
    with pytest.raises(ValueError, match="packed sequences"):
        logits(model_type, 5, seq_idx=SEQ_IDX)
    real(model_type)(input_ids=torch.tensor([[5] * 16]), use_cache=False)  # wrapped: rows as they are


@KNOWS
@pytest.mark.parametrize("model_type", MIXING)
def test_a_type_that_mixes_lets_one_example_see_another(model_type):
    assert (logits(model_type, 5, seq_idx=SEQ_IDX) - logits(model_type, 7, seq_idx=SEQ_IDX)).abs().max() > 1e-4


@pytest.mark.parametrize("model_type", [*ATTENDING, "llama"])
def test_attention_that_is_not_told_the_positions_lets_one_example_see_another(model_type):
    for parameter in real(model_type).parameters():
        if parameter.dim() >= 2:
            parameter.data.mul_(3)  # attention that tells tokens apart
    seen = (logits(model_type, 5) - logits(model_type, 7)).abs().max() > 1e-4
    assert seen == (model_type in recurrent.ATTENDING)


def test_every_type_of_transformers_with_such_kernels_is_known():
    """By its sources: a new one is noticed when Transformers moves."""
    import transformers

    found = {
        file.parent.name
        for file in (Path(transformers.__file__).parent / "models").glob("*/modeling_*.py")
        if re.search(r"use_kernel_func_from_hub_with_fallback\(\s*\"", file.read_text("utf-8"))
    }
    assert found == (set(recurrent.KEPT_APART) | set(recurrent.MIXED)) - {"minimax", "recurrent_gemma", "rwkv", "xlstm"}


def model(model_type, **config):
    made = small.CONFIGS["llama"]
    inventory = small.inventory("llama")
    return Model(
        "small",
        inventory,
        ModelSpec.from_config(made),
        config=made | config | {"text_config": made | {"model_type": model_type}},
    )


@pytest.mark.parametrize(
    ("model_type", "fields", "code"),
    [
        ("qwen3_5_text", {}, "estimator.packing_needs"),
        ("qwen3_next", {"packing_strategy": "bfd_split"}, "estimator.packing_needs"),
        ("mamba2", {}, "estimator.packing_mixes"),
        ("gpt_oss", {}, "estimator.packing_attends"),
        ("gpt_oss", {"attn_implementation": "flash_attention_2"}, None),
        ("gpt_oss", {"packing_strategy": "wrapped"}, None),
        ("qwen3_next", {"packing_strategy": "wrapped"}, None),
        ("qwen3_next", {"packing": False}, None),
        ("llama", {}, None),
    ],
)
def test_it_is_said_beside_the_figures(model_type, fields, code):
    made = estimate(Recipe(model="small", max_length=32, **{"packing": True} | fields), model=model(model_type))
    assert [note.code for note in made.warnings if "packing" in note.code] == ([code] if code else [])


@KNOWS
def test_a_run_that_would_fail_in_its_first_step_is_refused():
    recipe = Recipe(model="small", packing=True)
    with pytest.raises(Problem) as raised:
        recurrent.check_installed(recipe, model("qwen3_5_text"))
    assert raised.value.field == "packing_strategy" and "causal-conv1d, flash-linear-attention" in str(raised.value)
    recurrent.check_installed(recipe.replace(packing_strategy="wrapped"), model("qwen3_5_text"))
    recurrent.check_installed(recipe, model("llama"))
