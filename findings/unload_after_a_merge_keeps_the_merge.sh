#!/usr/bin/env bash
# peft 0.21.0, transformers 5.23.0
#
# What happens:   `unload()` "gets back the base model by removing all the lora modules without merging", but what `merge_adapter()` has added
#                 to the weights stays in them: the base that comes back is the merged model. Nothing says so; `unmerge_adapter()` first mends it.
# A likely guess: the base comes back as it was, or unloading a merged model raises.
# Seen:           weights 0.0 off the base without a merge, 0.0 with unmerge, far off after merge_adapter() and unload().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.0
env/bin/python - <<'PY'
import copy
import warnings

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
base = LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=64))
before = base.model.layers[0].self_attn.q_proj.weight.detach().clone()


def off(*steps):
    model = get_peft_model(copy.deepcopy(base), LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    for step in steps:
        getattr(model, step)()
    return (model.unload().model.layers[0].self_attn.q_proj.weight - before).abs().max().item()


with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")  # of Transformers, about itself
    plain, merged, unmerged = off(), off("merge_adapter"), off("merge_adapter", "unmerge_adapter")
print(f"off the base: unload {plain:.3g}, merge + unload {merged:.3g}, merge + unmerge + unload {unmerged:.3g}; {[str(one.message) for one in warned]}")
assert plain == 0 and unmerged < 1e-6 and merged > 1e-2 and not warned
PY
