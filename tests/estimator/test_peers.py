"""The comparison with other estimators: its statistics, its hub, and its honesty where a peer cannot be asked."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from estimator.model.catalog import load_preset
from tests import hub
from tests.estimator.measured import rows
from tests.estimator.peers import __main__ as peers
from tests.estimator.peers import shelf, table
from tests.estimator.peers.table import HEAD, Estimator, Said, markdown, within

ROOT = Path(__file__).parents[2]
FULL = next(row for row in rows() if row.recipe.method == "full")
LORA = next(row for row in rows() if row.recipe.method == "lora")


def test_nearest_rank_of_absolute_errors():
    errors = [0.01 * k * (-1) ** k for k in range(1, 11)]
    assert (within(errors, 0.9), within(errors, 1.0), within([-0.5], 0.9)) == (0.09, 0.10, 0.5)


def test_the_table_counts_silence_and_never_fills_it():
    said = (Said("a-1", 1.0, 0.10), Said("a-2", 3.0, -0.30), Said("b-1", 2.0, reason="no adapters"))
    text = markdown([Estimator("peer 1.0", said, note="n"), Estimator("gone", absent="no such package")], ("a-", "b-"))
    assert text.splitlines()[2:] == [
        "| peer 1.0 | 3 | 2 | 20.00 % | 30.00 % | -30.0 % | 2.0 |",
        "| &nbsp;&nbsp;a-* | 2 | 2 | 20.00 % | 30.00 % | -30.0 % | 2.0 |",
        "| gone |  |  |  |  |  |  |",
        "",
        "- peer 1.0: n; does not say for 1 of 3 rows (no adapters).",
        "- gone could not be asked: no such package",
    ]


@pytest.mark.parametrize("id", sorted({row.recipe.model for row in rows()}))
def test_a_header_holds_every_tensor_once_and_back_to_back(id):
    inventory = load_preset(id).inventory
    made = shelf.safetensors_header(inventory)
    (length,) = struct.unpack("<Q", made[:8])
    header = json.loads(made[8:])
    offsets = [entry["data_offsets"] for entry in header.values()]
    assert length == len(made) - 8
    assert [begin for begin, _ in offsets] == [0, *(end for _, end in offsets[:-1])]
    assert offsets[-1][1] == inventory.total_parameters * shelf.WIDTH_BYTES


def test_targets_that_the_model_lacks_are_not_asked_for():
    row = next(row for row in rows() if "c_attn" in row.recipe.target_modules)
    asked = peers._question(row)["target_modules"]
    assert asked and set(asked) < set(row.recipe.target_modules)


def test_a_peer_that_cannot_be_installed_is_named_with_the_reason(monkeypatch):
    def refused(requirement: str) -> Path:
        raise subprocess.CalledProcessError(1, "pip", stderr="working\nERROR: no matching distribution\n")

    monkeypatch.setattr(peers, "environment", refused)
    assert peers.peer("peer", "peer==1", "ask_peer", [FULL], "").absent == "ERROR: no matching distribution"


def test_accelerate_answers_for_full_fine_tuning_alone_through_the_loopback_hub(tmp_path):
    pytest.importorskip("accelerate")
    repositories, about = shelf.fill(tmp_path, {FULL.recipe.model, LORA.recipe.model})
    with hub.serve(repositories, about) as (url, asked):
        answers = peers.ask(Path(sys.executable), "ask_accelerate", [FULL, LORA], url)["answers"]
    inventory = load_preset(FULL.recipe.model).inventory
    headless = inventory.total_parameters - inventory.by_name[inventory.output_embedding].parameter("weight").numel
    # Weights, and twice as much for Adam's states, in fp32; the command prints the larger.
    assert answers[FULL.id]["allocated_bytes"] == pytest.approx(8 * headless, rel=1e-6)
    assert answers[LORA.id]["does_not_say"] == "nothing of LoRA or quantized training"
    assert f"api/models/{FULL.recipe.model}" in asked


def test_the_readme_shows_the_table_as_it_is_printed():
    text = (ROOT / "README.md").read_text("utf-8")
    assert "make peers" in text and "| " + " | ".join(table.HEAD) + " |" in text and len(HEAD) == 7
    assert all(f"| {name} " in text for name in ("LoRA Studio", *peers.PEERS))
