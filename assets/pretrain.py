"""Pretrain the tiny base from nothing: `python -m assets.pretrain` writes `assets/base`.

Tokenizer, weights and text all come from this folder's scripts and one seed. Six and a half minutes on two CPU cores, in fp32:
without AVX512-BF16 or AMX a bf16 step is thirty times slower. The weights are stored in bf16, which halves the file.
"""

import argparse
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve each other on a shared machine

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from assets import vocabulary
from assets.muon import Muon
from assets.talk import conversation, passage
from assets.world import SEED, World, build

BASE = Path(__file__).parent / "base"
STEPS = 460
TOKENS_A_STEP = 1536  # padding included
MUON_RATE, ADAM_RATE = 0.02, 3e-3
WARM_UP, DECAY = 0.02, 0.5  # shares of all steps
PASSAGE_SHARE = 0.12  # running text, read as a whole; the rest are chats, of which only the answers are learned
FIRST_ISLANDS, FIRST_EXAMPLES = 24, 1500
IGNORED = -100

Example = tuple[list[int], list[int]]  # token ids, labels


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of 3.7 million parameters whose every dimension is a multiple of 64, with random weights."""
    config = LlamaConfig(
        vocab_size=vocabulary.VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=vocabulary.CONTEXT,
        tie_word_embeddings=True,  # one table for reading and writing: copying a name is learned once, not once a name
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def chat_example(tokenizer: PreTrainedTokenizerFast, text: str) -> Example:
    """A rendered chat; labels cover what the assistant says and the token that ends its turn."""
    ids = tokenizer(text)["input_ids"]
    start = tokenizer.convert_tokens_to_ids(vocabulary.TURN_START)
    assistant = tokenizer("assistant\n")["input_ids"]
    labels, speaking, skip = [], False, 0
    for position, token in enumerate(ids):
        if token == start:
            speaking = ids[position + 1 : position + 1 + len(assistant)] == assistant
            skip = 1 + len(assistant)
        labels.append(token if speaking and skip <= 0 else IGNORED)
        skip -= 1
        if token == tokenizer.eos_token_id:
            speaking = False
    return ids, labels


def examples(tokenizer: PreTrainedTokenizerFast, world: World, rng: random.Random) -> Iterator[Example]:
    """Chats and running text without end.

    At first single exchanges about a few islands: until a model has found out how to copy a name and look up a fact, its
    loss stands still, and with short texts and few facts it finds out much sooner.
    """
    few = World(world.islands[:FIRST_ISLANDS], world.strangers)
    for _ in range(FIRST_EXAMPLES):
        yield chat_example(tokenizer, vocabulary.render(conversation(rng, few, lengths=(1,))))
    while True:
        if rng.random() < PASSAGE_SHARE:
            ids = tokenizer(passage(rng, world) + vocabulary.TEXT_END)["input_ids"]
            yield ids, ids
        else:
            yield chat_example(tokenizer, vocabulary.render(conversation(rng, world)))


def batches(
    stream: Iterator[Example], rng: random.Random, pool: int = 1024
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Right-padded batches of about `TOKENS_A_STEP` tokens; texts of similar length share a batch, so little is padding."""
    while True:
        drawn = sorted((next(stream) for _ in range(pool)), key=lambda example: len(example[0]))
        groups, group = [], []
        for example in drawn:
            if group and (len(group) + 1) * len(example[0]) > TOKENS_A_STEP:
                groups.append(group)
                group = []
            group.append(example)
        rng.shuffle(groups)  # the last, incomplete group is dropped
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in group])
            labels = torch.tensor([labels + [IGNORED] * (width - len(labels)) for _, labels in group])
            yield ids, labels


def loss_of(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats a learned token. Logits are made for learned positions only; padding comes last, so the
    causal mask hides it."""
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    learned = targets != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[learned]), targets[learned])


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: warm up, hold, then fall in a line to zero."""
    return min(1.0, (step + 1) / steps / WARM_UP, (1 - step / steps) / DECAY)


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, head and norms."""
    inner = [p for name, p in model.named_parameters() if ".layers." in name and p.dim() == 2]
    outer = [p for name, p in model.named_parameters() if ".layers." not in name or p.dim() != 2]
    return [
        Muon(inner, lr=MUON_RATE, weight_decay=0.05),
        torch.optim.AdamW(outer, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def train(model: LlamaForCausalLM, stream: Iterator[tuple[torch.Tensor, torch.Tensor]], steps: int) -> None:
    """Train in place, printing loss and tokens a second as it goes."""
    used = optimizers(model)
    schedulers = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: schedule(step, steps)) for o in used]
    model.train()
    begun, tokens, recent = time.monotonic(), 0, []
    for step in range(steps):
        ids, labels = next(stream)
        loss = loss_of(model, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*used, *schedulers):
            part.step()
        model.zero_grad()
        tokens += ids.numel()
        recent.append(loss.item())
        if (step + 1) % 50 == 0 or step + 1 == steps:
            seconds = time.monotonic() - begun
            mean = sum(recent) / len(recent)
            print(
                f"step {step + 1:5d}/{steps}  loss {mean:.4f}  {tokens / seconds:6.0f} tokens/s  {seconds:5.0f} s",
                flush=True,
            )
            recent = []


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights in bf16, tokenizer and template. The model card beside them is written by hand."""
    model.generation_config = GenerationConfig(
        max_new_tokens=128,
        do_sample=False,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(vocabulary.TEXT_END)],
        pad_token_id=tokenizer.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=BASE, help="folder to write (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="of weights and text; the world has its own (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng, world = random.Random(options.seed), build()
    tokenizer = vocabulary.train(world, options.seed)
    model = make_model(tokenizer)
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens, {len(world.islands)} islands"
    )
    train(model, batches(examples(tokenizer, world, rng), rng), options.steps)
    save(model, tokenizer, options.out)


if __name__ == "__main__":
    main()
