#!/usr/bin/env bash
# peft 0.21.2 (transformers 5.23.0)
#
# What happens:   after `hotswap_adapter` the model computes with the new adapter's scaling, but `save_pretrained` writes the old
#                 adapter's `lora_alpha` beside the new weights: the saved folder is another model.
# A likely guess: what is saved after a swap answers as the model did.
# Seen:           alpha 4 swapped for 32: live scaling 8.0, saved alpha 4; the reloaded logits differ, the second adapter's own do not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
env/bin/python - <<'PY'
import json

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.hotswap import hotswap_adapter
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, vocab_size=64)


def base():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def write(folder, alpha, seed):
    model = base()
    torch.manual_seed(seed)
    lora = LoraConfig(r=4, lora_alpha=alpha, init_lora_weights=False, target_modules=["q_proj"])
    get_peft_model(model, lora).save_pretrained(folder)


@torch.no_grad()
def logits(model):
    return model.eval()(torch.arange(16)[None]).logits


write("first", 4, 1)
write("second", 32, 2)
model = PeftModel.from_pretrained(base(), "first")
hotswap_adapter(model, "second", adapter_name="default")
model.save_pretrained("saved")
saved = json.load(open("saved/adapter_config.json"))["lora_alpha"]
scaling = model.base_model.model.model.layers[0].self_attn.q_proj.scaling["default"]
again = (logits(PeftModel.from_pretrained(base(), "saved")) - logits(model)).abs().max().item()
second = (logits(PeftModel.from_pretrained(base(), "second")) - logits(model)).abs().max().item()
print(f"live scaling {scaling}, saved alpha {saved}; reloaded differs by {again:.4f}, the second adapter by {second:.1e}")
assert (scaling, saved) == (8.0, 4) and again > 1e-4 and second < 1e-6
PY
