"""An answer explains itself: what Why, the step, a table, a file or a notebook says of it are the answer's own figures,
to the byte."""

from __future__ import annotations

import csv
import io
import json

import pytest

from estimator import Recipe, estimate
from estimator.cli import cli
from estimator.core.units import human_bytes
from estimator.estimates import notebook
from estimator.estimates.result import Estimate
from estimator.estimates.take_away import to_csv
from estimator.recipe.batches import Batches
from estimator.recipe.distributed import DISTRIBUTED_TYPES
from estimator.recipe.recipe import METHODS
from studio.widgets.memory_bar import parts_of as parts_of_bar

LLAMA = "meta-llama/Llama-3.1-8B"
REFUSED = [("qlora", "tp"), ("qlora", "zero3")]
"""What recipes refuse; packed weights under ZeRO-3 stand below."""
SEVERAL = [
    {"method": method, "num_processes": 4, "distributed_type": kind}
    for kind in DISTRIBUTED_TYPES
    for method in METHODS
    if (method, kind) not in REFUSED
]
SEVERAL += [one | {"gradient_accumulation_steps": 4} for one in SEVERAL[:9]]
SEVERAL += [
    {"method": "qlora", "num_processes": 3, "distributed_type": kind, "bnb_4bit_quant_storage": "bfloat16"}
    for kind in ("zero3", "fsdp")
]
SEVERAL += [
    {"method": "full", "num_processes": 2, "distributed_type": "fsdp", "offload_param_device": "cpu"},
    {
        "method": "full",
        "num_processes": 2,
        "distributed_type": "fsdp",
        "mixed_precision": "bf16",
        "dtype": "float32",
        "fsdp_reshard_after_forward": False,
    },
    {"method": "lora", "num_processes": 2, "distributed_type": "zero2", "offload_optimizer_device": "cpu"},
    {"method": "lora", "num_processes": 8, "ddp_gradient_as_bucket_view": True, "packing": True},
    {"method": "lora", "num_processes": 8, "distributed_type": "pp", "packing": True, "gradient_accumulation_steps": 8},
]
ALONE = [
    {"method": "full"},
    {"method": "lora"},
    {},
    {"quantization": "int8"},
    {"bias": "all", "attn_implementation": "eager"},
    {"max_length": 8192},
]
ALONE += [
    {"packing": True},
    {"packing": True, "method": "lora", "per_device_train_batch_size": 3},
    {"optim": "paged_adamw_8bit"},
    {"lora_dropout": 0.1},
]


def answered(fields: dict, model: str = LLAMA, **beside) -> Estimate:
    return estimate(Recipe(model=model, **fields), "RTX 4090", **beside)


def agrees(made: Estimate) -> None:
    """Every surface says the answer's figures."""
    components = {name: size for name, size in made.components.items() if size}
    assert sum(components.values()) == made.peak_allocated_bytes
    assert {formula.component: formula.bytes for formula in made.formulas} == components
    for formula in made.formulas:
        assert sum(term.bytes for term in formula.terms) == pytest.approx(formula.bytes, abs=1.5, rel=1e-12), formula
        assert formula.notes and not any("{" in str(note) for note in formula.notes)
    moments = dict(made.moments)
    assert moments[made.peak_moment] == made.components
    assert max(sum(parts.values()) for parts in moments.values()) == made.peak_allocated_bytes
    for parts in (notebook.parts(made), parts_of_bar(made)):
        assert {name: parts[name] for name in made.components} == made.components and sum(
            parts.values()
        ) == made.device_bytes
    told = json.loads(made.to_json())
    assert told["components"] == made.components and told["peak_allocated_bytes"] == made.peak_allocated_bytes
    table = {row[0]: row[1] for row in csv.reader(io.StringIO(to_csv([("this", made)])))}
    assert {name: int(table[name]) for name in made.components} == made.components and int(
        table["device_bytes"]
    ) == made.device_bytes
    said = cli.table(made.source.recipe, made).splitlines()
    for name, size in components.items():
        assert any(line.split() == [name, *human_bytes(size).split()] for line in said), name
    assert made.to_frame()["bytes"].to_dict() == notebook.parts(made)
    drawn = {bar.name: bar.x[0] for bar in made.figure().data if bar.type == "bar"}
    assert drawn == {name.replace("_", " "): size / 2**30 for name, size in notebook.parts(made).items() if size}


@pytest.mark.parametrize("fields", ALONE, ids=str)
@pytest.mark.parametrize("model", [LLAMA, "openai-community/gpt2"])
def test_one_device_explains_its_answer(model: str, fields: dict) -> None:
    agrees(answered({"max_length": 1024} | fields if model == LLAMA else fields | {"max_length": 512}, model))


@pytest.mark.parametrize("fields", SEVERAL, ids=lambda fields: "-".join(map(str, fields.values())))
def test_several_devices_explain_their_answer(fields: dict) -> None:
    agrees(answered(fields))


@pytest.mark.parametrize("batches", [Batches(trained_share=0.3), Batches(padded=True), Batches(0.01, True)], ids=str)
@pytest.mark.parametrize(
    "fields", [{}, {"method": "lora", "num_processes": 2, "distributed_type": "fsdp"}, {"packing": True}], ids=str
)
def test_what_the_data_do_is_explained_too(fields: dict, batches: Batches) -> None:
    agrees(answered(fields, trained_share=batches.trained_share, padded=batches.padded))


def test_weights_cut_by_four_are_explained_as_a_fourth() -> None:
    whole = estimate(Recipe(model=LLAMA, method="lora")).components["weights"]
    (weights,) = [
        one
        for one in answered({"method": "lora", "num_processes": 4, "distributed_type": "fsdp"}).formulas
        if one.component == "weights"
    ]
    assert weights.terms[0].name == "device" and weights.terms[0].times == whole and weights.terms[0].each == 0.25
    assert weights.bytes < 0.26 * whole and "4 devices under fsdp" in str(weights.notes[1])


@pytest.mark.parametrize(
    "fields",
    [{}, {"packing": True}, {"packing": True, "packing_strategy": "wrapped", "method": "lora"}, {"method": "full"}],
    ids=str,
)
def test_a_device_that_shares_nothing_holds_what_one_alone_holds(fields: dict) -> None:
    """With gradients in the buckets DDP adds nothing to the step, but that they are there throughout."""
    alone, shared = (
        answered(one).components for one in (fields, fields | {"num_processes": 2, "ddp_gradient_as_bucket_view": True})
    )
    assert shared | {"gradients": 0} == alone | {"gradients": 0} and shared["gradients"] >= alone["gradients"]
