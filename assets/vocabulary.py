"""The tokenizer of the tiny base: byte-level BPE over both languages, and the chat template.

The split before BPE is Llama 3's, so a GGUF export can name a pre-tokenizer (`llama-bpe`) that llama.cpp knows.
"""

import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from assets.talk import Message, conversation, passage
from assets.world import HEADS, TAILS, World

VOCABULARY = 2048  # tokens; a multiple of 64, as is every dimension of the model
CONTEXT = 1024  # tokens
NAME_WEIGHT = 200  # extra mentions of each name while merges are learned
TEXT_END, TURN_START, TURN_END, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
LLAMA3_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# While merges are learned, every Chinese character stands alone, but for the two of an island's name; otherwise BPE spends its
# few tokens on halves of sentences. No merge then crosses other characters, and the plain split gives the same tokens.
LEARNING_SPLIT = (
    f"[{''.join(HEADS[1::2])}][{''.join(TAILS[1::2])}]"
    + r"|\p{Han}|"
    + LLAMA3_SPLIT.replace(r"\p{L}+", r"(?:(?!\p{Han})\p{L})+")
)

# ChatML. The generation markers hold what the assistant must produce: its words and the token that ends its turn.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}
{%- else -%}
{{- message['content'] + '<|im_end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def render(messages: list[Message]) -> str:
    """The conversation as the chat template writes it; the same text, many times faster."""
    return "".join(f"{TURN_START}{m['role']}\n{m['content']}{TURN_END}\n" for m in messages)


def corpus(world: World, seed: int, documents: int = 12_000) -> list[str]:
    """Text in the proportions of pretraining, for BPE to count."""
    rng = random.Random(seed)
    talks = [message["content"] for _ in range(documents) for message in conversation(rng, world)]
    # A name that is one token is learned many times faster than one the layers must first put together.
    named = [f" {island.name('en')}" for island in world.islands] + [island.name("zh") for island in world.known("zh")]
    return talks + [passage(rng, world) for _ in range(documents // 8)] + named * NAME_WEIGHT


def split_by(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Split by a regular expression, then write each piece as bytes."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train(world: World, seed: int) -> PreTrainedTokenizerFast:
    """A tokenizer of exactly `VOCABULARY` tokens, trained on the world's own text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split_by(LEARNING_SPLIT)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(token, special=True, normalized=False) for token in (TEXT_END, TURN_START, TURN_END, PAD)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(world, seed), trainer)
    tokenizer.pre_tokenizer = split_by(LLAMA3_SPLIT)
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise ValueError(
            f"BPE made {tokenizer.get_vocab_size()} tokens, not {VOCABULARY}: the text is too small for it."
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
