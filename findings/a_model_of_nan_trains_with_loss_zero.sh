#!/usr/bin/env bash
# transformers 5.23.0, accelerate 1.15.0, torch 2.13.0
#
# What happens:   where every loss is NaN, `Trainer` logs a loss of 0.0 at each step and ends with a `train_loss` of 0.0: the best
#                 there can be. (`logging_nan_inf_filter`, on by default, puts the mean of what was logged before in the place of a
#                 loss that is no number; before the first there is 0.) The norm of the gradients alone says nan.
# A likely guess: the curve shows nan, or training stops.
# Seen:           losses [0.0, 0.0], gradient norms [nan, nan], train_loss 0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
env/bin/python - <<'PY'
import math

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

torch.manual_seed(0)
shape = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
model = LlamaForCausalLM(LlamaConfig(**shape))
with torch.no_grad():
    model.lm_head.weight.fill_(float("nan"))
rows = [{"input_ids": torch.arange(8), "labels": torch.arange(8)}] * 4
options = {"max_steps": 2, "logging_steps": 1, "per_device_train_batch_size": 2, "report_to": [], "use_cpu": True}
trainer = Trainer(model, TrainingArguments("out", save_strategy="no", disable_tqdm=True, **options), train_dataset=rows)
trainer.train()
steps, end = trainer.state.log_history[:-1], trainer.state.log_history[-1]
losses, norms = [one["loss"] for one in steps], [one["grad_norm"] for one in steps]
print("losses", losses, "gradient norms", norms, "train_loss", end["train_loss"])
assert losses == [0.0, 0.0] and all(map(math.isnan, norms)) and end["train_loss"] == 0.0
PY
