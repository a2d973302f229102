"""Several devices: bytes a rank holds against real FSDP2, DDP and tensor parallel on the CPU; ZeRO against DeepSpeed's
own sources; the plan's own laws."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from estimator import Recipe, estimate
from estimator.adapters.adapters import trainables
from estimator.core.problems import Problem
from estimator.estimates.error_bar import reserved_over_allocated
from estimator.estimates.estimate import Estimate
from estimator.estimates.parts import law_of, parts_of
from estimator.estimates.peaks import RUN, Peak
from estimator.hardware.cards import default_context
from estimator.hub.sources import open_model
from estimator.law.layer_bytes import adapter_dtype
from estimator.law.question import Question
from estimator.memory.states import base_weights, training_bytes
from estimator.model.catalog import tp_plans
from estimator.model.inventory import Inventory
from estimator.parallel.data_parallel import Fsdp, all_tensors, arriving, by_unit, largest_layer
from estimator.parallel.model_parallel import pp_rank, stage_layers, tp_rank
from estimator.parallel.parallel import shard
from estimator.parallel.plan import on_device
from estimator.parallel.sharding import EMBEDDING, TAIL, flat_numel, local, padded, tensors
from estimator.parallel.zero import Zero
from estimator.recipe.loop import LOOPS
from tests.estimator import small

LLAMA, SMALL = "meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.2-1B"
ODD = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 97, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 131, "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}  # fmt: skip
"""Sizes that two ranks cannot share evenly."""
TIED = ODD | {"tie_word_embeddings": True}


def case(kind: str, method: str, config: dict[str, Any] = ODD, **fields: Any) -> dict[str, Any]:
    plain = {"model": "small", "num_processes": 2, "gradient_checkpointing": False, "r": 5}
    return {"config": config, "recipe": {**plain, "distributed_type": kind, "method": method, **fields}}


CASES = {
    "fsdp full": case("fsdp", "full"),
    "fsdp full, fp32 originals": case("fsdp", "full", mixed_precision="bf16"),
    "fsdp full, tied": case("fsdp", "full", TIED),
    "fsdp full, gathered through": case("fsdp", "full", fsdp_reshard_after_forward=False, optim="sgd"),
    "fsdp dora": case("fsdp", "lora", use_dora=True, target_modules=["q_proj", "up_proj"]),
    "fsdp lora, mixed": case("fsdp", "lora", mixed_precision="bf16"),
    "fsdp mica and rows": case("fsdp", "lora", init_lora_weights="mica", trainable_token_indices=[1, 2, 3]),
    "fsdp qlora": case("fsdp", "qlora", bnb_4bit_quant_storage="bfloat16"),
    "fsdp qlora, bytes": case("fsdp", "qlora"),
    "ddp": case("ddp", "lora"),
    "ddp, views": case("ddp", "full", ddp_gradient_as_bucket_view=True),
    "tp": case("tp", "full"),
    "tp lora": case("tp", "lora"),
}
if find_spec("schedulefree"):
    CASES["fsdp schedule free"] = case("fsdp", "full", optim="schedule_free_adamw")
REFUSED = "adafactor"


@functools.cache
def odd_inventory(tied: bool = False) -> Inventory:
    from estimator.trace import meta_model

    return Inventory.from_json(meta_model.derive(TIED if tied else ODD, None).to_json())


@functools.cache
def parts_of_case(name: str) -> tuple[Recipe, Any, Any, tuple[Any, ...]]:
    """(recipe, inventory, trainables, tensors) of a case."""
    recipe, inventory = Recipe.from_dict(CASES[name]["recipe"]), odd_inventory(CASES[name]["config"] == TIED)
    trained = trainables(recipe, inventory)
    return recipe, inventory, trained, tensors(recipe, inventory, trained, LOOPS["trl"])


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> list[dict[str, dict[str, Any]]]:
    """What each of two ranks holds of every case."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("ranks")
    cases = CASES | {REFUSED: case("fsdp", "full") | {"optim": "adafactor"}}
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-m", "tests.estimator.parallel_worker", str(folder)]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_every_rank_holds_the_bytes_of_the_estimate(real, name):
    recipe, inventory, trained, all = parts_of_case(name)
    for rank in range(2):
        found = real[rank][name]
        if recipe.distributed_type == "ddp":
            base = base_weights(inventory, recipe.dtype, None, True, "none")
            training = training_bytes(recipe, trained, adapter_dtype="float32", device="cpu")
            made = {"parameters": base.weights_bytes + training.adapters_bytes, "quantization_state": 0}
            made |= {"gradients": training.gradients_bytes, "optimizer_states": training.optimizer_states_bytes}
            assert found.pop("buckets") == training.gradients_bytes
        else:
            own = (
                Fsdp(recipe, all).rank(rank, "cpu")
                if recipe.distributed_type == "fsdp"
                else tp_rank(recipe, all, inventory, rank, "cpu")
            )
            made = {"parameters": own.weights + own.adapters, "quantization_state": own.quantization_state}
            made |= {"gradients": own.gradients, "optimizer_states": own.optimizer_states}
            if recipe.distributed_type == "fsdp":  # packed weights are not sent, and on a CPU not moved either
                arrived = found.pop("arriving")
                assert arrived == (0 if recipe.is_quantized else arriving(recipe, Fsdp(recipe, all)))
            if recipe.distributed_type == "tp" and recipe.has_adapters:
                found, made = found["parameters"], made["parameters"]  # the step itself does not run (see the worker)
        assert found == made


def test_transformers_adafactor_does_not_step_dtensors(real):
    assert "DTensor" in real[0][REFUSED]["error"]


VARIANTS = (
    {"method": "full"},
    {"method": "lora", "bias": "all"},
    {"method": "lora", "use_dora": True, "target_modules": "all-linear"},
    {"method": "qlora"},
    {"method": "qlora", "quantization": "int8"},
)


@pytest.mark.parametrize("loop", ["trl", "trainer"])
@pytest.mark.parametrize("name", ["llama", "gemma-tied", "gpt2-conv1d", "opt-bias", "qwen3-moe", "gpt-oss-moe"])
def test_the_tensors_of_a_run_sum_to_its_static_bytes(name, loop):
    inventory = small.inventory(name)
    for fields in VARIANTS:
        recipe = Recipe(model=name, **fields)
        try:
            trained = trainables(recipe, inventory)
        except Problem:
            continue  # what PEFT refuses on this model is tested elsewhere
        all = tensors(recipe, inventory, trained, LOOPS[loop])
        quantization = recipe.quantization if recipe.is_quantized else None
        base = base_weights(inventory, recipe.dtype, quantization, True, LOOPS[loop].upcasts)
        training = training_bytes(recipe, trained, adapter_dtype=adapter_dtype(recipe, LOOPS[loop]), device="cpu")
        assert sum(t.count * t.nbytes for t in all if not t.is_new) == base.weights_bytes
        assert sum(t.count * t.state_bytes for t in all) == base.quantization_state_bytes
        assert sum(t.count * t.nbytes for t in all if t.is_new) == training.adapters_bytes
        assert sum(t.count * t.nbytes for t in all if t.trains) == training.gradients_bytes


def test_shards_cover_a_tensor_once():
    for rows in range(1, 20):
        for ranks in range(1, 9):
            shares = [local((rows, 3), ranks, rank)[0] for rank in range(ranks)]
            assert sum(shares) == rows and shares[0] == padded((rows, 3), ranks)[0]
            assert (
                flat_numel([rows, 1], ranks, 2) % (2 * ranks)
                == 0
                <= flat_numel([rows, 1], ranks, 2) - rows - 1
                < 2 * ranks
            )
    assert stage_layers(80, 6) == [13, 13, 13, 13, 13, 15]


def devices(kind: str, n: int, **fields: Any) -> Estimate:
    return estimate(Recipe(model=fields.pop("model", LLAMA), num_processes=n, distributed_type=kind, **fields))


def zero(kind: str, n: int, **fields: Any) -> Zero:
    recipe = Recipe(model=fields.pop("model", LLAMA), num_processes=n, distributed_type=kind, **fields)
    inventory = open_model(recipe.model).inventory
    return Zero(recipe, tensors(recipe, inventory, trainables(recipe, inventory), LOOPS["trl"]))


# deepspeed 0.19.8 on two CPU ranks, torch's AdamW, bf16, the model ODD: the fp32 partition with the states after a
# step, the partition's gradients after the backward pass, and at stage 3 the partitions of all weights.
RECORDED = {
    ("zero1", "full"): (219_904 + 439_816, 109_952, None),
    ("zero2", "full"): (219_904 + 439_816, 109_952, None),
    ("zero3", "full"): (219_904 + 439_816, 109_952, 109_952),
    ("zero1", "lora"): (27_936 + 55_876, 13_968, None),
    ("zero2", "lora"): (27_936 + 55_876, 13_968, None),
    ("zero3", "lora"): (27_948 + 55_900, 13_974, 123_926),
}


@pytest.mark.parametrize(("kind", "method"), RECORDED)
def test_zero_holds_what_deepspeed_held(kind, method):
    pytest.importorskip("torch")
    recipe = Recipe.from_dict(case(kind, method)["recipe"])
    inventory = odd_inventory()
    made = Zero(recipe, tensors(recipe, inventory, trainables(recipe, inventory), LOOPS["trl"]))
    own = made.rank("cpu")
    assert (own.optimizer_states, own.gradients) == RECORDED[kind, method][:2]
    if kind == "zero3":
        persistent = sum(2 * t.count * t.numel for t in made.all if not t.is_buffer)  # all are small here
        assert own.weights + own.adapters - persistent - inventory.buffer_bytes == RECORDED[kind, method][2]


def deepspeed_zero2(parameters: int, ranks: int, cpu_offload: bool) -> int:
    """GPU bytes of deepspeed/runtime/zero/stage_1_and_2.py estimate_zero2_model_states_mem_needs."""
    return 2 * parameters if cpu_offload else 4 * parameters + int(16 * parameters / ranks)


def deepspeed_zero3(
    parameters: int, largest_layer: int, ranks: int, cpu_offload: bool, cpu_offload_params: bool
) -> int:
    """GPU bytes of deepspeed/runtime/zero/stage3.py estimate_zero3_model_states_mem_needs."""
    largest = 4 * largest_layer
    if cpu_offload:
        return largest if cpu_offload_params else largest + int(2 * parameters / ranks)
    return largest + int(18 * parameters / ranks)


@pytest.mark.parametrize("ranks", [2, 8])
def test_zero_2_beside_deepspeeds_own_formula(ranks):
    """Theirs holds all gradients in 16 bits; stage 2 keeps a rank's share, and makes it fp32 for the step: 2P +
    18P/n."""
    parameters, held = 8_030_261_248, zero("zero2", ranks, method="full").rank("cuda")
    static = held.weights + held.gradients + held.optimizer_states
    padding = 2 * 18 * ranks
    step = 4 * parameters // ranks
    theirs = deepspeed_zero2(parameters, ranks, False)
    whole_gradients = 2 * parameters - held.gradients
    assert abs(theirs - (static + step + whole_gradients)) <= padding + 1024
    offloaded = zero("zero2", ranks, method="full", offload_optimizer_device="cpu").rank("cuda")
    assert abs(offloaded.weights - deepspeed_zero2(parameters, ranks, True)) <= padding + 1024
    assert (offloaded.gradients, offloaded.optimizer_states) == (0, 0)


@pytest.mark.parametrize("ranks", [2, 8])
def test_zero_3_beside_deepspeeds_own_formula(ranks):
    """Theirs: 18 bytes a parameter and rank, and 4 of the largest layer; ours 20 (16-bit gradients stay beside their
    fp32 copy), the small tensors whole, and gathered what the configuration allows instead of one layer."""
    parameters = 8_030_261_248
    whole = zero("zero3", ranks, method="full")
    held = whole.rank("cuda")
    persistent = sum(2 * t.count * t.numel for t in whole.all if t.numel <= 100_000)
    static = held.weights - persistent + held.gradients + held.optimizer_states + 4 * parameters // ranks
    assert abs(static - 2 * parameters // ranks - deepspeed_zero3(parameters, 0, ranks, False, False)) < 2**20
    offloaded = zero("zero3", ranks, method="full", offload_optimizer_device="cpu").rank("cuda")
    assert abs(offloaded.weights - persistent - deepspeed_zero3(parameters, 0, ranks, True, False)) < 2**20
    assert (
        zero("zero3", ranks, method="full", offload_optimizer_device="cpu", offload_param_device="cpu").weights(False)
        <= persistent + 2**20
    )


ALL = ("ddp", "zero1", "zero2", "zero3", "fsdp", "tp", "pp")


@pytest.mark.parametrize("kind", ALL)
def test_components_sum_to_the_peak_and_json_holds_the_plan(kind):
    made = devices(kind, 2, method="lora", max_length=512)
    assert sum(made.components.values()) == made.peak_allocated_bytes
    data = json.loads(made.to_json())["parallel"]
    assert (data["distributed_type"], data["num_devices"]) == (kind, 2)
    assert sum(data["communication_bytes_per_step"].values()) > 0
    assert made.uncertainty.low_bytes < made.device_bytes < made.uncertainty.high_bytes


def test_one_device_is_the_one_of_before_whatever_the_other_fields_say():
    plain = estimate(Recipe(model=LLAMA, max_length=512))
    again = estimate(
        Recipe(
            model=LLAMA,
            max_length=512,
            distributed_type="zero3",
            offload_param_device="cpu",
            fsdp_reshard_after_forward=False,
        )
    )
    assert plain.to_dict() == again.to_dict() and plain.parallel is None


@pytest.mark.parametrize("kind", ["zero3", "fsdp", "tp", "pp"])
def test_more_devices_hold_less_each(kind):
    sizes = [devices(kind, n, method="full", optim="adamw_torch_fused").peak_allocated_bytes for n in (2, 4, 8)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_each_stage_of_zero_holds_less_and_offload_moves_the_rest():
    fields = {"method": "full", "optim": "adamw_torch_fused"}
    held = [devices(kind, 4, **fields) for kind in ("ddp", "zero1", "zero2", "zero3")]
    static = [sum(made.components[n] for n in ("weights", "gradients", "optimizer_states")) for made in held]
    assert static[0] > static[1] >= static[2] > static[3]  # without accumulation stage 1 reduces as stage 2 does
    away = devices("zero3", 4, **fields, offload_optimizer_device="nvme", offload_param_device="nvme")
    assert (
        away.parallel.disk_bytes > static[3] and away.parallel.host_bytes and away.components["optimizer_states"] == 0
    )


def test_fsdp_offload_takes_shards_gradients_and_states_to_the_host():
    on, off = (devices("fsdp", 4, method="full", offload_param_device=place) for place in ("none", "cpu"))
    shards = (
        sum(on.components[n] for n in ("weights", "gradients", "optimizer_states"))
        - open_model(LLAMA).inventory.buffer_bytes
    )
    assert off.parallel.host_bytes == shards + 4 * (
        9 * 32 + 3
    )  # torch's AdamW on the CPU counts its steps in a tensor each
    assert off.components["gradients"] == off.components["optimizer_states"] == 0


def test_packed_bytes_stay_whole_under_fsdp_and_the_answer_says_so():
    whole, cut = devices("fsdp", 4), devices("fsdp", 4, bnb_4bit_quant_storage="bfloat16")
    assert [note.code for note in whole.warnings] == ["parallel.not_cut"] and "parallel.not_cut" not in [
        note.code for note in cut.warnings
    ]
    assert whole.components["weights"] > 2 * cut.components["weights"]
    assert whole.components["quantization_state"] == cut.components["quantization_state"]  # on every device


def test_an_accumulation_keeps_gradients_whole_under_fsdp():
    once, often = (
        devices("fsdp", 8, method="full", optim="sgd", max_length=4096, gradient_accumulation_steps=n) for n in (1, 4)
    )
    assert often.components["gradients"] > 7 * once.components["gradients"]


def test_the_rank_that_saves_gathers_the_weights():
    plan = devices("fsdp", 4, method="full").parallel
    assert plan.saving_host_bytes == 2 * 8_030_261_248
    assert plan.saving_device_bytes == 2 * 128_256 * 4096
    assert devices("ddp", 4).parallel.saving_host_bytes == 0


def test_a_ring_sends_what_the_text_says():
    sent = devices("ddp", 4, method="full").parallel.communication_bytes_per_step
    assert sent == {"all_reduce": 2 * 2 * 8_030_261_248 * 3 // 4}


def test_stages_of_a_pipeline_hold_the_model_once():
    recipe = Recipe(model=LLAMA, method="lora", num_processes=3, distributed_type="pp", optim="adamw_torch_fused")
    inventory = open_model(LLAMA).inventory
    trained = trainables(recipe, inventory)
    all = tensors(recipe, inventory, trained, LOOPS["trl"])
    stages = [pp_rank(recipe, all, inventory, stage, "cuda") for stage in range(3)]
    training = training_bytes(recipe, trained, adapter_dtype="float32")
    assert (
        sum(stage.weights for stage in stages)
        == base_weights(inventory, recipe.dtype, None, True, "none").weights_bytes
    )
    assert sum(stage.optimizer_states for stage in stages) == training.optimizer_states_bytes
    few, many = (
        devices("pp", 4, method="lora", gradient_checkpointing=False, gradient_accumulation_steps=n).components[
            "activations"
        ]
        for n in (1, 8)
    )
    assert many > 2 * few  # micro-batches under way


REFUSALS = [
    ({"distributed_type": "ddp", "offload_param_device": "cpu"}, "offload_param_device"),
    ({"distributed_type": "fsdp", "offload_optimizer_device": "cpu"}, "offload_optimizer_device"),
    ({"distributed_type": "zero2", "offload_optimizer_device": "nvme"}, "offload_optimizer_device"),
    ({"distributed_type": "fsdp", "optim": "adamw_bnb_8bit"}, "optim"),
    ({"distributed_type": "zero2", "optim": "sgd", "offload_optimizer_device": "cpu"}, "optim"),
    ({"distributed_type": "fsdp", "quantization": "int8"}, "quantization"),
    ({"distributed_type": "zero3"}, "bnb_4bit_quant_storage"),
    ({"distributed_type": "tp"}, "method"),
    ({"distributed_type": "tp", "method": "lora", "num_processes": 3}, "num_processes"),
    ({"distributed_type": "tp", "method": "lora", "model": "openai-community/gpt2"}, "distributed_type"),
    ({"distributed_type": "pp", "num_processes": 64}, "num_processes"),
    ({"num_processes": 0}, "num_processes"),
]


@pytest.mark.parametrize(
    ("fields", "field"), REFUSALS, ids=[f"{field} {fields.get('distributed_type')}" for fields, field in REFUSALS]
)
def test_what_does_not_go_together_is_refused_by_name(fields, field):
    with pytest.raises(Problem) as refused:
        estimate(Recipe(**{"model": LLAMA, "num_processes": 2} | fields))
    assert refused.value.field == field


def test_the_exact_engine_and_sweeps_know_one_device():
    with pytest.raises(Problem, match="num_processes"):
        law_of(Recipe(model=SMALL, num_processes=2))
    with pytest.raises(Problem, match="num_processes"):
        estimate(Recipe(model=SMALL, num_processes=2), engine="trace")


def test_the_table_says_whose_figures_these_are(capsys):
    from estimator.cli.cli import main

    flags = (
        "--model meta-llama/Llama-3.2-1B --num-processes 4 --distributed-type fsdp --bnb-4bit-quant-storage bfloat16"
    )
    assert main(flags.split()) == 0
    said = capsys.readouterr().out
    assert (
        "4 devices, fsdp: the figures above are one device's" in said
        and "all gather" in said
        and "saving, host" in said
    )
    assert main((flags + " --optim adamw_bnb_8bit").split()) == 2


def test_plans_of_tensor_parallel_are_transformers_own():
    transformers = pytest.importorskip("transformers")
    for model_type, plan in tp_plans().items():
        own = transformers.CONFIG_MAPPING[model_type]().get_text_config().base_model_tp_plan
        assert {name.replace("layers.*.", ""): style for name, style in own.items()}.items() <= plan.items(), model_type


def test_each_process_loads_whole_models_unless_they_are_cut():
    """Host memory and device, for 16-bit and packed weights."""
    inventory = open_model(LLAMA).inventory
    weights, largest = (
        2 * inventory.total_parameters + inventory.buffer_bytes,
        2 * max(math.prod(p.shape) for group in inventory.groups for p in group.parameters),
    )
    single, ddp = estimate(Recipe(model=LLAMA, method="lora")), devices("ddp", 4, method="lora")
    whole, part, cut = (peak_of(devices(kind, 4, method="lora"), "loading") for kind in ("ddp", "zero3", "fsdp"))
    assert whole.device_bytes == peak_of(single, "loading").device_bytes + ddp.parallel.communicator_bytes
    assert whole.host_bytes == weights <= cut.host_bytes < 1.02 * weights
    own = cut.device_bytes - largest - default_context().bytes - ddp.parallel.communicator_bytes
    assert weights / 4 < own < 1.02 * weights / 4 and part.device_bytes < whole.device_bytes
    packed = devices("fsdp", 4, bnb_4bit_quant_storage="bfloat16")
    assert peak_of(packed, "loading").device_bytes < peak_of(devices("ddp", 4), "loading").device_bytes
    assert peak_of(devices("ddp", 4), "loading").host_bytes == 0  # straight to each device


def test_packed_weights_that_come_whole_first_are_told():
    small, large = (
        devices("fsdp", 8, max_length=length, bnb_4bit_quant_storage="bfloat16", per_device_train_batch_size=1)
        for length in (128, 16384)
    )
    said = [[note.code for note in made.warnings] for made in (small, large)]
    assert "parallel.loads_whole" in said[0] and "parallel.loads_whole" not in said[1]
    assert not any(
        note.code == "parallel.loads_whole" for note in devices("fsdp", 8, method="lora", max_length=128).warnings
    )
    cards = [
        estimate(small.source.recipe, gpu) for gpu in ("RTX 4090", "GeForce RTX 2060 6GB")
    ]  # one has room for all of it
    assert [any(note.code == "parallel.loads_whole" for note in made.warnings) for made in cards] == [False, True]


@pytest.mark.parametrize("kind", ["ddp", "zero2", "zero3", "fsdp", "tp", "pp"])
def test_the_other_moments_of_several_devices(kind):
    made = devices(kind, 4, method="full")
    assert [peak.name for peak in made.run_peaks] == list(RUN)
    known = [peak.device_bytes for peak in made.run_peaks if peak.device_bytes is not None]
    assert made.largest_peak.device_bytes == max(known) and len(known) == (3 if kind in ("tp", "pp") else 4)
    assert peak_of(made, "saving").device_bytes < made.device_bytes  # gradients are gone
    assert peak_of(made, "saving").host_bytes >= made.parallel.saving_host_bytes
    assert json.loads(made.to_json())["largest_peak"] == made.largest_peak.name
    if kind == "ddp":
        alone = estimate(Recipe(model=LLAMA, method="full"))
        assert peak_of(made, "evaluation").device_bytes > peak_of(alone, "evaluation").device_bytes  # the buckets stay


def test_gathered_weights_are_reserved_beside_the_steps_own_stream():
    recipe = Recipe(model=LLAMA, method="lora", num_processes=4, distributed_type="fsdp")
    parts = parts_of(Question(on_device(recipe), open_model(LLAMA)))
    made = shard(recipe, parts, "trl")
    fsdp = Fsdp(recipe, all_tensors(recipe, parts, "trl"))
    units = by_unit(fsdp.all, fsdp.whole_bytes)
    layer, tail, embedding = largest_layer(units), units[TAIL], units[EMBEDDING]
    # each buffer is made while the one before is there: the embedding and a layer, two layers, a layer and the tail
    assert max(embedding + layer, layer + tail) <= made.gathering_bytes <= embedding + 2 * layer + tail + (8 << 20)
    total, own = sum(made.evaluate(recipe)[1].values()), sum(made.own_components.values())
    assert total - own == max(tail, layer)
    answer, (_, ratio, _) = estimate(recipe), reserved_over_allocated(recipe)
    assert answer.peak_reserved_bytes == round(own * ratio) + made.gathering_bytes > answer.peak_allocated_bytes


def peak_of(made: Estimate, name: str) -> Peak:
    return next(peak for peak in made.run_peaks if peak.name == name)
