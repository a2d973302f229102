"""Memory of runs on a CPU: the table of measured runs is of today's predictions, and the range that is read off it holds them."""

from __future__ import annotations

import pytest

from estimator import cpu_growth, model_from_config
from estimator.estimates import resident
from estimator.estimates.resident import Kept
from tests.bench.memory_on_cpu import SHAPES, recipe_of

ROWS = resident.rows()


def growth(row):
    name = row["model"]
    model = model_from_config(config(name), f"config:{name}") if name in SHAPES else None
    return cpu_growth(recipe_of(row, name).replace(max_length=max(8, int(row["tokens"]))), model=model)


def config(name):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", **SHAPES[name]}


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
        if int(left_out["measured_bytes"]) > resident.kept().most(int(left_out["predicted_bytes"])):
            outside.append(left_out)
    resident.kept.cache_clear()
    assert len(outside) <= 2  # whichever sets the fixed part, and whichever the share


def test_what_is_kept_is_read_off_the_rows(monkeypatch):
    rows = [{"predicted_bytes": "100", "measured_bytes": "130"}, {"predicted_bytes": "1000", "measured_bytes": "1530"}]
    monkeypatch.setattr(resident, "rows", lambda: rows)
    resident.kept.cache_clear()
    assert resident.kept() == Kept(fixed_bytes=30, share=0.5) and resident.kept().most(2000) == 3030
    resident.kept.cache_clear()
