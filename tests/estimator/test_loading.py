"""What is loaded is what the folder stores, all of it and nothing else, as the recipe stores it."""

from __future__ import annotations

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GptOssConfig

from estimator.core.problems import Problem
from estimator.program import loading
from estimator.recipe.recipe import Recipe
from tests import packed_bases
from tests.packed_bases import tensors_of, write
from tests.studio.chat_models import make_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base") / "tiny")


def load(folder, **fields):
    return loading.load_base(
        Recipe(model="m", **{"method": "lora", "dtype": "float32", **fields}), folder, training=True
    )


def refused(folder, **fields) -> Problem:
    with pytest.raises(Problem) as caught:
        load(folder, **fields)
    return caught.value


def same(model, meant: dict[str, torch.Tensor]) -> bool:
    held = model.state_dict()
    return held.keys() == meant.keys() and all(
        torch.equal(held[name], meant[name].to(held[name].dtype)) for name in meant
    )


@pytest.mark.parametrize("block", [(32, 32), (128, 128), (48, 48)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fp8_is_loaded_with_its_scales(base, tmp_path, block, dtype):
    """Also where a side is no multiple of the block: 64 and 128 by 48."""
    meant = packed_bases.fp8(tmp_path / "fp8", base, block)
    model = load(tmp_path / "fp8", dtype=dtype)
    assert same(model, meant) and {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}


@pytest.mark.parametrize("fields", [{"quantization": "nf4"}, {"quantization": "int8"}])
def test_fp8_is_quantized_from_the_weights_meant(base, tmp_path, fields):
    meant = packed_bases.fp8(tmp_path / "fp8", base, (48, 48))
    made = load(tmp_path / "fp8", method="qlora", **fields)
    plain = load(
        write(tmp_path / "plain", base, {name: tensor.float() for name, tensor in meant.items()}),
        method="qlora",
        **fields,
    )
    assert same(made, plain.state_dict())
    assert sum(isinstance(module, (Linear4bit, Linear8bitLt)) for module in made.modules()) == 14


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_mxfp4_experts_are_loaded_not_drawn(tmp_path, method):
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 32,
    }
    config = GptOssConfig(**sizes, vocab_size=64, num_local_experts=2, num_experts_per_tok=1)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "plain")
    meant = packed_bases.mxfp4(tmp_path / "mxfp4", tmp_path / "plain")
    held = load(tmp_path / "mxfp4", method=method).state_dict()
    experts = [name for name in meant if name.endswith(("gate_up_proj", "down_proj"))]
    assert len(experts) == 2 and all(torch.equal(held[name], meant[name]) for name in experts)


@pytest.fixture
def nf4(base, tmp_path):
    """The base as unsloth publishes: packed by bitsandbytes, one layer left in 16 bits."""
    kept = ["lm_head", "model.layers.0"]
    four = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="bfloat16", llm_int8_skip_modules=kept
    )
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, quantization_config=four).save_pretrained(
        tmp_path / "nf4"
    )
    return tmp_path / "nf4"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"method": "lora"}, "model.stored_packed"),
        ({"method": "full"}, "model.stored_packed"),
        ({"quantization": "int8"}, "model.stored_otherwise"),
        ({"quantization": "fp4"}, "model.stored_otherwise"),
    ],
)
def test_a_recipe_that_asks_for_another_storage_is_refused(nf4, fields, code):
    assert refused(nf4, **{"method": "qlora", **fields}).code.startswith(code)


@pytest.mark.parametrize("method", ["awq", "gptq", "compressed-tensors", "no-such-method"])
def test_what_cannot_be_trained_is_refused(base, tmp_path, method):
    folder = write(tmp_path / "other", base, tensors_of(base), quantization_config={"quant_method": method, "bits": 4})
    assert refused(folder, method="qlora").code.startswith("model.stored_untrainable")


def test_what_bitsandbytes_packed_stays_packed_and_computes_in_the_recipes_type(nf4):
    model = load(nf4, method="qlora")
    packed = {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}
    assert len(packed) == 7 and all(name.startswith("model.layers.1.") for name in packed)
    assert {module.compute_dtype for module in packed.values()} == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32, torch.uint8}
    held, stored = model.state_dict(), tensors_of(nf4)
    assert held.keys() == stored.keys() and all(
        torch.equal(held[name], stored[name].to(held[name].dtype)) for name in held
    )


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda t: {k: v for k, v in t.items() if "q_proj" not in k}, (2, 0, 0)),
        (lambda t: t | {"model.layers.0.mlp.gate_proj.lora.weight": torch.zeros(3)}, (0, 1, 0)),
        (lambda t: t | {"model.layers.0.mlp.up_proj.weight": torch.zeros(130, 64)}, (0, 0, 1)),
        (lambda t: t | {"model.layers.0.mlp.up_proj.weight_scale_inv": torch.ones(1)}, (0, 1, 0)),
        (lambda t: {k.replace("model.layers.1", "model.layers.7"): v for k, v in t.items()}, (9, 9, 0)),
        (lambda t: {k: v for k, v in t.items() if k != "lm_head.weight"}, (1, 0, 0)),
    ],
)
def test_other_tensors_than_the_models_are_named(base, tmp_path, change, counts, method):
    problem = refused(write(tmp_path / "other", base, change(tensors_of(base))), method=method)
    assert problem.code == "base.other_tensors"
    assert tuple(problem.params[key] for key in ("missing", "unexpected", "reshaped")) == counts
    assert "model." in problem.params["tensors"] or "lm_head" in problem.params["tensors"]


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 3},
        {"intermediate_size": 96},
        {"tie_word_embeddings": True, "num_hidden_layers": 1},
    ],
)
def test_a_config_of_another_model_is_seen(base, tmp_path, config):
    assert refused(write(tmp_path / "other", base, tensors_of(base), **config)).code == "base.other_tensors"


@pytest.mark.parametrize(
    ("change", "config"),
    [
        (lambda t: t | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)}, {}),
        (lambda t: {k: v for k, v in t.items() if k != "lm_head.weight"}, {"tie_word_embeddings": True}),
        (lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"].clone()}, {"tie_word_embeddings": True}),
        (lambda t: t | {"model.layers.2.mlp.up_proj.weight": torch.zeros(8)}, {"num_nextn_predict_layers": 1}),
        (lambda t: t | {"model.layers.0.self_attn.k_scale": torch.ones(1)}, {}),
    ],
)
def test_tables_tied_heads_and_prediction_layers_are_no_fault(base, tmp_path, change, config):
    model = load(write(tmp_path / "more", base, change(tensors_of(base)), **config))
    assert torch.equal(model.model.embed_tokens.weight, tensors_of(base)["model.embed_tokens.weight"])
