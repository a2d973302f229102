#!/usr/bin/env bash
# transformers 5.23.0
#
# What happens:   the Trainer's `eval_loss` is a mean over batches of each batch's mean per token, so a long row in a batch of its own
#                 counts as much as seven short ones: the same model on the same rows has another loss at another batch size.
# A likely guess: an evaluation's loss is a property of model and rows; the batch size changes speed and memory only.
# Seen:           a row the model knows (63 tokens) and seven it does not (2 tokens): 6.964 one row at a time, 0.808 all together.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
env/bin/python - <<'PY'
import torch
from transformers import DataCollatorForSeq2Seq, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments
from tokenizers import Tokenizer, models

torch.manual_seed(0)
vocabulary = {"<pad>": 0, **{f"w{i}": i for i in range(1, 64)}}
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="w1")), pad_token="<pad>")
sizes = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, vocab_size=64)
model = LlamaForCausalLM(LlamaConfig(**sizes))
known = list(range(1, 64))
optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
for _ in range(60):
    ids = torch.tensor([known])
    model(ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
rows = [{"input_ids": ids, "labels": ids} for ids in (known, *([40 + i, 30 - i] for i in range(7)))]


def loss(batch):
    arguments = TrainingArguments("out", per_device_eval_batch_size=batch, use_cpu=True, report_to=[], disable_tqdm=True)
    return Trainer(model, arguments, eval_dataset=rows, data_collator=DataCollatorForSeq2Seq(tokenizer)).evaluate()["eval_loss"]


single, together = loss(1), loss(8)
print(f"batch 1: {single:.3f}, batch 8: {together:.3f}")
assert single > 2 * together
PY
