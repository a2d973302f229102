"""Small models of real architectures on the meta device: every family that PEFT treats in its own way."""

from __future__ import annotations

import functools
from typing import Any

from estimator.model.inventory import Inventory

_DECODER = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 128, "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}  # fmt: skip
_MOE = _DECODER | {
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": _DECODER | {"model_type": "llama"},
    "qwen2-bias": _DECODER | {"model_type": "qwen2"},
    "gemma-tied": _DECODER | {"model_type": "gemma", "tie_word_embeddings": True},
    "phi3-fused": _DECODER | {"model_type": "phi3", "pad_token_id": 0},
    "gpt2-conv1d": {"model_type": "gpt2", "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 64,
        "vocab_size": 128},
    "opt-bias": {
        "model_type": "opt", "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
        "vocab_size": 128, "max_position_embeddings": 64, "word_embed_proj_dim": 64,
    },
    "bloom": {"model_type": "bloom", "hidden_size": 64, "n_layer": 3, "n_head": 4, "vocab_size": 128},
    "mixtral-moe": _MOE | {"model_type": "mixtral", "num_local_experts": 4},
    "qwen3-moe": _MOE | {"model_type": "qwen3_moe", "num_experts": 4},
    "gpt-oss-moe": _MOE | {"model_type": "gpt_oss", "num_local_experts": 4, "layer_types": ["full_attention"] * 3},
    "bert-encoder": {
        "model_type": "bert", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 128, "max_position_embeddings": 64,
    },
    "t5-tied": {
        "model_type": "t5", "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "vocab_size": 128,
        "tie_word_embeddings": True,
    },
    "bart": {
        "model_type": "bart", "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "vocab_size": 128,
        "max_position_embeddings": 64,
    },
    "qwen2-vl": {
        "model_type": "qwen2_vl", "text_config": _DECODER | {"model_type": "qwen2_vl_text"},
        "tie_word_embeddings": False,
        "vision_config": {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2,
            "patch_size": 4},
    },
    "mamba": {"model_type": "mamba", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 128, "state_size": 8},
}  # fmt: skip
CLASSES = {"bert-encoder": "BertModel", "bart": "BartForConditionalGeneration"}
"""Where the first class that fits the configuration is not the one meant."""
TASKS = {"bert-encoder": "FEATURE_EXTRACTION", "t5-tied": "SEQ_2_SEQ_LM", "bart": "SEQ_2_SEQ_LM"}
"""PEFT's task types; CAUSAL_LM for all others."""


def build(name: str) -> Any:
    from estimator.trace import meta_model

    return meta_model.build_on_meta(CONFIGS[name], CLASSES.get(name))


@functools.cache
def inventory(name: str) -> Inventory:
    from estimator.trace import meta_model

    return Inventory.from_json(meta_model.derive(CONFIGS[name], CLASSES.get(name)).to_json())
