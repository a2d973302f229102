"""A recipe's real step: every path of it on a CPU, its comparison with the estimate, and the sweep that survives what
it meets."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from estimator.cli import measure_command
from estimator.estimates.estimate import check, estimate
from estimator.hardware import cards
from estimator.hub.sources import open_model
from estimator.measure import loops, measure, sweep, sweep_table
from estimator.measure.meter import MIB, Meter
from estimator.measure.random_weights import random_base
from estimator.measure.sweep_recipes import DRY_RUN, VARIED, sweep_rows
from estimator.model.catalog import TINY_BASE, models
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe

ROOT = Path(__file__).parents[2]
MODEL = open_model(TINY_BASE)


def tiny(**fields) -> Recipe:
    return Recipe(
        **{"model": TINY_BASE, "dtype": "float32", "max_length": 16, "eval_steps": 0, "gradient_checkpointing": False}
        | fields
    )


@pytest.mark.parametrize(
    ("fields", "loop"),
    [
        ({"method": "full", "eval_steps": 3, "gradient_checkpointing": True}, "trl"),
        (
            {"method": "lora", "eval_steps": 3, "gradient_accumulation_steps": 2, "gradient_checkpointing": True},
            "plain",
        ),
        ({"method": "lora", "attn_implementation": "eager"}, "trainer"),
        ({"method": "qlora", "dtype": "bfloat16", "max_length": 8}, "trl"),
        ({"method": "qlora", "use_dora": True, "optim": "adafactor"}, "plain"),
        (
            {
                "method": "qlora",
                "packing": True,
                "gradient_checkpointing": True,
                "use_reentrant": True,
                "optim": "paged_lion_8bit",
            },
            "trl-upcast",
        ),
        ({"method": "qlora", "packing": True, "autocast_adapter_dtype": False}, "plain-no-upcast"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["method"],
)
def test_every_method_and_loop_runs(fields, loop):
    made = measure.measure(tiny(**fields), MODEL, loop=loop, steps=1, device="cpu")
    assert made.status == "ok" and made.steps == 1 and made.steps_per_second > 0
    assert made.tokens_per_second == made.steps_per_second * 2 * fields.get(
        "gradient_accumulation_steps", 1
    ) * fields.get("max_length", 16)
    assert made.peak_allocated_bytes is None and made.resident_growth_bytes >= 0
    assert made.versions["torch"] == torch.__version__ and made.versions["transformers"]


def test_the_steps_train_and_the_evaluation_is_of_one_batch(tmp_path, monkeypatch):
    """The loop under the meter is the studio's: its trainer takes `steps` steps that change the weights."""
    seen = {}
    real = loops._trl
    monkeypatch.setattr(loops, "_trl", lambda *a: seen.setdefault("trainer", real(*a)))
    loops.run(tiny(method="lora", eval_steps=2), MODEL, "trl", 3, Meter("cpu", 1), tmp_path)
    trainer = seen["trainer"]
    assert trainer.state.global_step == 3 and len(trainer.eval_dataset) == 2
    assert 2 in [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert any(parameter.abs().sum() > 0 for name, parameter in trainer.model.named_parameters() if "lora_B" in name)
    assert (trainer.model.config.vocab_size, set(map(len, trainer.train_dataset["input_ids"]))) == (2048, {16})


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_random_weights_are_the_counted_tensors_in_their_types(method):
    base = random_base(tiny(method=method, dtype="bfloat16"), MODEL, device="cpu")
    kept = {name: p for name, p in base.named_parameters()}
    states = [getattr(p, "quant_state", None) for p in kept.values()]
    assert sum(state is not None for state in states) == (28 if method == "qlora" else 0)
    assert (
        sum((s.shape if s else p.shape).numel() for s, p in zip(states, kept.values(), strict=True))
        == MODEL.inventory.total_parameters
    )
    assert {p.dtype for p in kept.values()} <= {torch.bfloat16, torch.uint8} and not any(
        p.is_meta for p in kept.values()
    )
    assert base.lm_head.weight is base.get_input_embeddings().weight
    assert torch.equal(base.model.norm.weight, torch.ones(256, dtype=torch.bfloat16))
    assert 0.015 < base.lm_head.weight.detach().float().std() < 0.025


def test_a_quantized_model_is_read_tensor_by_tensor(monkeypatch):
    """At no time two layers' 16-bit weights: each is quantized before the next one is made."""
    from bitsandbytes.nn import Params4bit

    from estimator.measure.random_weights import Unread

    order = []
    make, quantize = Unread.__getitem__, Params4bit._quantize
    monkeypatch.setattr(
        Unread,
        "__getitem__",
        lambda self, i: (order.append("read"), make(self, i))[1] if len(self.shape) == 2 else make(self, i),
    )
    monkeypatch.setattr(
        Params4bit, "_quantize", lambda self, device: (order.append("packed"), quantize(self, device))[1]
    )
    random_base(tiny(method="qlora"), MODEL, device="cpu")
    linear = order[order.index("packed") - 1 :]
    assert order.count("packed") == 28 and linear[:56:2] == ["read"] * 28 and linear[1:56:2] == ["packed"] * 28


def test_out_of_memory_is_a_result(monkeypatch, capsys):
    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64.00 GiB")

    monkeypatch.setattr(loops, "run", refuse)
    made = measure.measure(tiny(), MODEL, device="cpu")
    assert made.status == "out_of_memory" and "64.00 GiB" in made.reason and made.steps_per_second is None
    assert measure_command.main(["--model", TINY_BASE, "--method", "lora", "--device", "cpu"]) == 0
    assert "out of memory" in capsys.readouterr().out
    monkeypatch.setattr(loops, "run", lambda *_: (_ for _ in ()).throw(ValueError("shapes differ")))
    with pytest.raises(ValueError, match="shapes differ"):
        measure.measure(tiny(), MODEL, device="cpu")


def test_figures_of_a_gpu(monkeypatch):
    """Context: what the card shows beyond reserved memory and what it showed before."""
    for name, value in {
        "mem_get_info": (60 * MIB, 100 * MIB),
        "max_memory_allocated": 20 * MIB,
        "max_memory_reserved": 30 * MIB,
        "memory_reserved": 28 * MIB,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    meter = Meter("cpu", 2, others_bytes=5 * MIB)
    meter.is_cuda = True
    figures = meter.cuda_bytes()
    assert figures == {
        "peak_allocated_bytes": 20 * MIB,
        "peak_reserved_bytes": 30 * MIB,
        "context_bytes": 7 * MIB,
        "device_bytes": 37 * MIB,
    }
    empty = dict.fromkeys(("steps_per_second", "tokens_per_second"), 1.0)
    made = measure.Measurement(
        "ok", "trl", "Tesla T4", 3, resident_growth_bytes=0, reason="", versions={}, **empty, **figures
    )
    answer = estimate(tiny(), "Tesla T4", model=MODEL)
    assert made.error(answer, "peak_allocated_bytes") == answer.peak_allocated_bytes / (20 * MIB) - 1
    text = measure_command.table(tiny(), made, {"law": answer})
    assert "Tesla T4" in text and f"{100 * (answer.device_bytes / (37 * MIB) - 1):+.2f} %" in text


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA H200", "H200 SXM 141GB"),
        ("NVIDIA H200 NVL", "H200 NVL 141GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM5 80GB"),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("Tesla T4", "Tesla T4"),
        ("Card 9", None),
    ],
)
def test_the_drivers_names_are_found_in_the_catalog(name, card):
    found = cards.known_gpu(name)
    assert (found.name if found else None) == card


def test_without_a_gpu_one_line_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert measure_command.main(["measure", "--model", TINY_BASE]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("lora-studio measure: device: no GPU")
    assert measure_command.main(["--model", TINY_BASE, "--steps", "0"]) == 2
    assert "steps: 0" in capsys.readouterr().err


def test_the_command_prints_both_engines_as_json_and_nothing_else(capsys):
    words = [
        "--model",
        TINY_BASE,
        "--dtype",
        "float32",
        "--method",
        "lora",
        "--max-length",
        "16",
        "--steps",
        "1",
        "--gradient-checkpointing",
        "false",
        "--device",
        "cpu",
    ]
    assert measure_command.main([*words, "--engine", "trace", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["measured"]["status"] == "ok" and list(answer["estimated"]) == ["law", "trace"]
    assert answer["estimated"]["trace"]["engine"] == "trace"


# The sweep


def test_the_sweep_covers_what_a_proof_must():
    rows = sweep_rows()
    recipes = [row.recipe for row in rows]
    assert len(rows) >= 80 and len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert check(row.recipe) == [] and row.loop in LOOPS, row.id
        defaults = row.recipe.to_dict() | Recipe(model=row.recipe.model).to_dict()
        assert not {
            name for name, value in row.recipe.to_dict().items() if name not in VARIED and value != defaults[name]
        }, row.id
    sizes = [models()[recipe.model].parameters for recipe in recipes]
    assert min(sizes) < 0.5e9 and max(sizes) > 14e9
    assert {(r.method, r.use_dora) for r in recipes} == {
        ("full", False),
        ("lora", False),
        ("lora", True),
        ("qlora", False),
        ("qlora", True),
    }
    assert {512, 8192} <= {r.max_length for r in recipes} and {1, 2, 4, 8} <= {
        r.per_device_train_batch_size for r in recipes
    }
    assert {r.gradient_checkpointing for r in recipes} == {True, False} and {
        r.attn_implementation for r in recipes
    } == {"sdpa", "eager"}
    assert (
        len({r.optim for r in recipes}) >= 6
        and {r.eval_steps for r in recipes} == {0, 1}
        and {row.loop for row in rows} == set(LOOPS) & {"trl", "trainer", "plain"}
    )
    assert [recipe.model for recipe in recipes] == sorted(
        (r.model for r in recipes), key=list(dict.fromkeys(r.model for r in recipes)).index
    )


def test_the_list_needs_no_gpu_and_no_torch():
    code = "import sys; from estimator.measure import sweep; sweep.main(['--list']); "
    code += "print('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "False" and len(done.stdout.splitlines()) == len(sweep_rows())


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path, capsys):
    """A table with results, a failure and a torn line: a real process runs what is missing, and nothing twice."""
    rows = sweep_rows(DRY_RUN)
    path, installed = tmp_path / "cpu.csv", measure.versions()
    for row, status in zip(rows, ("ok", "out_of_memory", "failed", "ok", "ok"), strict=True):
        sweep_table.append(path, sweep_table.line_of(row, {"status": status, "versions": installed}))
    sweep_table.append(path, sweep_table.line_of(rows[0], {"status": "ok", "versions": installed | {"torch": "2.1.0"}}))
    path.write_text(path.read_text() + rows[2].id + ",lora-st")
    assert sweep.main(["--dry-run", "--device", "cpu", "--folder", str(tmp_path)]) == 0
    records = sweep_table.read(path)
    assert [r.id for r in records] == [row.id for row in (rows[0], rows[1], rows[3], rows[4], rows[0], rows[2])]
    assert [r.status for r in records] == ["ok", "out_of_memory", "ok", "ok", "ok", "ok"]
    assert (records[-1].recipe, records[-1].loop) == (rows[2].recipe, rows[2].loop) and records[-1].steps_per_second
    assert "4 rows are measured already" in capsys.readouterr().out


ANSWERS = """
import json, os, sys, time
for line in sys.stdin:
    request = json.loads(line)
    if "ask" in request:
        answer = {"gpu": "Card 9", "versions": dict.fromkeys(("torch", "transformers"), "1")}
    elif request["recipe"]["use_dora"]:
        os._exit(9)
    elif request["loop"] == "plain":
        time.sleep(60)
    else:
        status = "out_of_memory" if request["recipe"]["method"] == "full" else "ok"
        answer = {"status": status, "peak_allocated_bytes": 7, "steps_per_second": 2.0}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def stand_in(monkeypatch):
    """Measuring processes that die and dawdle."""
    real = sweep.Worker.__init__
    monkeypatch.setattr(
        sweep.Worker, "__init__", lambda self, device, log: real(self, device, log, [sys.executable, "-c", ANSWERS])
    )
    monkeypatch.setattr(sweep, "ROW_SECONDS", 0.5)


def test_the_sweep_survives_its_rows(stand_in, tmp_path, capsys):
    assert sweep.main(["--dry-run", "--folder", str(tmp_path)]) == 1
    with (tmp_path / "card-9.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["status"] for line in lines] == ["out_of_memory", "ok", "too_slow", "crashed", "ok"]
    assert "ended with 9" in lines[3]["reason"] and lines[1]["peak_allocated_bytes"] == "7"
    assert "1 crashed" in capsys.readouterr().out


def test_the_time_is_kept_and_what_was_not_run_is_named(stand_in, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "ROW_SECONDS", 30)  # the row that sleeps is ended with the sweep, and is not called slow
    assert sweep.main(["--dry-run", "--folder", str(tmp_path), "--seconds", "2"]) == 0
    rows = sweep_rows(DRY_RUN)
    assert [record.id for record in sweep_table.read(tmp_path / "card-9.csv")] == [row.id for row in rows[:2]]
    assert f"3 not run, the time was spent: {', '.join(row.id for row in rows[2:])}" in capsys.readouterr().out


def test_a_sweep_without_a_gpu_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep.Worker, "ask", lambda *_: {"gpu": None, "reason": "torch finds no CUDA device"})
    assert sweep.main(["--folder", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "no GPU" in said.err and not list(tmp_path.glob("*.csv"))
