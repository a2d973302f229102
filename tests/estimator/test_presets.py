"""The shipped data: every preset counts what it says, every row parses."""

import pytest

from estimator.adapters.adapters import trainables
from estimator.adapters.refusals import MAMBA_TYPES
from estimator.core.problems import Problem
from estimator.estimates.estimate import estimate
from estimator.hardware import cards
from estimator.model import catalog
from estimator.recipe.recipe import METHODS, Recipe

# Published totals that count something else than the model Transformers builds; models.csv says what, in its notes.
EXPLAINED = {
    "rotary buffers stored as weights": {"meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf",
        "meta-llama/Llama-2-70b-hf", "moonshotai/Kimi-K2-Instruct", "MiniMaxAI/MiniMax-M2.5"},
    "another vocabulary": {"codellama/CodeLlama-13b-hf"},
    "multi-token prediction or router buffers": {"Qwen/Qwen3.5-122B-A10B", "zai-org/GLM-4.7-Flash"},
    "file size, not a count": {"google/gemma-4-31B-it", "microsoft/Phi-3-medium-4k-instruct",
        "microsoft/Phi-4-mini-instruct", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"},
}  # fmt: skip


def test_llama_8b_is_exact():
    model = catalog.load_preset("meta-llama/Llama-3.1-8B")
    assert model.inventory.total_parameters == 8_030_261_248
    made = trainables(Recipe(model=model.id, method="lora", r=16, target_modules="all-linear"), model.inventory)
    assert made.parameters == 41_943_040


@pytest.mark.parametrize("id", catalog.models())
def test_a_preset_counts_what_it_states_and_can_be_estimated(id):
    preset, model = catalog.models()[id], catalog.load_preset(id)
    assert model.inventory.total_parameters == preset.parameters
    # PEFT takes no adapter on a Mamba layer's out_proj, which all-linear meets
    targets = ("q_proj", "v_proj") if model.inventory.model_type in MAMBA_TYPES else "all-linear"
    for method in METHODS:
        made = estimate(Recipe(model=id, method=method, max_length=64, target_modules=targets))
        assert made.total_parameters == preset.parameters
        assert sum(made.components.values()) == made.peak_allocated_bytes


def test_totals_are_the_published_ones_or_the_difference_is_explained():
    explained = set().union(*EXPLAINED.values())
    differ = {
        p.id for p in catalog.models().values() if p.published_parameters and p.published_parameters != p.parameters
    }
    encoders = {
        id for id in differ if catalog.models()[id].class_name.endswith("MaskedLM")
    }  # published without the head
    assert differ - encoders == explained


def test_every_gpu_is_found_by_its_own_name_and_unknown_stays_unknown():
    for name, gpu in cards.gpus().items():
        assert cards.find_gpu(name) is gpu
        usable = gpu.usable_bytes()
        if usable is not None:
            assert 0 < usable.bytes < usable.total_bytes <= gpu.memory_gib * 2**30
    assert cards.find_gpu("Gaudi 3").usable_bytes() is None


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("RTX 4090", "GeForce RTX 4090"),
        ("rtx 4090", "GeForce RTX 4090"),
        ("T4", "Tesla T4"),
        ("NVIDIA L4", "L4"),
        ("B200", "B200 SXM 180GB"),
    ],
)
def test_a_unique_alias_names_one_card(alias, name):
    assert cards.find_gpu(alias).name == name


def test_an_ambiguous_card_lists_the_candidates():
    with pytest.raises(Problem) as caught:
        cards.find_gpu("A100")
    assert caught.value.code == "gpu.ambiguous"
    assert all(name in str(caught.value) for name in cards.gpus() if name.startswith("A100 "))
    with pytest.raises(Problem, match="no accelerator is called Voodoo 2"):
        cards.find_gpu("Voodoo 2")
