#!/usr/bin/env bash
# peft 0.21.2 (transformers 5.23.0)
#
# What happens:   Mixtral's experts are stacked parameters in Transformers 5, no linear modules; "all-linear" adapts them all the same,
#                 the router too, and gives the stacked gate_up_proj twice the rank: r 4 becomes 8 for each of the four experts.
# A likely guess: "all-linear" adapts nn.Linear layers at rank r, hence attention alone here.
# Seen:           adapted: q, k, v, o, mlp.gate (the router), and both expert stacks; gate_up: lora_A 32 x hidden for 4 experts (8 each), down: 16 (4 each).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
env/bin/python - <<'PY'
import torch
from peft import LoraConfig, get_peft_model
from transformers import MixtralConfig, MixtralForCausalLM

sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, vocab_size=64)
base = MixtralForCausalLM(MixtralConfig(**sizes, num_key_value_heads=2, num_local_experts=4))
linear = {name for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)}
model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear"))
shapes = {n.split("layers.0.")[1]: tuple(p.shape) for n, p in model.named_parameters() if n.endswith("lora_A.default.weight")}
print("linear modules:", sorted(linear))
print("lora_A:", shapes)
assert not any("experts" in name or name.endswith("mlp.gate") for name in linear)
assert shapes["mlp.gate.lora_A.default.weight"] == (4, 64)
assert shapes["mlp.experts.base_layer.lora_A.default.weight"] == (32, 64) and shapes["mlp.experts.lora_A.default.weight"] == (16, 96)
PY
