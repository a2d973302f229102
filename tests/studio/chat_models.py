"""Small models to talk to: a random Llama with a byte-level tokenizer, and runs whose adapters say something else."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from estimator.recipe.recipe import Recipe

TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] + '<|end|>' }}{% endgeneration %}{% else %}{{ m['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
WORDS = ["the cat sat on the mat", "who are you and what do you know", "one two three four five six seven"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with few merges: a Chinese character is three tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|text_end|>", "<|end|>", "<|user|>", "<|assistant|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|text_end|>", chat_template=TEMPLATE)


def make_base(
    folder: Path,
    *,
    hidden: int = 64,
    layers: int = 2,
    vocab: int = 320,
    spread: float = 0.2,
    attention_bias: bool = False,
    ends: bool = False,
) -> Path:
    """A random Llama; `spread` is its weights' standard deviation. With `ends` false it never ends its turn, so that
    lengths are known."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        attention_bias=attention_bias,
        bos_token_id=None,
        eos_token_id=0,
        initializer_range=spread,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
        if not ends:
            model.lm_head.weight[:4] = 0.0  # the special tokens never win against 316 others
    model.generation_config.update(
        do_sample=True, temperature=0.1, top_p=0.5, repetition_penalty=1.5
    )  # must not be used
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_run(runs: Path, id: str, base: Path, *, name: str = "", **fields) -> Path:
    """A finished run: recipe, name and an adapter (or a whole model) with random weights that change every answer."""
    recipe = Recipe(model=str(base), dtype="float32", **{"method": "lora", "r": 8, **fields})
    folder = runs / id
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(recipe.to_json())
    (folder / "run.json").write_text(json.dumps({"id": id, "name": name or f"run {id}"}))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(zlib.crc32(id.encode()))  # not `hash`, which is another one in each process
    if recipe.has_adapters:
        model = get_peft_model(model, _config(recipe))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * (0.3 if "lora_" in key or key.endswith("bias") else 0.05))
    model.save_pretrained(folder / ("adapter" if recipe.has_adapters else "model"))
    make_tokenizer().save_pretrained(folder / ("adapter" if recipe.has_adapters else "model"))
    return folder


def _config(recipe: Recipe) -> LoraConfig:
    from estimator.program.program import lora_config

    return lora_config(recipe)
