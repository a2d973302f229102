"""Counts from safetensors headers, against the model that wrote them; and what a hostile header gets."""

from __future__ import annotations

import json

import pytest

from estimator import Recipe, estimate
from estimator.adapters.adapters import trainables
from estimator.hub.sources import UncountedModel
from estimator.model.headers import (
    CLASS_NAME,
    BadHeader,
    cross_check,
    header_length,
    parse_header,
    read_folder,
    stored,
    weight_files,
)
from estimator.model.inventory import Inventory
from estimator.model.spec import ModelSpec
from tests.estimator.repositories import tensors_of, write_tensors
from tests.estimator.small import CONFIGS, inventory


def named(tensors) -> dict:
    """Tensors as a header names them."""
    return {name: ("BF16", tuple(tensor.shape)) for name, tensor in tensors.items()}


def held(name: str, **more):
    return stored(named(tensors_of(name)) | more, CONFIGS[name])


def doubts(name: str, **more) -> list[str]:
    built = inventory(name)
    return [
        note.code for note in cross_check("org/model", held(name, **more), built, ModelSpec.from_config(CONFIGS[name]))
    ]


@pytest.mark.parametrize(
    "name", ["llama", "qwen2-bias", "gemma-tied", "phi3-fused", "opt-bias", "bloom", "gpt2-conv1d"]
)
def test_the_count_is_the_models(name):
    assert held(name).inventory.total_parameters == inventory(name).total_parameters
    assert doubts(name) == []


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("llama", "all-linear"),
        ("llama", ("q_proj", "v_proj")),
        ("qwen2-bias", "all-linear"),
        ("phi3-fused", "all-linear"),
        ("phi3-fused", ("qkv_proj",)),
    ],
)
def test_adapters_are_those_of_the_real_model(name, targets):
    recipe = Recipe(model="x", method="lora", target_modules=targets)
    guessed, real = (trainables(recipe, made) for made in (held(name).inventory, inventory(name)))
    assert guessed.parameters == real.parameters and sorted(guessed.targets) == sorted(real.targets)


def test_vocabulary_layers_are_found_under_other_names():
    shapes = {
        "transformer.embedding.word_embeddings.weight": (128, 64),
        "transformer.output_layer.weight": (128, 64),
        "transformer.encoder.layers.0.mlp.dense_h_to_4h.weight": (192, 64),
    }
    made = stored({name: ("F16", shape) for name, shape in shapes.items()}, CONFIGS["llama"]).inventory
    assert (made.input_embedding, made.output_embedding) == (
        "transformer.embedding.word_embeddings",
        "transformer.output_layer",
    )
    assert made.linear_names == ("transformer.encoder.layers.0.mlp.dense_h_to_4h",)


def test_a_tied_head_counts_once_stored_or_not():
    assert doubts("gemma-tied") == []
    assert doubts("gemma-tied", **{"lm_head.weight": ("BF16", (128, 64))}) == []


def test_a_difference_is_said_with_both_counts():
    built, spec = inventory("llama"), ModelSpec.from_config(CONFIGS["llama"])
    (note,) = cross_check("org/model", held("llama", **{"visual.proj.weight": ("BF16", (10, 64))}), built, spec)
    assert (
        note.code == "model.stored_differs"
        and f"{built.total_parameters:,}" in str(note)
        and f"{built.total_parameters + 640:,}" in str(note)
    )


@pytest.mark.parametrize(
    "name", ["mtp.layers.0.mlp.up_proj.weight", "model.mtp.fc.weight", "model.layers.3.eh_proj.weight"]
)
def test_layers_for_multi_token_prediction_are_told_apart(name):
    assert doubts("llama", **{name: ("BF16", (64, 64))}) == ["model.prediction_layers"]


def test_t5_stores_its_head_where_it_is_not_tied():
    from estimator.trace import meta_model

    config = {
        "model_type": "t5",
        "d_model": 64,
        "d_kv": 16,
        "d_ff": 96,
        "num_layers": 2,
        "num_heads": 4,
        "vocab_size": 128,
    }
    for tied in (True, False):
        config["tie_word_embeddings"] = tied
        built = Inventory.from_json(meta_model.derive(config).to_json())
        names = {
            f"{name}.{p.name}": ("F32", p.shape)
            for g in built.groups
            for name in g.names
            for p in g.parameters
            if not p.tied
        }
        copies = {"encoder.embed_tokens.weight": ("F32", (128, 64)), "decoder.embed_tokens.weight": ("F32", (128, 64))}
        for more in ({}, copies):
            assert cross_check("x", stored(names | more, config), built, ModelSpec.from_config(config)) == (), (
                tied,
                more,
            )


def test_tables_and_scales_are_no_parameters():
    more = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", (8,)),
        "model.layers.0.self_attn.bias": ("U8", (1, 1, 64, 64)),
        "model.embeddings.position_ids": ("I64", (1, 8192)), "model.layers.0.mlp.up_proj.weight_scale_inv": ("F32",
            (1, 1)),
    }  # fmt: skip
    assert doubts("llama", **more) == [] and held("llama", **more).packed == ()


def test_packed_weights_say_nothing_of_the_count():
    made = held("llama", **{"model.layers.0.mlp.up_proj.qweight": ("I32", (64, 96))})
    assert made.packed == ("I32",)
    assert cross_check("x", made, inventory("llama"), ModelSpec.from_config(CONFIGS["llama"])) == ()


def test_an_estimate_from_headers_is_approximate_and_says_so():
    source = UncountedModel("org/model", CONFIGS["llama"] | {"model_type": "homemade"})
    made = held("llama").inventory
    assert made.class_name == CLASS_NAME
    answer = estimate(Recipe(model="org/model", max_length=32), model=source.model(made))
    known = estimate(
        Recipe(model="org/model", max_length=32),
        model=UncountedModel("org/model", CONFIGS["llama"]).model(inventory("llama")),
    )
    assert {"model.from_headers", "estimator.approximate"} <= {note.code for note in answer.warnings}
    assert answer.total_parameters == known.total_parameters
    assert (
        known.components["weights"] - answer.components["weights"] == inventory("llama").buffer_bytes
    )  # no header names those
    width = [made.uncertainty.high_bytes - made.uncertainty.low_bytes for made in (answer, known)]
    assert width[0] > width[1]


def test_folders_are_read_to_the_end_of_the_header(tmp_path):
    folder = write_tensors(tmp_path, tensors_of("llama"), shards=2)
    for file in folder.glob("*.safetensors"):
        length = int.from_bytes(file.read_bytes()[:8], "little")
        file.write_bytes(file.read_bytes()[: 8 + length])  # the weights themselves are not there
    assert read_folder(folder) == named(tensors_of("llama"))
    assert read_folder(tmp_path.parent / "nothing") is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.safetensors", "consolidated.safetensors"], ["model.safetensors"]),
        (
            ["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors", "consolidated.safetensors"],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (["model.safetensors-00001-of-00001.safetensors"], ["model.safetensors-00001-of-00001.safetensors"]),
        (
            ["model-1-of-2.safetensors", "model-2-of-2.safetensors"],
            ["model-1-of-2.safetensors", "model-2-of-2.safetensors"],
        ),
        (["model-00001-of-00002.safetensors"], []),
        (["pytorch_model.bin", "model.gguf"], []),
        (["weights.safetensors"], ["weights.safetensors"]),
        (["a.safetensors", "b.safetensors", "sub/model.safetensors"], []),
    ],
)
def test_one_whole_copy_of_the_weights_is_taken(names, expected):
    assert list(weight_files(names)) == expected


@pytest.mark.parametrize("start", [b"", b"\0" * 8, b"\xff" * 8, (100_000_001).to_bytes(8, "little")])
def test_an_absurd_length_is_refused(start):
    with pytest.raises(BadHeader):
        header_length(start)


@pytest.mark.parametrize(
    "entries",
    [
        {"a": 1}, {"a": {"dtype": "F32"}}, {"a": {"dtype": 1, "shape": [1]}}, {"a": {"dtype": "F32", "shape": [-1]}},
        {"a": {"dtype": "F32", "shape": [True]}}, {"a": {"dtype": "F32", "shape": [10**30]}},
        {"a": {"dtype": "F32", "shape": [1] * 9}},
        {"layers.{0-999999999}.weight": {"dtype": "F32", "shape": [1]}}, {"": {"dtype": "F32", "shape": [1]}},
        {"a\n": {"dtype": "F32", "shape": [1]}}, [], 3,
    ],
)  # fmt: skip
def test_a_hostile_header_is_refused(entries):
    with pytest.raises(BadHeader):
        parse_header(json.dumps(entries).encode())


def test_absurd_totals_are_refused():
    with pytest.raises(BadHeader):
        stored({"a.weight": ("F32", (10**10, 10**10))}, CONFIGS["llama"])
    with pytest.raises(BadHeader):
        stored({"a.weight": ("I64", (10,))}, CONFIGS["llama"])
