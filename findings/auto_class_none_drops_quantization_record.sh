#!/usr/bin/env bash
# transformers 5.23.0 (torch 2.13.0)
#
# What happens:   `AutoModelForCausalLM.from_pretrained(folder, quantization_config=None)` drops the repository's own quantization
#                 record: FP8 codes become weights, their scales are set aside as "unexpected" in a report on stderr, no error.
#                 The concrete class, given the same None, follows the record.
# A likely guess: None is the default, so writing it out changes nothing; and Auto and concrete class load alike.
# Seen:           spread of a weight as written 0.020; Auto without the argument 0.020, LlamaForCausalLM with None 0.020, Auto with None 110.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
env/bin/python - <<'PY'
import json
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = dict(hidden_size=128, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, vocab_size=64)
model = LlamaForCausalLM(LlamaConfig(**sizes)).to(torch.bfloat16)
written = model.model.layers[0].self_attn.q_proj.weight.float().std().item()
folder = tempfile.mkdtemp()
model.save_pretrained(folder)

# The layout that FP8 repositories have: codes, one scale a block of 128 x 128, and a record in config.json.
tensors = {}
for name, weight in load_file(f"{folder}/model.safetensors").items():
    if "proj" in name:
        scale = weight.float().abs().max() / 448
        tensors[name] = (weight.float() / scale).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = scale.reshape(1, 1)
    else:
        tensors[name] = weight
save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
config = json.load(open(f"{folder}/config.json"))
config["quantization_config"] = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
json.dump(config, open(f"{folder}/config.json", "w"))


def spread(loader, **arguments):
    loaded = loader.from_pretrained(folder, dtype=torch.bfloat16, **arguments)
    return loaded.model.layers[0].self_attn.q_proj.weight.float().std().item()


left_out = spread(AutoModelForCausalLM)
concrete = spread(LlamaForCausalLM, quantization_config=None)
auto = spread(AutoModelForCausalLM, quantization_config=None)
print(f"written {written:.3f}; Auto, left out {left_out:.3f}; Llama, None {concrete:.3f}; Auto, None {auto:.1f}")
assert abs(left_out / written - 1) < 0.1 and abs(concrete / written - 1) < 0.1 and auto > 1000 * written
PY
