#!/usr/bin/env bash
# trl 1.16.0, peft 0.21.0, transformers 5.23.0
#
# What happens:   DPOTrainer sets every dropout of the model to 0 (`disable_dropout=True` by default), those of the adapter too: the
#                 `lora_dropout` that the LoraConfig asks for is gone, while its config still states it. No warning.
# A likely guess: `lora_dropout=0.1` trains with 0.1; only the base's own dropout is meant, if any.
# Seen:           p of the adapter's dropout: SFTTrainer 0.1, DPOTrainer 0; in the config of both 0.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.0 trl==1.16.0
env/bin/python - <<'PY'
import warnings

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", "sky", "is", "blue", "green"])}, unk_token="<unk>"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def model():
    return LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=8))


def dropouts(trainer):
    found = {module.p for name, module in trainer.model.named_modules() if "lora_dropout" in name and isinstance(module, torch.nn.Dropout)}
    return sorted(found), trainer.model.peft_config["default"].lora_dropout


lora = dict(target_modules=["q_proj"], lora_dropout=0.1)
quiet = dict(report_to="none", use_cpu=True, bf16=False)
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    plain = Dataset.from_list([{"prompt": "sky is", "completion": " blue"}] * 2)
    sft = SFTTrainer(model(), SFTConfig("sft", **quiet), train_dataset=plain, processing_class=tokenizer, peft_config=LoraConfig(**lora))
    pairs = Dataset.from_list([{"prompt": "sky is", "chosen": " blue", "rejected": " green"}] * 2)
    dpo = DPOTrainer(model(), args=DPOConfig("dpo", **quiet), train_dataset=pairs, processing_class=tokenizer, peft_config=LoraConfig(**lora))
told = [str(one.message) for one in warned if "dropout" in str(one.message).lower()]
print(f"(dropout of the modules, of the config): SFT {dropouts(sft)}, DPO {dropouts(dpo)}; warned of dropout: {told}")
assert dropouts(sft) == ([0.1], 0.1) and dropouts(dpo) == ([0.0], 0.1) and not told
PY
