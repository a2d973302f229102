"""The composer: parts sum, bounds hold, problems name the field, the import stays light."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator import Problem, Recipe, check, compare_methods, cpu_growth, estimate
from estimator.estimates.parts import law_of
from estimator.law.law import COMPONENTS, Law

LLAMA = "meta-llama/Llama-3.1-8B"
sizes = st.fixed_dictionaries(
    {
        "per_device_train_batch_size": st.integers(1, 64),
        "max_length": st.integers(8, 8192),
        "r": st.integers(1, 256),
        "method": st.sampled_from(("full", "lora", "qlora")),
        "gradient_checkpointing": st.booleans(),
        "attn_implementation": st.sampled_from(("sdpa", "eager")),
        "gradient_accumulation_steps": st.sampled_from((1, 4)),
        "use_dora": st.booleans(),
        "optim": st.sampled_from(("adamw_torch", "adamw_bnb_8bit", "paged_adamw_8bit", "sgd")),
    }
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(fields=sizes)
def test_components_sum_to_the_peak_and_lie_inside_the_bar(fields):
    made = estimate(Recipe(model=LLAMA, **fields), "RTX 4090")
    assert tuple(made.components) == COMPONENTS
    assert sum(made.components.values()) == made.peak_allocated_bytes <= made.peak_reserved_bytes < made.device_bytes
    assert min(made.components.values()) >= 0
    assert made.uncertainty.low_bytes <= made.device_bytes <= made.uncertainty.high_bytes
    assert made.fits == (made.headroom_bytes >= 0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(fields=sizes, field=st.sampled_from(("per_device_train_batch_size", "max_length", "r")))
def test_more_never_takes_less(fields, field):
    recipe = Recipe(model=LLAMA, **fields)
    more = recipe.replace(**{field: getattr(recipe, field) * 2})
    assert estimate(more).peak_allocated_bytes >= estimate(recipe).peak_allocated_bytes


@settings(max_examples=30, deadline=None, derandomize=True)
@given(fields=sizes)
def test_checkpointing_costs_at_most_one_layer_input(fields):
    """It keeps the input of the layer at work, which is gone without it."""
    recipe = Recipe(model=LLAMA, **fields)
    on, off = (estimate(recipe.replace(gradient_checkpointing=value)).peak_allocated_bytes for value in (True, False))
    assert on <= off + 2 * 4096 * recipe.per_device_train_batch_size * recipe.max_length


def test_a_sweep_of_the_law_equals_single_estimates():
    recipe = Recipe(model=LLAMA, attn_implementation="eager")
    parts = law_of(recipe)
    batch, tokens = np.array([1, 2, 7]), np.array([128, 512, 4096])
    swept = parts.law.peaks(batch, tokens, recipe.r, parts.static, parts.training.step_temporary_bytes)
    single = [
        estimate(recipe.replace(per_device_train_batch_size=int(b), max_length=int(s))).peak_allocated_bytes
        for b, s in zip(batch, tokens)
    ]
    assert np.abs(swept - single).max() <= len(COMPONENTS)  # each component is rounded to whole bytes


def test_a_law_survives_json():
    law = law_of(Recipe(model=LLAMA)).law
    assert Law.from_dict(json.loads(json.dumps(law.to_dict()))) == law
    with pytest.raises(ValueError, match="format 0"):
        Law.from_dict(law.to_dict() | {"format": 0})


def test_full_training_peaks_at_five_copies_of_the_weights():
    """Measured: 72,434,837,504 B for Mistral-7B in bf16 on an A100 (fms-acceleration benchmarks, row 9)."""
    made = estimate(
        Recipe(model="mistralai/Mistral-7B-v0.1", method="full", per_device_train_batch_size=4, max_length=4096),
        loop="plain",
    )
    assert made.peak_moment == "optimizer_step"
    assert abs(made.peak_allocated_bytes - 72_434_837_504) < 2**20


def test_methods_side_by_side():
    answers = compare_methods(Recipe(model=LLAMA, max_length=512), "RTX 4090")
    assert list(answers) == ["full", "lora", "qlora"]
    assert answers["full"].trainable_parameters == 8_030_261_248
    assert (
        answers["full"].peak_allocated_bytes
        > answers["lora"].peak_allocated_bytes
        > answers["qlora"].peak_allocated_bytes
    )
    assert (answers["full"].fits, answers["qlora"].fits) == (False, True)


def test_a_method_that_is_refused_says_so_beside_the_others():
    answers = compare_methods(Recipe(model=LLAMA, target_modules=("nothing",)))
    assert answers["full"].trainable_parameters and isinstance(answers["lora"], Problem)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"target_modules": ("q_porj",)}, "target_modules", "q_porj matches no layer. Available: all-linear, q_proj"),
        ({"exclude_modules": ".*"}, "target_modules", "is excluded again"),
        ({"target_modules": "model"}, "target_modules", "model is a container"),
        ({"target_modules": "(["}, "target_modules", "not a valid regular expression"),
    ],
)
def test_check_names_what_is_wrong(fields, field, words):
    (problem,) = check(Recipe(model=LLAMA, **fields))
    assert problem.field == field and words in str(problem)


def test_a_model_that_cannot_be_quantized_is_refused_before_anything_starts():
    assert check(Recipe(model=LLAMA)) == []
    (problem,) = check(Recipe(model="no-such-model"))
    assert problem.code == "model.unknown"


def test_a_rank_above_a_layer_is_a_warning():
    made = estimate(Recipe(model=LLAMA, r=2048))
    assert "r: 2048 is more than the smaller side of k_proj (1024)" in " ".join(map(str, made.warnings))


def test_growth_on_the_cpu_has_the_same_tensors_and_no_context():
    recipe = Recipe(model=LLAMA, max_length=512)
    growth, gpu = cpu_growth(recipe), estimate(recipe)
    assert growth.components["workspace"] == 0
    rounding = gpu.components["weights"] - growth.components["weights"]  # blocks of CUDA's allocator, under 1 MiB each
    assert 0 <= rounding < 2**20 * 7 * 32
    assert growth.low_bytes <= growth.growth_bytes <= growth.high_bytes


def test_json_holds_every_named_figure():
    data = json.loads(estimate(Recipe(model=LLAMA), "Gaudi 3").to_json())
    wanted = {
        "total_parameters",
        "trainable_parameters",
        "peak_allocated_bytes",
        "peak_reserved_bytes",
        "device_bytes",
        "components",
        "peak_moment",
        "engine",
        "uncertainty",
        "fits",
        "warnings",
    }
    assert wanted <= set(data) and data["fits"] is None
    assert data["warnings"][0]["code"] == "gpu.memory_unknown"


LEAK = """import sys, {module}
print([m for m in ('torch', 'numpy', 'pandas', 'gradio', 'transformers') if m in sys.modules])"""


def leaked(module: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", LEAK.format(module=module)], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_the_estimator_loads_nothing_heavy():
    assert leaked("estimator, estimator.cli.cli") == "[]"
    assert leaked("numpy") == "['numpy']"  # the test can fail


@pytest.mark.parametrize("kind", ["zero3", "fsdp", "tp"])
def test_of_methods_compared_the_one_that_cannot_be_says_why_in_its_place(kind):
    """Over several devices: 8 bits cannot be cut, and tensor parallelism takes no quantized weights."""
    recipe = Recipe(model=LLAMA, method="lora", quantization="int8", num_processes=4, distributed_type=kind)
    answers = compare_methods(recipe, "A100 SXM4 80GB")
    assert list(answers) == ["full", "lora", "qlora"] and isinstance(answers["qlora"], Problem)
    assert f"distributed_type {kind}" in str(answers["qlora"])
    for method in ("full", "lora"):
        alone = estimate(recipe.replace(method=method), "A100 SXM4 80GB")
        assert answers[method].device_bytes == alone.device_bytes and answers[method].parallel.num_devices == 4
