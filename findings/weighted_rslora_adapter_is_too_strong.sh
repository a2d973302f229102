#!/usr/bin/env bash
# peft 0.21.2 (transformers 5.23.0)
#
# What happens:   `add_weighted_adapter([name], [1.0], ...)` of a rank-stabilized adapter gives an update that is sqrt(r) times the one
#                 it was made of: the scaling is folded in, and the new adapter scales again.
# A likely guess: one adapter at weight 1.0 is that adapter.
# Seen:           r = 16: ratio 4.0 with use_rslora, 1.0 without.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
env/bin/python - <<'PY'
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM


def ratio(use_rslora):
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=64)
    lora = LoraConfig(r=16, lora_alpha=16, use_rslora=use_rslora, init_lora_weights=False, target_modules=["q_proj"])
    model = get_peft_model(LlamaForCausalLM(LlamaConfig(**sizes)), lora)
    model.add_weighted_adapter(["default"], [1.0], "same", combination_type="linear")
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    return (layer.get_delta_weight("same").norm() / layer.get_delta_weight("default").norm()).item()


with_it, without = ratio(True), ratio(False)
print(f"rank-stabilized {with_it:.2f}, plain {without:.2f}")
assert round(with_it, 3) == 4.0 and round(without, 3) == 1.0
PY
