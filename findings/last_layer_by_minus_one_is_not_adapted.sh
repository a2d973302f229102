#!/usr/bin/env bash
# peft 0.21.0, transformers 5.23.0
#
# What happens:   `LoraConfig(layers_to_transform=[0, -1])` adapts layer 0 only: -1 is compared with the numbers in the modules' names and
#                 matches none. One of the list matching is enough for PEFT, so there is no error and no warning.
# A likely guess: -1 is the last layer, as in every list of Python; or an index that matches nothing raises.
# Seen:           of four layers, [0, 3] adapts two and [0, -1] one, without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.0
env/bin/python - <<'PY'
import warnings

from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM


def adapted(layers):
    model = LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, vocab_size=64))
    model = get_peft_model(model, LoraConfig(target_modules=["q_proj"], layers_to_transform=layers))
    return sorted({int(name.split("layers.")[1].split(".")[0]) for name, _ in model.named_parameters() if "lora_A" in name})


with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")  # of Transformers, about itself
    both, one = adapted([0, 3]), adapted([0, -1])
print(f"[0, 3]: layers {both}; [0, -1]: layers {one}; warnings: {[str(one.message) for one in warned]}")
assert both == [0, 3] and one == [0] and not warned
PY
