#!/usr/bin/env bash
# transformers 5.23.0, schedulefree 1.4.1
#
# What happens:   with `optim="schedule_free_adamw"` the Trainer saves while the optimizer is in training mode: the checkpoint holds
#                 the point where gradients are taken, not the average that evaluation uses and that the method is about.
# A likely guess: what is saved is what `evaluate` measured: the averaged weights.
# Seen:           checkpoint equals the training weights bit for bit, and differs from the evaluated ones.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 schedulefree==1.4.1
env/bin/python - <<'PY'
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

torch.manual_seed(0)
sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=64)
rows = [{"input_ids": [i, i + 1, i + 2], "labels": [i, i + 1, i + 2]} for i in range(8)]
arguments = TrainingArguments("out", optim="schedule_free_adamw", lr_scheduler_type="constant", learning_rate=0.05,
                              max_steps=6, save_steps=6, use_cpu=True, report_to=[], disable_tqdm=True)
trainer = Trainer(LlamaForCausalLM(LlamaConfig(**sizes)), arguments, train_dataset=rows)
trainer.train()
saved = load_file("out/checkpoint-6/model.safetensors")["lm_head.weight"]
optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)


def weight_after(mode):
    getattr(optimizer, mode)()
    return trainer.model.lm_head.weight.detach().clone()


training, average = weight_after("train"), weight_after("eval")
print(f"saved - training {(saved - training).abs().max():.1e}, saved - average {(saved - average).abs().max():.1e}")
assert (saved - training).abs().max() < 1e-5 and (saved - average).abs().max() > 1e-3
PY
