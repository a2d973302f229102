#!/usr/bin/env bash
# trl 1.16.0 (transformers 5.23.0)
#
# What happens:   a prompt/completion row whose prompt fills `max_length` has nothing left to train, and SFTTrainer takes it out of
#                 the data set: no warning, no count, the title of a progress bar alone. Three of four rows are gone here and the run reports success.
# A likely guess: such rows are cut so that an answer remains, or raise, or are at least counted in a warning.
# Seen:           4 rows given, 1 trained, no warning raised or logged that names rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 trl==1.16.0 datasets==5.2.0 accelerate==1.15.0
env/bin/python - <<'PY'
import logging
import warnings

from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

heard = []
ear = type("Ear", (logging.Handler,), {"emit": lambda self, record: heard.append(record.getMessage())})()
for name in (None, "transformers", "trl", "datasets"):  # the libraries' loggers do not pass on to the root
    logging.getLogger(name).addHandler(ear)
vocabulary = {"<pad>": 0, "<eos>": 1, **{f"w{i}": i + 2 for i in range(40)}}
words = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")
sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=64)
long = {"prompt": " ".join(f"w{i}" for i in range(9)), "completion": " w1 w2"}
rows = Dataset.from_list([long, long, long, {"prompt": "w1", "completion": " w2"}])
config = SFTConfig("out", max_length=8, use_cpu=True, report_to=[], disable_tqdm=True)
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    trainer = SFTTrainer(LlamaForCausalLM(LlamaConfig(**sizes)), config, train_dataset=rows, processing_class=tokenizer)
said = [text for text in (*heard, *(str(one.message) for one in warned)) if "row" in text.lower() or "example" in text.lower()]
print(f"{len(rows)} rows given, {len(trainer.train_dataset)} trained; said about rows: {said}")
assert len(trainer.train_dataset) == 1 and not said
PY
