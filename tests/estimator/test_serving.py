"""Sizing a card for use: the limits it names are limits, and the bytes are those of weights, adapters and caches."""

import json

import pytest

from estimator import Problem
from estimator.advice.serving import serving
from estimator.cli.serving_command import main
from estimator.memory.states import base_weights
from estimator.model.catalog import load_preset
from estimator.shelf import caches
from studio.__main__ import main as studio

LLAMA = "meta-llama/Llama-3.1-8B"


def test_the_parts_are_those_of_the_model():
    model = load_preset(LLAMA)
    made = serving(LLAMA, users=3, context_tokens=2000, quantization="nf4", adapters=2, r=8)
    assert made.components["kv_cache"] == caches.find(model).bytes(3, 2000, "bfloat16") == 3 * 2000 * made.token_bytes
    assert made.components["adapters"] == 2 * 20_971_520 * 4  # PEFT's count for r 8 on all linear layers, in fp32
    weights = base_weights(model.inventory, "bfloat16", "nf4", True, "none")
    assert 0 <= made.components["weights"] - weights.weights_bytes - weights.quantization_state_bytes < 300 * 2**20
    assert made.low_bytes < made.device_bytes < made.high_bytes
    assert made.fits is made.max_users is made.max_context_tokens is None


@pytest.mark.parametrize("storage", ["none", "nf4"])
@pytest.mark.parametrize(("users", "tokens"), [(1, 512), (16, 4096)])
@pytest.mark.parametrize("model", [LLAMA, "google/gemma-3-4b-it", "deepseek-ai/DeepSeek-V2-Lite", "Qwen/Qwen3.5-4B"])
def test_the_limits_are_the_last_that_fit(model, storage, users, tokens):
    ask = lambda users, tokens: serving(model, "RTX 4090", users=users, context_tokens=tokens, quantization=storage)  # noqa: E731
    made = ask(users, tokens)
    limit = load_preset(model).spec.max_position_embeddings
    assert made.fits == (made.headroom_bytes >= 0) == (made.max_users >= users) == (made.max_context_tokens >= tokens)
    if made.max_users:
        assert ask(made.max_users, tokens).fits and not ask(made.max_users + 1, tokens).fits
    if made.max_context_tokens:
        assert ask(users, made.max_context_tokens).fits
        assert made.max_context_tokens == limit or not ask(users, made.max_context_tokens + 1).fits


def test_a_latent_cache_and_a_window_hold_more_users():
    """DeepSeek's cache of a token is a fifth of Llama's; Gemma's windows make long conversations cheap."""
    one = {
        model: serving(model, users=1, context_tokens=32768).token_bytes
        for model in (LLAMA, "deepseek-ai/DeepSeek-V2-Lite", "google/gemma-3-4b-it")
    }
    assert one["deepseek-ai/DeepSeek-V2-Lite"] < one[LLAMA] / 4
    assert serving("google/gemma-3-4b-it", users=1, context_tokens=512).token_bytes > 2 * one["google/gemma-3-4b-it"]


def test_more_of_anything_never_takes_less():
    base = {"users": 4, "context_tokens": 4096, "adapters": 1, "r": 16}
    least = serving(LLAMA, **base).device_bytes
    for name, value in base.items():
        assert serving(LLAMA, **base | {name: 2 * value}).device_bytes > least


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--users", "0"], "users: 0 is out of range. Allowed: 1 to 1,000,000"),
        (["--users", "many"], "users: many is not a whole number"),
        (["--context", "200000"], "context: 200,000 tokens are more than the model's context of 131,072"),
        (["--quantization", "int3"], "quantization: int3 is not one of the choices. Allowed: none, nf4, fp4, int8"),
        (["--dtype", "float8"], "dtype: float8 is not one of the choices"),
        (["--adapters", "-1"], "adapters: -1 is out of range"),
        (["--r", "0"], "r: 0 is out of range"),
        (["--gpu", "RTX 9999"], "gpu: no accelerator is called RTX 9999"),
        (["--check"], "gpu: a value is needed"),
        (
            ["--gpu", "Apple M4", "--system", "macos", "--quantization", "nf4"],
            "quantization: nf4 does not run on this machine (mps)",
        ),
    ],
)
def test_bad_input_is_one_line_that_names_field_value_and_what_is_allowed(words, said, capsys):
    assert main(["serving", "--model", LLAMA, *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


def test_a_model_that_generates_nothing_is_refused():
    with pytest.raises(Problem, match="generates no text"):
        serving("google-bert/bert-base-uncased", context_tokens=512)


def test_the_command(capsys):
    words = ["serving", "--model", LLAMA, "--gpu", "RTX 4090", "--users", "8", "--context", "8192"]
    assert studio([*words, "--quantization", "nf4", "--check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fits"] and told["max_users"] >= 8 and told["components"]["kv_cache"] == 8 * 8192 * 131_072
    assert studio([*words, "--check"]) == 3
    assert "most users at 8,192 tokens" in capsys.readouterr().out
