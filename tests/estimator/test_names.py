"""Names that people type for models: which preset answers, what is refused, and what must never be taken for
another."""

import pytest

from estimator import Problem, Recipe, estimate
from estimator.hub import sources
from estimator.memory.stored import storage_of
from estimator.model import catalog, names
from tests import hub as hubs
from tests.estimator.repositories import CONFIGS, repository

ANSWERED = {
    # instruct, chat and base versions
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B",
    "meta-llama/Meta-Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B",
    "meta-llama/Meta-Llama-3-8B-Instruct": "meta-llama/Meta-Llama-3-8B",
    "meta-llama/Llama-3.2-3B-Instruct": "meta-llama/Llama-3.2-3B",
    "meta-llama/Llama-2-7b-chat-hf": "meta-llama/Llama-2-7b-hf",
    "Qwen/Qwen2.5-32B-Instruct": "Qwen/Qwen2.5-32B",
    "Qwen/Qwen2.5-14B": "Qwen/Qwen2.5-14B-Instruct",
    "Qwen/Qwen2-7B-Instruct": "Qwen/Qwen2-7B",
    "Qwen/Qwen1.5-7B-Chat": "Qwen/Qwen1.5-7B",
    "Qwen/Qwen3-8B-Base": "Qwen/Qwen3-8B",
    "Qwen/Qwen3-4B-Thinking-2507": "Qwen/Qwen3-4B-Instruct-2507",
    "Qwen/Qwen3-235B-A22B-Instruct-2507": "Qwen/Qwen3-235B-A22B",
    "google/gemma-2-9b-it": "google/gemma-2-9b",
    "google/gemma-3-4b-pt": "google/gemma-3-4b-it",
    "mistralai/Mistral-7B-Instruct-v0.3": "mistralai/Mistral-7B-v0.3",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "mistralai/Mixtral-8x7B-v0.1",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "HuggingFaceTB/SmolLM2-135M",
    "01-ai/Yi-1.5-6B-Chat": "01-ai/Yi-6B",
    "zai-org/GLM-Z1-9B-0414": "zai-org/GLM-4-9B-0414",
    # other weights of one structure
    "Qwen/Qwen2.5-Coder-32B-Instruct": "Qwen/Qwen2.5-32B",
    "Qwen/Qwen2.5-Math-7B-Instruct": "Qwen/Qwen2.5-7B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "Qwen/Qwen2.5-7B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": "Qwen/Qwen2.5-32B",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B": "Qwen/Qwen3-8B",
    "HuggingFaceH4/zephyr-7b-beta": "mistralai/Mistral-7B-v0.1",
    # case, owner and spelling left out
    "meta-llama/llama-3.1-8b": "meta-llama/Llama-3.1-8B",
    "llama 3.1 8b": "meta-llama/Llama-3.1-8B",
    "Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B",
    "LLAMA 3.3 70B": "meta-llama/Llama-3.3-70B-Instruct",
    "meta llama 3 8b": "meta-llama/Meta-Llama-3-8B",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B",
    "Qwen2.5 7B Instruct": "Qwen/Qwen2.5-7B-Instruct",
    "qwen 3 8b": "Qwen/Qwen3-8B",
    "qwen2_5-coder-7b": "Qwen/Qwen2.5-Coder-7B-Instruct",
    "google gemma 2 9b": "google/gemma-2-9b",
    "gemma-2b": "google/gemma-2b",
    "phi4": "microsoft/phi-4",
    "mixtral 8x7b": "mistralai/Mixtral-8x7B-v0.1",
    "mistral nemo": "mistralai/Mistral-Nemo-Instruct-2407",
    "olmo 2 7b": "allenai/OLMo-2-1124-7B",
    "gpt2": "openai-community/gpt2",
    "gpt-oss 20b": "openai/gpt-oss-20b",
    "  Qwen3-8B  ": "Qwen/Qwen3-8B",
    "ｑｗｅｎ２．５ ７ｂ": "Qwen/Qwen2.5-7B",
    "llama 3.1 8b 模型": "meta-llama/Llama-3.1-8B",
    # as Ollama, ModelScope and mirrors write them
    "llama3.1:8b": "meta-llama/Llama-3.1-8B",
    "qwen2.5:7b": "Qwen/Qwen2.5-7B",
    "qwen:7b": "Qwen/Qwen1.5-7B",
    "deepseek-r1:7b": "Qwen/Qwen2.5-7B",
    "mistral:7b": "mistralai/Mistral-7B-v0.3",
    "tinyllama": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "LLM-Research/Meta-Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B",
    "modelscope:LLM-Research/Meta-Llama-3-8B-Instruct": "meta-llama/Meta-Llama-3-8B",
    "qwen/Qwen2.5-7B-Instruct": "Qwen/Qwen2.5-7B-Instruct",
    "modelscope:Qwen/Qwen2.5-7B-Instruct": "Qwen/Qwen2.5-7B-Instruct",
    "ZhipuAI/GLM-4-9B-0414": "zai-org/GLM-4-9B-0414",
    "THUDM/GLM-4-9B-0414": "zai-org/GLM-4-9B-0414",
    "AI-ModelScope/Mistral-7B-v0.1": "mistralai/Mistral-7B-v0.1",
    "unsloth/Llama-3.2-1B-Instruct": "meta-llama/Llama-3.2-1B",
    "unsloth/llama-3-8b": "meta-llama/Meta-Llama-3-8B",
    "unsloth/mistral-7b-instruct-v0.3": "mistralai/Mistral-7B-v0.3",
    "NousResearch/Llama-2-7b-chat-hf": "meta-llama/Llama-2-7b-hf",
    "NousResearch/Meta-Llama-3.1-8B": "meta-llama/Llama-3.1-8B",
    "mlx-community/Meta-Llama-3.1-8B-Instruct-bf16": "meta-llama/Llama-3.1-8B",
    # packed in 4 or 8 bits, which trains as it is
    "unsloth/llama-3-8b-bnb-4bit": "meta-llama/Meta-Llama-3-8B",
    "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit": "meta-llama/Llama-3.1-8B",
    "unsloth/Qwen2.5-7B-Instruct-unsloth-bnb-4bit": "Qwen/Qwen2.5-7B-Instruct",
    "llama-3.1-8b-bnb-4bit": "meta-llama/Llama-3.1-8B",
    # eight bits that are loaded in sixteen
    "Qwen/Qwen3-8B-FP8": "Qwen/Qwen3-8B",
}
REFUSED = {
    "Qwen/Qwen2.5-7B-Instruct-AWQ": ("model.stored_untrainable", "Qwen/Qwen2.5-7B-Instruct"),
    "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4": ("model.stored_untrainable", "Qwen/Qwen2.5-7B-Instruct"),
    "qwen2.5-7b-instruct-awq": ("model.stored_untrainable", "Qwen/Qwen2.5-7B-Instruct"),
    "TheBloke/Llama-2-7B-Chat-GPTQ": ("model.stored_untrainable", "meta-llama/Llama-2-7b-chat-hf"),
    "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF": ("model.stored_untrainable", "meta-llama/"),
    "llama3.1:8b-instruct-q4_K_M": ("model.stored_untrainable", "meta-llama/Llama-3.1-8B"),
    "mlx-community/Llama-3.1-8B-Instruct-4bit": ("model.stored_untrainable", "meta-llama/Llama-3.1-8B"),
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic": ("model.stored_untrainable", "meta-llama/"),
    "meta-llama/Llama-3.1-405B-Instruct-FP8": ("model.stored_untrainable", "meta-llama/Llama-3.1-405B"),
    "mistralai/Mistral-7B-Instruct-v0.2": ("model.other_structure", "sliding_window"),
    "mistralai/Mixtral-8x22B-Instruct-v0.1": ("model.other_structure", "vocab_size"),
    "mixtral 8x22b instruct": ("model.other_structure", "vocab_size"),
    "codellama/CodeLlama-7b-Python-hf": ("model.other_structure", "vocab_size"),
    "unsloth/phi-4": ("model.other_structure", "llama"),
    "unsloth/Phi-4-bnb-4bit": ("model.other_structure", "llama"),
    "mistral 7b": ("model.ambiguous", "mistralai/Mistral-7B-v0.3"),
    "deepseek-r1:8b": ("model.ambiguous", "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B"),
    "glm-4-9b-chat": ("model.ambiguous", "zai-org/glm-4-9b-chat-hf"),
    # nothing of ours: never taken for what looks like it, but named
    "Qwen/Qwen2.5-8B": ("hub.offline", "Qwen/Qwen2.5-7B"),
    "qwen2.5-8b": ("model.unknown", "Qwen/Qwen2.5-7B"),
    "qwen3-coder-8b": ("model.unknown", "Qwen/"),
    "qwen3-moe-8b": ("model.unknown", "Qwen/"),
    "Qwen/Qwen2.5-VL-3B-Instruct": ("hub.offline", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "Qwen/Qwen3-VL-2B-Instruct": ("hub.offline", "Qwen/Qwen3-VL"),
    "deepseek v4": ("model.unknown", "deepseek-ai/"),
    "deepseek-ai/DeepSeek-V3.2-Exp": ("hub.offline", "deepseek-ai/DeepSeek-V3"),
    "NousResearch/Hermes-2-Pro-Llama-3-8B": ("hub.offline", "meta-llama/"),
    "someone/Llama-3.1-8B-Instruct": ("hub.offline", "meta-llama/Llama-3.1-8B"),
    "Llama-3.1-8B-Lexi-Uncensored": ("model.unknown", "meta-llama/Llama-3.1-8B"),
    "某某 llama 3.1 8b": ("model.unknown", "meta-llama/Llama-3.1-8B"),
    "llama3.1": ("model.unknown", "meta-llama/Llama-3.1-8B, meta-llama/Llama-3.1-70B"),
    "gemma-3n-e4b": ("model.unknown", "google/gemma"),
    "unsloth/gpt-oss-20b-unsloth-bnb-4bit": ("hub.offline", "openai/gpt-oss-20b"),
    "unsloth/Qwen3-30B-A3B-bnb-4bit": ("hub.offline", "Qwen/Qwen3-30B-A3B"),
    "phi-3-small": ("model.unknown", "microsoft/Phi-3"),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("name", "preset"), ANSWERED.items(), ids=list(ANSWERED))
def test_a_name_that_people_type_is_answered_by_the_preset_of_its_structure(name, preset, tmp_path):
    model = sources.open_model(name, tmp_path / "cache")
    kept = catalog.load_preset(preset).inventory  # equal by content: the catalog drops what was not asked for lately
    assert model.id == preset and model.inventory.to_json() == kept.to_json()
    said = [note.code for note in model.notes]
    assert ("model.read_as" in said or "model.same_structure" in said) == (name != preset)
    recipe = Recipe(model=name)
    assert estimate(recipe, model=model).device_bytes == estimate(Recipe(model=preset)).device_bytes


@pytest.mark.parametrize(("name", "expected"), REFUSED.items(), ids=list(REFUSED))
def test_what_is_no_preset_under_another_name_is_refused_and_what_is_close_named(name, expected, tmp_path):
    with pytest.raises(Problem) as raised:
        model = sources.open_model(name, tmp_path / "cache")
        estimate(Recipe(model=name), model=model)
    assert raised.value.code == expected[0] and expected[1] in str(raised.value), str(raised.value)


def test_every_row_of_the_table_means_a_preset_and_is_none_itself():
    for row in catalog.rows("names.csv"):
        for id in row["means"].split(";"):
            meaning = names.meant(id)
            assert meaning.known.preset in catalog.models(), row
        assert row["name"] not in catalog.models()
        if "/" in row["name"]:
            assert names.meant(row["name"]).id == row["name"]


def test_a_packed_copy_counts_as_its_name_says_and_other_methods_are_refused(tmp_path):
    model = sources.open_model("unsloth/llama-3-8b-bnb-4bit", tmp_path)
    assert storage_of(model.stored_config).title == "nf4 (bitsandbytes)"
    codes = [note.code for note in estimate(Recipe(model=model.name), model=model).warnings]
    assert codes[:3] == ["model.same_structure", "model.stored_by_name", "model.stored_packed_so"]
    with pytest.raises(Problem) as raised:
        estimate(Recipe(model=model.name, method="lora"), model=model)
    assert raised.value.code == "model.stored_packed" and "meta-llama/Meta-Llama-3-8B" in str(raised.value)


def test_another_context_of_the_same_tensors_is_kept():
    assert sources.open_model("Qwen/Qwen2.5-Math-7B").spec.max_position_embeddings == 4096
    assert sources.open_model("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B").spec.max_position_embeddings == 131072


def test_the_repository_to_fetch_is_the_one_that_was_meant():
    assert names.repository("qwen2.5 7b instruct") == "Qwen/Qwen2.5-7B-Instruct"
    assert names.repository("LLM-Research/Meta-Llama-3.1-8B-Instruct") == (
        "modelscope:LLM-Research/Meta-Llama-3.1-8B-Instruct"
    )
    assert names.repository("unsloth/llama-3-8b-bnb-4bit") == "unsloth/llama-3-8b-bnb-4bit"
    assert names.repository("https://example.org/meta-llama/Llama-3.1-8B-Instruct/tree/main") == (
        "meta-llama/Llama-3.1-8B-Instruct"
    )
    assert names.repository("someone/anything") == "someone/anything"


def test_a_folder_goes_before_a_name_and_a_hub_before_what_a_name_tells(tmp_path, monkeypatch):
    repository(tmp_path / "gpt2")
    assert sources.open_source("gpt2").config == CONFIGS["llama"] and not sources.local_folder("gpt-2")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    ids = ("unsloth/llama-3-8b-bnb-4bit", "meta-llama/Llama-3.1-8B-Instruct")
    with hubs.hub({id: repository(tmp_path / "hub" / id) for id in ids}) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        assert sources.open_model(ids[0], tmp_path / "cache").config == CONFIGS["llama"]  # its own record knows better
        asked = len(server.asked)
        assert asked and sources.open_model(ids[1], tmp_path / "cache").id == "meta-llama/Llama-3.1-8B"
        with pytest.raises(Problem) as raised:  # the hub says that there is none: a likely name is not taken for it
            sources.open_model("unsloth/llama-3-8b-instruct-bnb-4bit", tmp_path / "cache")
    assert asked and raised.value.code == "hub.not_found"


def test_a_name_is_one_model_however_often_it_is_asked():
    """What is computed of a model is kept by the record."""
    assert sources.open_model("qwen2.5 7b instruct") is sources.open_model("qwen2.5 7b instruct")
