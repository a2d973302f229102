"""Memory of runs on a CPU: the table of measured runs is of today's predictions, and the range that is read off it
holds them."""

from __future__ import annotations

import pytest

from estimator import Recipe, cpu_growth, model_from_config
from estimator.estimates import resident
from estimator.estimates.resident import Kept
from tests.bench.memory_on_cpu import SHAPES, recipe_of

ROWS = resident.rows()


def growth(row):
    name = row["model"]
    model = model_from_config(config(name), f"config:{name}") if name in SHAPES else None
    return cpu_growth(recipe_of(row, name).replace(max_length=max(8, int(row["tokens"]))), model=model)


def config(name):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "dtype": "float32",
        **SHAPES[name],
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(list(row.values())[:6]))
def test_a_measured_run_lies_in_the_range_of_its_prediction(row):
    made = growth(row)
    assert made.growth_bytes == int(row["predicted_bytes"]), "python -m tests.bench.memory_on_cpu --write measures anew"
    assert made.low_bytes <= int(row["measured_bytes"]) <= made.high_bytes


def test_the_runs_differ_in_all_that_moves_memory():
    for name in ("model", "method", "quantization", "gradient_checkpointing", "per_device_train_batch_size", "tokens"):
        assert len({row[name] for row in ROWS}) > 1
    assert len(ROWS) >= 12


def test_a_run_that_the_range_was_not_read_from_lies_in_it_too(monkeypatch):
    """Each but the one that sets the upper end, left out in turn."""
    outside = []
    for left_out in ROWS:
        monkeypatch.setattr(resident, "rows", lambda: [row for row in ROWS if row is not left_out])
        resident.kept.cache_clear()
        if int(left_out["measured_bytes"]) > resident.kept().most(
            int(left_out["predicted_bytes"]), int(left_out["mapped_bytes"])
        ):
            outside.append(left_out)
    resident.kept.cache_clear()
    assert len(outside) <= 2  # whichever sets the fixed part, and whichever the share


def test_what_is_kept_is_read_off_the_rows(monkeypatch):
    rows = [
        {"predicted_bytes": "100", "mapped_bytes": "0", "measured_bytes": "130"},
        {"predicted_bytes": "1000", "mapped_bytes": "70", "measured_bytes": "1600"},
    ]
    monkeypatch.setattr(resident, "rows", lambda: rows)
    resident.kept.cache_clear()
    assert resident.kept() == Kept(fixed_bytes=30, share=0.5) and resident.kept().most(2000, 70) == 3100
    resident.kept.cache_clear()


def test_pages_of_a_file_are_counted_where_nothing_is_copied_and_something_is_packed():
    """135 million parameters, of which 106,168,320 stand in linear layers: their pages stay where they are stored in
    the type they load in."""
    ours = model_from_config(config("llama-135M"), "config:llama-135M")
    recipe = recipe_of({"per_device_train_batch_size": 2}, "llama-135M")
    mapped = lambda recipe, model=ours: resident.mapped_bytes(recipe, model)  # noqa: E731
    assert mapped(recipe) == 106_168_320 * 4
    assert mapped(recipe.replace(dtype="bfloat16")) == 0 == mapped(recipe.replace(method="lora"))
    half = model_from_config({**config("llama-135M"), "dtype": "bfloat16"}, "config:half")
    assert mapped(recipe, half) == 0 and mapped(recipe.replace(dtype="bfloat16"), half) == 106_168_320 * 2
    assert cpu_growth(recipe, model=ours).high_bytes - cpu_growth(recipe, model=half).high_bytes == 106_168_320 * 4


def test_a_run_on_the_small_real_model_lies_in_the_range():
    """24 steps of the studio's worker in 4 bits, batch 4, longest row 86 tokens: grown by 1,485.1 MiB; no row of the
    table."""
    recipe = Recipe(
        model="lora-studio/smollm2-135m", dtype="float32", r=16, lora_alpha=32, per_device_train_batch_size=4,
        max_length=86,
        gradient_checkpointing=False,
    )  # fmt: skip
    made = cpu_growth(recipe, padded=True)
    assert made.low_bytes <= 1485.1 * 2**20 <= made.high_bytes
