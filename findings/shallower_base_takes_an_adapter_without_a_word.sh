#!/usr/bin/env bash
# peft 0.21.2 (transformers 5.23.0)
#
# What happens:   an adapter of a two-layer model loads onto a one-layer model: the second layer's tensors are left over, and
#                 `PeftModel.from_pretrained` neither raises nor warns of them.
# A likely guess: tensors in the file that no module takes are an error, as missing ones are warned of.
# Seen:           4 tensors in the file, 2 in the model, no warning that names a key.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
env/bin/python - <<'PY'
import warnings

from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM


def base(layers):
    sizes = dict(hidden_size=32, intermediate_size=64, num_attention_heads=4, vocab_size=64)
    return LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=layers))


get_peft_model(base(2), LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained("adapter")
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    model = PeftModel.from_pretrained(base(1), "adapter")
written = load_file("adapter/adapter_model.safetensors")
taken = [name for name, _ in model.named_parameters() if "lora_" in name]
named = [str(one.message) for one in warned if "layers.1" in str(one.message) or "unexpected" in str(one.message).lower()]
print(f"{len(written)} tensors in the file, {len(taken)} in the model, warnings of keys: {named}")
assert len(written) == 4 and len(taken) == 2 and not named
PY
