#!/usr/bin/env bash
# transformers 5.23.0, peft 0.21.2
#
# What happens:   a folder with an adapter and, saved into it later, the merged model: `from_pretrained(folder)` takes the merged weights
#                 as base and lays the adapter over them once more. The answers are those of twice the update; nothing is said.
# A likely guess: either the merged weights alone or the adapter over the base that its config names: both give the trained model.
# Seen:           logits of base + update as trained; of the folder, base + 2 x update; Auto class and concrete class alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
env/bin/python - <<'PY'
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=64)
LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained("base")


@torch.no_grad()
def logits(model):
    return model.eval()(torch.arange(16)[None]).logits


def base():
    return AutoModelForCausalLM.from_pretrained("base")


lora = LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
model = get_peft_model(base(), lora)
model.save_pretrained("out")
trained = logits(model)
merged = model.merge_and_unload()
assert torch.allclose(logits(merged), trained, atol=1e-5)
merged.save_pretrained("out")  # the same output folder

doubled = base()
for twice, plain, once in zip(doubled.parameters(), base().parameters(), merged.parameters()):
    twice.data = plain.data + 2 * (once.data - plain.data)
for loader in (AutoModelForCausalLM, LlamaForCausalLM):
    loaded = logits(loader.from_pretrained("out"))
    from_trained, from_doubled = (loaded - trained).abs().max().item(), (loaded - logits(doubled)).abs().max().item()
    print(f"{loader.__name__}: {from_trained:.3f} off the trained model, {from_doubled:.0e} off twice the update")
    assert from_trained > 0.1 and from_doubled < 1e-4
PY
