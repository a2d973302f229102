#!/usr/bin/env bash
# saved by transformers 5.23.0, read by transformers 4.57.6 and mlx-lm 0.32.2
#
# What happens:   Transformers 5 writes the RoPE base only inside `rope_parameters`. Transformers 4.57 and mlx-lm look for
#                 `rope_theta`, find none, and take their default of 10,000 without a word.
# A likely guess: a folder that `save_pretrained` wrote is read alike by the previous major version and by other engines, or refused.
# Seen:           base 500,000 written; 4.57.6 and mlx-lm both compute with 10,000, and few of the greedy tokens stay the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv five
five/bin/pip install --quiet torch==2.13.0 transformers==5.23.0
python3 -m venv four
four/bin/pip install --quiet torch==2.13.0 transformers==4.57.6
python3 -m venv mlx
mlx/bin/pip install --quiet "mlx[cpu]==0.32.4" mlx-lm==0.32.2
five/bin/python - <<'PY'
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=64)
model = LlamaForCausalLM(LlamaConfig(**sizes, rope_theta=500_000.0)).eval()
for parameter in model.parameters():
    if parameter.dim() == 2:
        parameter.data.mul_(8)  # attention that cares about positions, as in a trained model
model.save_pretrained("model")
with torch.no_grad():
    torch.save(model(torch.arange(256)[None] % 64).logits, "logits.pt")
PY
four/bin/python - <<'PY'
import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("model").eval()
with torch.no_grad():
    logits, wanted = model(torch.arange(256)[None] % 64).logits, torch.load("logits.pt")
same = (logits.argmax(-1) == wanted.argmax(-1)).float().mean().item()
print(f"transformers 4.57.6: base {model.config.rope_theta:,.0f}, {same:.0%} of the greedy tokens are the same")
assert model.config.rope_theta == 10_000 and same < 0.5
PY
mlx/bin/python - <<'PY'
from pathlib import Path

from mlx_lm.utils import load_model

model, config = load_model(Path("model"))
print(f"mlx-lm 0.32.2: {config['rope_parameters']} in the file, base {model.args.rope_theta:,.0f} in use")
assert config["rope_parameters"]["rope_theta"] == 500_000 and model.args.rope_theta == 10_000
PY
