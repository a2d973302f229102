"""How a repository stores its weights: read off its record as Transformers reads it, counted as it is loaded, refused
with the remedy."""

import json

import pytest

from estimator import Problem, Recipe, check, compare_methods, estimate
from estimator.hub.sources import model_from_config
from estimator.memory.states import base_weights
from estimator.memory.stored import as_loaded, storage_of
from estimator.model.originals import originals
from tests.estimator import small
from tests.estimator.cases import case

torch = pytest.importorskip("torch")

BNB4 = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
}
LLAMA = small.CONFIGS["llama"]
RECIPE = Recipe(model="repository", max_length=16)


@pytest.mark.parametrize(
    ("record", "title"),
    [
        (BNB4, "nf4 (bitsandbytes)"),
        ({"load_in_4bit": True}, "fp4 (bitsandbytes)"),  # BitsAndBytesConfig's own default
        ({"load_in_8bit": True, "load_in_4bit": False}, "int8 (bitsandbytes)"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": False}, None),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "FP8"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "gptq", "bits": 8}, "GPTQ, 8 bits"),
        ({"quant_method": "awq", "bits": 4}, "AWQ, 4 bits"),
        ({"quant_method": "awq", "w_bit": 4}, "AWQ, 4 bits"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "ModelOpt"),
        ({"quant_method": "never-heard-of"}, "never-heard-of"),
        ({"bits": 4, "group_size": 64}, "MLX, 4 bits"),
        ({"config_groups": {}, "format": "pack-quantized"}, "compressed-tensors"),
        ({}, None),
        (None, None),
    ],
)
def test_a_record_is_read_as_transformers_reads_it(record, title):
    storage = storage_of(LLAMA | {"quantization_config": record})
    assert (storage.title if storage else None) == title


@pytest.mark.parametrize("place", ["text_config", "compression_config", "quantization"])
def test_a_record_in_another_place_is_found(place):
    record = {"quant_method": "compressed-tensors"} if place != "quantization" else {"bits": 4, "group_size": 64}
    config = LLAMA | {place: {"quantization_config": record} if place == "text_config" else record}
    assert storage_of(config).method in ("compressed-tensors", "mlx")


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ("fp8", "quantization_config"),
        ([1], "quantization_config"),
        ({"bnb_4bit_quant_type": "nf4"}, "quant_method"),
        ({"quant_method": 4}, "quant_method"),
        ({"load_in_4bit": 1}, "load_in_4bit"),
        ({"load_in_4bit": True, "load_in_8bit": True}, "load_in_8bit"),
        (BNB4 | {"bnb_4bit_quant_type": "nf5"}, "bnb_4bit_quant_type"),
        (BNB4 | {"bnb_4bit_use_double_quant": "yes"}, "bnb_4bit_use_double_quant"),
        (BNB4 | {"bnb_4bit_quant_storage": "float8"}, "bnb_4bit_quant_storage"),
        (BNB4 | {"llm_int8_skip_modules": "lm_head"}, "llm_int8_skip_modules"),
        (BNB4 | {"llm_int8_skip_modules": [1]}, "llm_int8_skip_modules"),
        (BNB4 | {"llm_int8_skip_modules": ["(a+)+x"]}, "llm_int8_skip_modules"),  # an expression of a stranger
    ],
)
def test_a_broken_record_is_named_with_its_key(record, key):
    with pytest.raises(Problem) as raised:
        storage_of(LLAMA | {"quantization_config": record})
    assert raised.value.code == "model.stored_broken" and raised.value.params["key"] == key


@pytest.mark.parametrize("quantization", ["nf4", "fp4", "int8"])
@pytest.mark.parametrize(
    "skipped",
    [None, [], ["lm_head", "model.layers.1.mlp", "layers.0.self_attn.q_proj"], ["model.layers.*.self_attn", "k_proj"]],
)
def test_a_packed_repository_counts_what_transformers_loads_of_it(quantization, skipped, tmp_path):
    """Saved and loaded by Transformers: its record goes before the caller's, and so does its list of layers left
    alone."""
    from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

    plain = (
        {"load_in_8bit": True}
        if quantization == "int8"
        else {"load_in_4bit": True, "bnb_4bit_quant_type": quantization, "bnb_4bit_compute_dtype": "bfloat16"}
    )
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**LLAMA), dtype=torch.bfloat16).save_pretrained(
        tmp_path / "plain"
    )
    record = BitsAndBytesConfig(**plain, llm_int8_skip_modules=skipped)
    AutoModelForCausalLM.from_pretrained(
        tmp_path / "plain", dtype=torch.bfloat16, quantization_config=record
    ).save_pretrained(tmp_path / "packed")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "packed", dtype=torch.bfloat16, device_map={"": "cpu"})

    model = model_from_config(json.loads((tmp_path / "packed/config.json").read_text()), "packed", tmp_path / "cache")
    recipe = as_loaded(RECIPE.replace(quantization=quantization, bnb_4bit_use_double_quant=True), model.config)
    assert not recipe.bnb_4bit_use_double_quant  # the recipe's was on
    made = base_weights(model.inventory, "bfloat16", quantization, recipe.bnb_4bit_use_double_quant, "none")
    assert made.weights_bytes + made.quantization_state_bytes == _bytes(loaded)


def _bytes(model):
    total = sum(buffer.nbytes for buffer in model.buffers())
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        total += parameter.untyped_storage().nbytes()
        if state is not None:
            total += (
                state.absmax.nbytes
                + state.code.nbytes
                + (state.offset.nbytes + state.state2.absmax.nbytes + state.state2.code.nbytes if state.nested else 0)
            )
        if getattr(parameter, "SCB", None) is not None:
            total += parameter.SCB.nbytes
    return total


def test_the_law_of_a_packed_repository_is_traced_with_its_own_layers(tmp_path):
    """Left in 16 bits or packed, a layer is another program: the weights in the answer are those of the trace."""
    config = LLAMA | {"quantization_config": BNB4 | {"llm_int8_skip_modules": ["lm_head", "model.layers.*.self_attn"]}}
    model = model_from_config(config, "packed", tmp_path)
    made = estimate(RECIPE, model=model, engine="trace")
    every = estimate(RECIPE, model=model_from_config(LLAMA, "plain", tmp_path), engine="trace")
    assert (
        made.components["weights"] > every.components["weights"]
        and made.components["quantization_state"] < every.components["quantization_state"]
    )
    (note,) = [note for note in made.warnings if note.code == "model.stored_packed_so"]
    assert note.params["left"] == "13" and note.params["stored"] == "nf4 (bitsandbytes)"  # 3 layers of 4, and the head


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"method": "lora"}, "model.stored_packed", "method"),
        ({"method": "full"}, "model.stored_packed", "method"),
        ({"quantization": "int8"}, "model.stored_otherwise", "quantization"),
        ({"quantization": "fp4"}, "model.stored_otherwise", "quantization"),
    ],
)
def test_what_a_packed_repository_cannot_be_is_refused_with_the_one_in_16_bits(fields, code, field, tmp_path):
    model = model_from_config(case("llama31_bnb4"), "unsloth/Llama-3.1-8B-unsloth-bnb-4bit", tmp_path)
    recipe = Recipe(model=model.id, **fields)
    with pytest.raises(Problem) as raised:
        estimate(recipe, model=model)
    assert raised.value.code == code and raised.value.field == field
    assert raised.value.params["allowed"].split(", ")[:2] == ["unsloth/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"]
    assert [problem.code for problem in check(recipe, model=model)] == [code]


def test_only_qlora_of_the_three_methods_answers_for_a_packed_repository(tmp_path):
    model = model_from_config(case("llama31_bnb4"), "unsloth/Llama-3.1-8B-bnb-4bit", tmp_path)
    answers = compare_methods(Recipe(model=model.id), model=model)
    assert [getattr(answers[method], "code", "") for method in ("full", "lora", "qlora")] == [
        "model.stored_packed",
        "model.stored_packed",
        "",
    ]


UNTRAINABLE = (
    "aqlm", "auto-round", "awq", "bitnet", "compressed-tensors", "eetq", "exl2", "fbgemm_fp8", "fouroversix",
    "fp_quant", "gptq", "higgs", "hqq",
    "modelopt", "nvfp4", "quanto", "quark", "sinq", "spqr", "torchao", "vptq", "never-heard-of",
)  # fmt: skip


@pytest.mark.parametrize("method", UNTRAINABLE)
@pytest.mark.parametrize("recipe", [RECIPE, RECIPE.replace(method="lora")], ids=lambda recipe: recipe.method)
def test_what_trains_nothing_is_refused_by_name(method, recipe, tmp_path):
    model = model_from_config(LLAMA | {"quantization_config": {"quant_method": method}}, "org/model", tmp_path)
    with pytest.raises(Problem) as raised:
        estimate(recipe, model=model)
    assert raised.value.code == "model.stored_untrainable_alone" and storage_of(model.config).title in str(raised.value)


@pytest.mark.parametrize("name", ["qwen25_awq", "qwen25_gptq", "qwen25_gptq8"])
def test_the_cases_name_presets_of_their_sizes(name, tmp_path):
    with pytest.raises(Problem) as raised:
        estimate(Recipe(model="config.json"), model=model_from_config(case(name), "config.json", tmp_path))
    assert "Qwen/Qwen2.5-7B" in raised.value.params["allowed"]


@pytest.mark.parametrize(
    ("name", "config", "first"),
    [
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", {}, "unsloth/Meta-Llama-3.1-8B-Instruct"),
        ("unsloth/gemma-3-4b-it-unsloth-bnb-4bit", {}, "unsloth/gemma-3-4b-it"),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", {}, "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", {}, "Qwen/Qwen2.5-7B-Instruct"),
        ("TheBloke/Mistral-7B-v0.1-GPTQ", {"_name_or_path": "mistralai/Mistral-7B-v0.1"}, "mistralai/Mistral-7B-v0.1"),
        ("TheBloke/Mistral-7B-v0.1-GPTQ", {"_name_or_path": "/home/me/mistral"}, "Mistral-7B-v0.1"),
        ("someone/Foo-7B-quantized.w4a16", {}, "Foo-7B"),
        ("someone/Foo-7B-FP8-dynamic", {}, "Foo-7B"),
        ("someone/Mixtral-8x7B-AWQ-INT4", {}, "Mixtral-8x7B"),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "llama31_bnb4", "meta-llama/Llama-3.1-8B"),
    ],
)
def test_the_16_bit_repository_is_known_by_name_by_origin_and_by_sizes(name, config, first):
    assert originals(name, case(config) if isinstance(config, str) else config)[0] == first


@pytest.mark.parametrize(
    "name", ["Qwen/Qwen3-4B", "microsoft/phi-4", "google/gemma-3-270m", "someone/Foo-7B", "config.json"]
)
def test_a_name_that_says_nothing_of_storage_names_nothing(name):
    assert originals(name, {}) == []


STORED = {
    "FP8": {
        "deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-R1", "moonshotai/Kimi-K2-Instruct", "MiniMaxAI/MiniMax-M2.5",
        "mistralai/Ministral-3-3B-Instruct-2512", "mistralai/Devstral-Small-2-24B-Instruct-2512",
    },
    "MXFP4": {"openai/gpt-oss-20b", "openai/gpt-oss-120b"},
}  # fmt: skip


def test_presets_say_how_they_are_stored():
    from estimator.model import catalog

    told = {id: storage.title for id in catalog.models() if (storage := storage_of(catalog.preset_config(id)))}
    assert told == {id: title for title, ids in STORED.items() for id in ids}


@pytest.mark.parametrize(
    ("method", "code"), [("lora", "model.stored_dequantized"), ("qlora", "model.stored_dequantized_packed")]
)
def test_an_fp8_repository_counts_as_it_is_loaded_and_says_so(method, code):
    made = estimate(Recipe(model="mistralai/Ministral-3-3B-Instruct-2512", method=method))
    (note,) = [note for note in made.warnings if note.code == code]
    assert note.params["weights"] == "7.17 GiB" and note.params["stored"] == "FP8"
    loading = next(peak for peak in made.peaks if peak.name == "loading")
    if method == "lora":
        assert made.components["weights"] >= 2 * made.total_parameters and loading.host_bytes == 0
    else:
        assert loading.host_bytes == 2 * made.total_parameters  # they wait there, unpacked, to be quantized
