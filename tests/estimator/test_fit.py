"""The traced law against the full trace: equal on sizes, depths and ranks it never saw; and what it is made of."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from estimator.core.problems import Problem
from estimator.estimates.parts import parts_of
from estimator.hardware.platforms import Platform
from estimator.law.law import COMPONENTS, PHI, STATIC, Law
from estimator.law.question import Question
from estimator.law.untraced import NotLinear
from estimator.model.catalog import load_preset
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe
from estimator.shelf import laws
from estimator.trace.attention import FusedAttention
from estimator.trace.exact import traced as traced_whole
from estimator.trace.kernels import HIDDEN, HalfSoftmax
from estimator.trace.plans import names_layers, plan_for
from estimator.trace.step import Sizes, trace_step
from estimator.trace.terms import SIZES, coefficients

DYNAMIC = ("gradients", "activations", "logits_and_loss", "temporary")
UNSEEN = {"llama": ((1, 777, 8), (2, 4099, 64)), "qlora-eager": ((1, 640, 24),), "sliding": ((1, 5000, 8),)}
ANY = ((3, 640, 24),)
CASES = {
    "llama": ("Qwen/Qwen2.5-0.5B", {}),
    "qlora-eager": (
        "HuggingFaceTB/SmolLM2-135M",
        {"method": "qlora", "attn_implementation": "eager", "dtype": "float16"},
    ),
    "full-kept": ("HuggingFaceTB/SmolLM2-135M", {"method": "full", "gradient_checkpointing": False}),
    "dora-dropout": (
        "HuggingFaceTB/SmolLM2-135M",
        {"use_dora": True, "lora_dropout": 0.1, "gradient_checkpointing": False},
    ),
    "autocast": ("HuggingFaceTB/SmolLM2-135M", {"mixed_precision": "bf16", "dtype": "float32"}),
    "accumulated": ("HuggingFaceTB/SmolLM2-135M", {"method": "full", "gradient_accumulation_steps": 4}),
    "experts": ("Qwen/Qwen1.5-MoE-A2.7B", {"target_modules": ["q_proj", "v_proj"]}),
    "sliding": ("google/gemma-2-2b", {"attn_implementation": "eager"}),
    "sinks": ("openai/gpt-oss-20b", {}),
}
LOOPS_TRIED = {"full-kept": "plain", "qlora-eager": "trainer"}


def law_peak(law: Law, batch: int, sequence: int, rank: int) -> int:
    """The highest dynamic bytes of forward, loss and backward."""
    phi = law.phi(batch, sequence, rank)
    rows = [row for row in law.rows if row.moment != "optimizer_step"]
    return max(
        round(sum(sum(c * x for c, x in zip(row.coefficients.get(name, ()), phi)) for name in DYNAMIC)) for row in rows
    )


@pytest.mark.parametrize("case", CASES)
def test_law_equals_full_trace_on_unseen_sizes(case):
    id, fields = CASES[case]
    fields = {"method": "lora", **fields}
    loop, model = LOOPS_TRIED.get(case, "trl"), load_preset(id)
    for batch, sequence, rank in UNSEEN.get(case, ANY):
        recipe = Recipe(model=id, r=rank, per_device_train_batch_size=batch, max_length=sequence, **fields)
        law = laws.traced(Question(recipe, model, loop))
        tile = min(batch * (sequence - 1), 4096)
        step = trace_step(
            recipe,
            model.config,
            LOOPS[loop],
            Sizes(batch, sequence, rank, tile),
            None,
            Platform(),
            model.inventory.class_name,
        )
        components, _ = step.events.peak()
        rank = rank if recipe.has_adapters else 0
        assert law_peak(law, batch, sequence, rank) == pytest.approx(sum(components.values()), rel=1e-3)


def test_a_law_has_whole_bytes_and_named_components():
    law = laws.traced(Question(Recipe(model="HuggingFaceTB/SmolLM2-135M"), load_preset("HuggingFaceTB/SmolLM2-135M")))
    assert law.engine == "traced" and law.versions["torch"] == torch.__version__.partition("+")[0]
    for row in law.rows:
        assert set(row.coefficients) <= set(COMPONENTS)
        assert all(value == int(value) for values in row.coefficients.values() for value in values)
    assert Law.from_dict(json.loads(json.dumps(law.to_dict()))) == law


@pytest.mark.parametrize(
    "terms",
    [{"1": 4096}, {"BS": 8192}, {"BSr": 4}, {"r": 2048}, {"BSS": 12}, {"SS": 2}, {"tile": 65536}, {"B": 8}, {"S": 256}],
    ids=lambda terms: next(iter(terms)),
)
def test_bytes_at_primes_name_their_term(terms):
    values = dict(zip(PHI, Law((), SIZES.tile, "", 0.0).phi(SIZES.batch, SIZES.sequence, SIZES.rank), strict=True))
    ((name, factor),) = terms.items()
    found = coefficients(round(factor * values[name]), SIZES)
    assert {key: value for key, value in zip(PHI, found, strict=True) if value} == terms


def test_one_token_less_is_two_terms():
    found = coefficients(SIZES.batch * (SIZES.sequence - 1) * 64, SIZES)
    assert found[PHI.index("BS")] == 64 and found[PHI.index("B")] == -64 and np.count_nonzero(found) == 2


def test_scores_with_a_sink_beside_them_are_two_terms():
    found = coefficients(SIZES.batch * SIZES.sequence * (SIZES.sequence + 1) * 64, SIZES)
    assert found[PHI.index("BSS")] == found[PHI.index("BS")] == 64 and np.count_nonzero(found) == 2


def test_what_is_no_term_is_refused():
    with pytest.raises(NotLinear):
        coefficients(SIZES.rank * SIZES.tile * 3, SIZES)


@pytest.mark.parametrize(
    ("kinds", "depths"),
    [
        ("a" * 32, (3, 4)),
        ("d" + "m" * 26, (3, 4)),
        ("sf" * 13, (4, 6)),
        ("sssssf" * 5 + "ssss", (16, 22)),
        ("aaaa", (None,)),
        ("abcdefgh", (None,)),
    ],
)
def test_depths_keep_what_repeats(kinds, depths):
    assert plan_for(list(kinds)).depths == depths


def _meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.empty(shape, device="meta", dtype=dtype)


# Arguments of each operator that holds more than its inputs and outputs, and the bytes that the source says.
HIDDEN_CASES = {
    "aten::_softmax_backward_data": ((_meta(2, 3, 5), _meta(2, 3, 5), -1, torch.bfloat16), {}, (60,)),
    "bitsandbytes::gemm_4bit": (
        (_meta(7, 128), _meta(4096, 1, dtype=torch.uint8), (64, 128), _meta(128)),
        {"absmax_8bit": _meta(128, dtype=torch.uint8)},
        (4 * 128, 64 * 128 * 2),
    ),
    "bitsandbytes::int8_vectorwise_dequant": ((_meta(4, 6, dtype=torch.int8), _meta(4)), {}, (96,)),
}


@pytest.mark.parametrize("name", HIDDEN_CASES)
def test_an_operator_holds_on_cuda_what_its_source_says(name):
    arguments, options, sizes_bytes = HIDDEN_CASES[name]
    assert HIDDEN[name](arguments, options).sizes_bytes == sizes_bytes


def test_kernels_hold_what_they_say():
    """The stand-ins save and return the shapes and types of the real ones."""
    query = torch.empty(2, 8, 16, 64, device="meta", dtype=torch.bfloat16, requires_grad=True)
    key = torch.empty(2, 2, 16, 64, device="meta", dtype=torch.bfloat16, requires_grad=True)
    out = FusedAttention.apply(query, key, key)
    assert out.shape == query.shape and out.transpose(1, 2).is_contiguous()
    out.sum().backward()
    assert query.grad.shape == query.shape and key.grad.shape == key.shape
    scores = torch.empty(4, 4, device="meta", dtype=torch.float16, requires_grad=True)
    soft = HalfSoftmax.apply(scores, -1)
    assert soft.dtype is torch.float32
    soft.sum().backward()
    assert scores.grad.dtype is torch.float16


@pytest.mark.parametrize(
    ("platform", "dtype", "grouped", "kernel"),
    [
        (Platform(8.9), "bfloat16", True, "flash"),
        (Platform(8.9), "float32", False, "efficient"),
        (Platform(8.9), "float32", True, "math"),
        (Platform(7.5), "float16", True, "math"),
        (Platform(7.5, (2, 14)), "float16", True, "efficient"),
        (Platform(8.9, (2, 6), has_flash=False), "bfloat16", True, "math"),
    ],
)
def test_the_kernel_that_runs(platform, dtype, grouped, kernel):
    assert platform.sdpa(dtype, grouped, 64) == kernel


def test_a_whole_trace_sums_to_its_allocated_peak():
    from estimator import estimate

    recipe = Recipe(model="HuggingFaceTB/SmolLM2-135M", method="qlora", max_length=512)
    made = estimate(recipe, "RTX 4090", engine="trace")
    assert sum(made.components.values()) == made.peak_allocated_bytes <= made.peak_reserved_bytes
    by_law = estimate(recipe, "RTX 4090", derive=True)
    assert by_law.engine == "traced"
    assert by_law.peak_allocated_bytes == pytest.approx(
        made.peak_allocated_bytes, rel=0.01
    )  # blocks of the step itself


def test_what_cannot_be_traced_falls_back_and_says_so(tmp_path):
    from estimator import estimate

    model = load_preset("meta-llama/Llama-4-Scout-17B-16E-Instruct")
    made = estimate(Recipe(model=model.id), model=model, derive=True, cache_dir=tmp_path)
    assert made.engine == "analytic" and "law.not_traced" in [warning.code for warning in made.warnings]
    with pytest.raises(Exception, match="could not be traced"):
        traced_whole(Recipe(model=model.id), model, "trl", Platform(), {}, 0)


def test_a_model_that_trl_cannot_train_says_so():
    """Llama 4's classes name no module as their backbone; TRL's own head fails on them as the trace does."""
    from transformers import Llama4ForCausalLM, Llama4TextConfig
    from trl.trainer.utils import add_fused_lm_head

    model = load_preset("meta-llama/Llama-4-Scout-17B-16E-Instruct")
    with pytest.raises(Problem) as caught:
        laws.traced(Question(Recipe(model=model.id, method="full"), model))
    assert caught.value.code == "law.no_hidden_state" and "Llama4ForConditionalGeneration" in str(caught.value)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "intermediate_size_mlp": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 64,
    }
    real = Llama4ForCausalLM(
        Llama4TextConfig(**sizes, num_key_value_heads=2, head_dim=16, num_local_experts=2, pad_token_id=0)
    )
    add_fused_lm_head(real)
    ids = torch.ones(2, 8, dtype=torch.long)
    with pytest.raises(AttributeError, match="last_hidden_state"):
        real(input_ids=ids, labels=ids, fused_lm_head=True)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"target_modules": "all-linear"}, False),
        ({"target_modules": ["q_proj", "w1"], "modules_to_save": ["lm_head"]}, False),
        ({"target_modules": r".*layers\.(0|1)\..*proj"}, True),
        ({"target_modules": ["layers.3.self_attn.q_proj"]}, True),
        ({"layers_to_transform": [1]}, True),
        ({"rank_pattern": {"q_proj": 4}}, False),
        ({"rank_pattern": {"layers.1.self_attn.q_proj": 4}}, True),
    ],
)
def test_a_recipe_that_tells_layers_apart_is_traced_whole(fields, named):
    assert names_layers(Recipe(model="any", **fields)) is named


def test_ranks_by_bare_names_hold_for_every_layer_alike(monkeypatch):
    recipe = Recipe(
        model="Qwen/Qwen2.5-0.5B", rank_pattern={"q_proj": 8, "down_proj": 128}, gradient_checkpointing=False
    )
    model, laws_made = load_preset(recipe.model), []
    for tells_apart in (False, True):
        monkeypatch.setattr("estimator.trace.fit.names_layers", lambda _, said=tells_apart: said)
        laws_made.append(laws.traced(Question(recipe, model)))
    static, (by_depth, whole) = dict.fromkeys(STATIC, 0), laws_made
    for point in ((2, 64, 8), (3, 700, 16), (64, 8192, 64)):
        heights = [sum(law.evaluate(*point, static, 0)[1].values()) for law in (by_depth, whole)]
        assert heights[0] == heights[1]
    for one, other in ((by_depth.flops, whole.flops), (by_depth.moved_bytes, whole.moved_bytes)):
        assert one == {name: pytest.approx(terms) for name, terms in other.items()}


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_gradients_that_are_added_up_take_what_a_law_of_their_own_says(method: str) -> None:
    """`laws.find` makes the law of accumulation from the shipped one of a single pass, for adapters."""
    model = load_preset("Qwen/Qwen2.5-0.5B")
    recipe = Recipe(model=model.id, method=method, gradient_accumulation_steps=4, max_length=700)
    parts = parts_of(Question(recipe, model))
    own = dataclasses.replace(parts, law=laws.traced(Question(recipe, model)))
    assert sum(parts.evaluate(recipe)[1].values()) == sum(own.evaluate(recipe)[1].values())


def test_checkpointing_does_not_free_what_int8_holds() -> None:
    """bitsandbytes keeps the inputs of its projections where non-reentrant checkpointing does not see them: the traced
    law has them, and the closed form."""
    model = load_preset("Qwen/Qwen2.5-0.5B")
    recipe = Recipe(model=model.id, quantization="int8", max_length=2048)
    closed = parts_of(Question(recipe, model))
    traced = dataclasses.replace(closed, law=laws.traced(Question(recipe, model)))
    again = dataclasses.replace(closed, law=laws.traced(Question(recipe.replace(use_reentrant=True), model)))
    peak = lambda parts: sum(parts.evaluate(recipe)[1].values())  # noqa: E731
    assert peak(again) < 0.7 * peak(traced)
    assert peak(closed) == pytest.approx(peak(traced), rel=closed.law.relative_error)


def test_ranks_in_another_order_are_another_structure() -> None:
    """Of the patterns that match a module the first decides."""
    recipe, ranks = Recipe(model="Qwen/Qwen2.5-0.5B"), {"layers.0.*": 64, "layers.*": 8}
    model = load_preset(recipe.model)
    orders = (ranks, dict(reversed(ranks.items())), dict(ranks))
    one, other, same = (laws.key_of(Question(recipe.replace(rank_pattern=order), model)) for order in orders)
    assert one == same != other


def test_a_start_that_trains_one_matrix_and_no_name_at_all_are_structures_of_their_own() -> None:
    """`mica` keeps B as it is, in the trace too; an empty list of targets is not PEFT's table, which nothing stands
    for."""
    model, recipe = load_preset("Qwen/Qwen2.5-0.5B"), Recipe(model="Qwen/Qwen2.5-0.5B", method="lora", max_length=32)
    mica, rows = recipe.replace(init_lora_weights="mica"), recipe.replace(target_parameters=["a"], target_modules=[])
    keys = [laws.key_of(Question(one, model)) for one in (recipe, mica, rows, rows.replace(target_modules=None))]
    assert (
        len(set(keys)) == len(keys)
        and laws.key_of(Question(recipe.replace(init_lora_weights="gaussian"), model)) == keys[0]
    )
    most = []
    for one in (recipe, mica):
        parts = dataclasses.replace(parts_of(Question(one, model)), law=laws.traced(Question(one, model)))
        most.append(
            max(parts.at(one).components(row)["gradients"] for row in parts.law.rows if row.moment != "optimizer_step")
        )
        assert 0 < most[-1] <= parts.training.gradients_bytes
    assert most[1] < 0.6 * most[0]
