"""Time: the roofline by hand, the table of efficiencies made anew, and what a run's hours are a sum of."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest

from estimator.cost import efficiency
from estimator.cost.roofline import Amounts, Group, amounts, seconds, step_bytes, unrated
from estimator.cost.rows import uniform
from estimator.cost.throughput import Spread, load_of, throughput, throughput_of_several
from estimator.estimates.parts import parts_of
from estimator.hardware.cards import find_gpu, gpus
from estimator.hardware.links import link_of
from estimator.hardware.platforms import Platform
from estimator.law.law import PHI, Law
from estimator.law.question import Question
from estimator.make import efficiency as make_efficiency
from estimator.measure import sweep_table
from estimator.measure.sweep_recipes import SweepRow
from estimator.model.catalog import load_preset, rows
from estimator.recipe.recipe import Recipe
from tests.estimator import measured_devices

ID = "meta-llama/Llama-3.2-3B"
A100 = find_gpu("A100 SXM4 80GB")


def parts(recipe):
    return parts_of(Question(recipe, load_preset(recipe.model)))


def row(**terms):
    return tuple(float(terms.get(name, 0)) for name in PHI)


def test_the_roofline_by_hand():
    law = Law((), 0, "traced", 0.0, flops={"forward.matrix.bfloat16": row(BS=6e9),
        "recompute.matrix.bfloat16": row(BS=2e9), "backward.adapter.float32": row(BSr=1e6)},
              moved_bytes={"forward.matrix.bfloat16": row(BS=1e6), "backward.adapter.float32": row(BS=1e6),
                  "backward.other": row(BS=3e6)})  # fmt: skip
    work = amounts(law, law.phi(2, 500, 16))
    assert work == Amounts((Group("bfloat16", 8e12, 1e9), Group("float32", 1.6e10, 1e9)), 3e9, 2e12)
    assert (work.flops, work.moved_bytes) == (8.016e12, 5e9)
    taken, arithmetic = seconds(work, A100, 1e9)
    memory = 1 / 2039
    assert arithmetic == pytest.approx(
        8e12 / 312e12 + 1.6e10 / 19.5e12
    )  # 0.8 ms in fp32 is more than its 0.5 ms of memory
    assert taken == pytest.approx(arithmetic + 3 * memory + memory)
    slow = replace(A100, bandwidth_gbs=500.0)
    assert seconds(work, slow)[1] == pytest.approx(8e12 / 312e12)  # now the adapters wait for memory
    assert amounts(replace(law, flops=None), law.phi(1, 1, 1)) is None


@pytest.mark.parametrize(
    ("optim", "passes", "states"),
    [
        ("adamw_torch", 18 + 3, 0),
        ("adamw_torch_fused", 3 + 3, 2),
        ("sgd", 3 + 3, 0),
        ("lion_32bit", 3 + 3, 2),
        ("adamw_bnb_8bit", 3 + 3, 2),
    ],
)
def test_the_optimizer_reads_and_writes_what_it_holds(optim, passes, states):
    recipe = Recipe(model=ID, method="full", optim=optim)
    made = parts(recipe)
    held = made.training
    assert step_bytes(recipe, made) == passes * held.gradients_bytes + states * (
        held.optimizer_states_bytes + held.paged_bytes
    )
    assert step_bytes(recipe.replace(max_grad_norm=0.0), made) == step_bytes(recipe, made) - 3 * held.gradients_bytes


def test_the_table_says_what_it_was_made_of():
    lines = efficiency.table_lines()
    assert all(line["source_url"] and line["gpu"] in gpus() for line in lines)
    for line in lines:
        assert float(line["efficiency"]) == pytest.approx(
            float(line["tokens_per_second"]) / float(line["roofline_tokens_per_second"]), abs=6e-4
        )
    share = efficiency.efficiency_of(A100)
    own = [float(line["efficiency"]) for line in lines if line["gpu"] == A100.name]
    like = [float(line["efficiency"]) for line in lines if gpus()[line["gpu"]].family == "datacenter"]
    assert share.central == statistics.median(own) and (share.low, share.high, share.runs) == (
        min(like),
        max(like),
        len(like),
    )
    unseen = efficiency.efficiency_of(find_gpu("H200 SXM 141GB"))
    assert not any(line["gpu"] == "H200 SXM 141GB" for line in lines) and unseen.central == statistics.median(like)
    everywhere = efficiency.efficiency_of(next(gpu for gpu in gpus().values() if gpu.family == "apple"))
    assert (
        everywhere.runs == unseen.runs == len(lines) and everywhere.low <= share.low and everywhere.high >= share.high
    )


def test_a_row_of_the_table_made_again():
    """`python -m estimator.make.efficiency` would write the same figure."""
    line = next(line for line in efficiency.table_lines() if line["id"] == "peft-lora-64")
    recipe = efficiency.recipe_of(line)
    made = make_efficiency.traced_parts(
        recipe, make_efficiency.PROGRAMS[line["program"]], Platform.of(find_gpu(line["gpu"]))
    )
    assert make_efficiency.rated_tokens_per_second(recipe, made, line["gpu"]) == pytest.approx(
        float(line["roofline_tokens_per_second"]), abs=0.06
    )


def test_runs_of_the_gpu_proof_join_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(make_efficiency, "presets_dir", lambda: tmp_path)
    recipe = Recipe(
        model=ID,
        method="qlora",
        r=8,
        optim="paged_adamw_8bit",
        per_device_train_batch_size=3,
        max_length=512,
        target_modules=["q_proj", "v_proj"],
    )
    for id, answer in (
        ("timed", {"status": "ok", "steps_per_second": 2.0}),
        ("untimed", {"status": "ok"}),
        ("full", {"status": "out_of_memory"}),
    ):
        sweep_table.append(
            tmp_path / "measurements" / "nvidia-h100-80gb-hbm3.csv",
            sweep_table.line_of(SweepRow(id, recipe, "trl"), answer),
        )
    (line,) = make_efficiency.measured_lines()
    assert (line["gpu"], float(line["tokens_per_second"]), line["source_url"]) == (
        "H100 SXM5 80GB",
        2 * 3 * 512,
        "presets/measurements/nvidia-h100-80gb-hbm3.csv",
    )
    again = efficiency.recipe_of(dict.fromkeys(efficiency.FIELDS, "") | {"double_quant": ""} | line)
    assert again == recipe


def test_published_runs_lie_in_the_stated_range():
    """By how the range is made; here to hold the composition: law, roofline, efficiency and tokens."""
    line = next(line for line in efficiency.table_lines() if line["id"] == "fms-full-4")
    share = efficiency.efficiency_of(find_gpu(line["gpu"]))
    rated = float(line["roofline_tokens_per_second"])
    assert rated * share.low <= float(line["tokens_per_second"]) <= rated * share.high


def test_hours_are_the_steps_times_the_seconds_of_one():
    recipe = Recipe(model=ID, method="full", max_length=1000, per_device_train_batch_size=4, num_train_epochs=2.0)
    load = load_of(recipe, parts(recipe), uniform(4000, 1000, recipe))
    made = throughput(load, A100)
    assert made.steps == 2000 and made.padding_share == 0
    for name in ("low", "central", "high"):
        assert getattr(made.hours, name) * 3600 == pytest.approx(2000 * getattr(made.seconds_per_step, name))
    assert made.tokens_per_second.high == pytest.approx(4000 / made.seconds_per_step.low)
    assert made.seconds_per_step.low < made.seconds_per_step.central < made.seconds_per_step.high
    assert made.energy_kwh_at_most == A100.tdp_w * made.hours.high / 1000
    assert {note.code for note in made.why} == {"why.efficiency"} and made.to_dict()["hours"]["low"] == made.hours.low
    half = throughput(load_of(recipe.replace(max_steps=1000), parts(recipe), uniform(4000, 1000, recipe)), A100)
    assert half.hours.central == pytest.approx(made.hours.central / 2)


def test_what_takes_longer():
    """Recompute and longer rows."""
    base = Recipe(model=ID, method="full", max_length=512)
    taken = lambda recipe: throughput(load_of(recipe, parts(recipe)), A100).seconds_per_step.central  # noqa: E731
    assert taken(base.replace(gradient_checkpointing=False)) < taken(base) < taken(base.replace(max_length=1024))
    kept = base.replace(gradient_checkpointing=False)
    shares = [throughput(load_of(recipe, parts(recipe)), A100).recompute_share for recipe in (base, kept)]
    assert shares[0] > 0 == shares[1]


def test_accumulation_repeats_all_but_the_optimizer_and_adds_the_gradients():
    base = Recipe(model=ID, method="full", max_length=512)
    once = load_of(base, parts(base))
    four = base.replace(gradient_accumulation_steps=4)
    unknown = replace(parts(four), law=replace(parts(four).law, flops=None, moved_bytes=None))
    made = load_of(four, unknown, single=parts(base).law)
    assert made.step.flops == 4 * once.step.flops and made.tokens_per_step == 4 * once.tokens_per_step
    assert made.step_bytes == once.step_bytes + 3 * 3 * parts(base).training.gradients_bytes


@pytest.mark.parametrize(
    ("gpu", "code"),
    [
        (find_gpu("Tesla T4"), "time.no_bf16"),
        (replace(A100, bandwidth_gbs=None), "time.no_bandwidth"),
        (replace(A100, fp16_bf16_dense_tflops=None), "time.no_tflops"),
    ],
    ids=("T4", "bandwidth", "tflops"),
)
def test_an_unknown_rate_gives_no_time_and_says_which(gpu, code):
    recipe = Recipe(model=ID, method="full")
    made = throughput(load_of(recipe, parts(recipe), uniform(100, 1000, recipe)), gpu)
    assert (made.seconds_per_step, made.tokens_per_second, made.hours, made.energy_kwh_at_most) == (None,) * 4
    assert [note.code for note in made.why] == [code] and made.flops > 0 and made.steps == 150
    assert unrated(gpu, ("bfloat16",)).code == code


def test_a_law_without_work_gives_no_time():
    recipe = Recipe(model=ID, method="full")
    made = parts(recipe)
    made = throughput(load_of(recipe, replace(made, law=replace(made.law, flops=None, moved_bytes=None))), A100)
    assert made.flops is None and made.seconds_per_step is None and [note.code for note in made.why] == ["time.no_work"]


def test_no_power_no_energy():
    recipe = Recipe(model=ID, method="full")
    made = throughput(load_of(recipe, parts(recipe), uniform(100, 1000, recipe)), replace(A100, tdp_w=None))
    assert (
        made.hours
        and made.energy_kwh_at_most is None
        and not math.isnan(made.hours.low)
        and made.why[-1].code == "time.no_power"
    )


def test_the_table_of_links_names_cards_interconnects_and_orders_its_speeds():
    known = {part for gpu in gpus().values() for part in gpu.interconnect.split("; ")}
    for line in rows("links.csv"):
        assert line["interconnect"] in known and line["source"] and line["gpu"] in {"", *gpus()}
        assert "bridge" in line["interconnect"] or 0 < float(line["low_gbs"]) <= float(line["gbs"]) <= float(
            line["high_gbs"]
        )
    assert link_of(find_gpu("H800 SXM5"), 2) is None  # sold with fewer links; how fast was not found
    assert link_of(A100, 16) is None and link_of(find_gpu("GB200"), 16)  # several machines, and one rack
    pair, four = (link_of(find_gpu("RTX 3090"), devices) for devices in (2, 4))
    assert pair.high_gbs > four.high_gbs and pair.gbs == four.gbs  # a bridge joins two
    assert link_of(find_gpu("L40S"), 2).low_gbs > link_of(find_gpu("RTX 4090"), 2).low_gbs


def test_several_cards_share_the_rows_and_send_between_nothing_and_everything_beside():
    recipe = Recipe(model=ID, method="full", max_length=1000, per_device_train_batch_size=4, num_train_epochs=1.0)
    made, link = parts(recipe), link_of(A100, 4)
    epoch = uniform(4000, 1000, recipe)
    alone = throughput(load_of(recipe, made, epoch), A100)
    load = load_of(recipe, made, epoch.shared_by(4, recipe))
    free, sent = (throughput_of_several(Spread(4, load, sent), A100) for sent in (0, 1e11))
    assert free.steps == 250 and free.hours.central == pytest.approx(alone.hours.central / 4)
    assert free.tokens_per_second.central == pytest.approx(4 * alone.tokens_per_second.central)
    assert sent.seconds_per_step.central == pytest.approx(free.seconds_per_step.central + 100 / link.gbs)
    assert sent.seconds_per_step.high == pytest.approx(free.seconds_per_step.high + 100 / link.low_gbs)
    assert sent.seconds_per_step.low == max(free.seconds_per_step.low, 100 / link.high_gbs)
    assert sent.hours.central * 3600 == pytest.approx(250 * sent.seconds_per_step.central)
    assert sent.energy_kwh_at_most == 4 * A100.tdp_w * sent.hours.high / 1000
    assert [note.code for note in sent.why] == ["why.efficiency", "why.link"]
    unknown = throughput_of_several(Spread(4, load, 1e11), replace(A100, interconnect="NVLink"))
    assert unknown.hours is None and unknown.why[0].code == "time.no_link"


def test_published_runs_over_two_cards_lie_in_the_stated_range():
    """Runs of FSDP on boards that are known to be fast and slow; `make accuracy` prints all of them."""
    lines = [line for line in measured_devices.TIMED if line.method == "lora" and line.batch > 1]
    assert {line.gpu for line in lines} == {"GeForce RTX 3090", "GeForce RTX 4090"}
    for line in lines:
        made = measured_devices.seconds(line)
        assert made.low <= line.seconds <= made.high, line


def test_llm_int8_counts_its_products_as_fast_as_16_bits_where_bitsandbytes_has_them():
    law = Law(
        (),
        0,
        "traced",
        0.0,
        flops={"forward.matrix.int8": row(BS=6e9)},
        moved_bytes={"forward.matrix.int8": row(BS=1e6)},
    )
    work = amounts(law, law.phi(2, 500, 16))
    assert seconds(work, A100)[1] == pytest.approx(6e12 / 312e12)
    assert unrated(A100, ("int8",)) is None
    for name in ("Tesla V100 SXM2 16GB", "Instinct MI300X"):
        assert unrated(find_gpu(name), ("int8",)).code == "time.no_tflops"
