"""What a card leaves a run under a system: every figure from a row with a source, nothing where no row is."""

import csv
import json

import pytest

from estimator import Problem, Recipe, estimate
from estimator.cli.cli import main
from estimator.core.units import GIB, MIB
from estimator.hardware.cards import context_for, find_gpu, gpus
from estimator.hardware.machines import SYSTEMS, machine
from estimator.model.catalog import presets_dir

RECIPE = Recipe(model="meta-llama/Llama-3.1-8B", max_length=1024)
LORA = RECIPE.replace(method="lora")


def table(name):
    with (presets_dir() / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_has_a_source_and_names_what_there_is():
    assert {row["system"] for row in table("systems.csv")} == set(SYSTEMS)
    for row in table("systems.csv") + table("mig.csv"):
        assert len(row["source"]) > 20 and (not row["gpu"] or row["gpu"] in gpus())


def test_a_context_is_the_cards_own_else_its_vendors_else_everybodys():
    rows = {row["gpu"]: row for row in table("contexts.csv")}
    assert rows.keys() <= {"*", *gpus(), *(gpu.vendor for gpu in gpus().values())}
    named = {
        "Radeon RX 7900 XTX": "Radeon RX 7900 XTX",
        "Instinct MI300X": "AMD",
        "GeForce RTX 4090": "*",
        "Tesla T4": "Tesla T4",
    }
    for card, row in named.items():
        found = context_for(find_gpu(card))
        assert (found.source, found.bytes) == (rows[row]["source"], int(float(rows[row]["mib"]) * MIB))
        assert found.low_bytes <= found.bytes <= found.high_bytes


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "name", ["GeForce RTX 4090", "Radeon RX 7900 XTX", "Apple M4", "H100 SXM5 80GB", "DGX Spark (GB10)"]
)
def test_the_range_holds_the_middle_and_lies_below_the_card(name, system):
    gpu = find_gpu(name)
    if (gpu.vendor == "Apple") != (system == "macos"):
        with pytest.raises(Problem):
            machine(name, system)
        return
    made = machine(name, system)
    assert 0 < made.low_bytes <= made.usable.bytes <= made.high_bytes <= gpu.memory_gib * GIB
    assert made.usable.source and made.low_bytes < made.usable.total_bytes


def test_nothing_asked_is_native_linux_without_a_screen():
    assert machine("RTX 4090").usable == machine("RTX 4090", "linux").usable == find_gpu("RTX 4090").usable_bytes()
    made = estimate(RECIPE, "RTX 4090")
    assert (made.usable_low_bytes, made.usable_high_bytes) == (made.usable_bytes, made.usable_bytes)


def test_each_burden_takes_more():
    plain, desktop, windows, both = (
        machine("RTX 4090", system).usable.bytes for system in ("linux", "linux-desktop", "windows", "windows-desktop")
    )
    assert plain > desktop > 0 and plain > windows > both


def test_windows_sees_the_whole_card_and_cannot_have_it():
    """24564 MiB less 811 MiB and the context of a card that nobody measured."""
    made = machine("RTX 4090", "windows")
    assert made.usable.total_bytes == (24564 - 811) * MIB
    assert made.low_bytes == made.usable.bytes + 811 * MIB - round(24564 * MIB * 0.15)


def test_apples_limit_is_the_table_of_its_memory():
    made = machine("Apple M4 Max (40-core GPU)", "macos", memory_gib=64)
    assert made.usable.total_bytes == 53084 * MIB and made.low_bytes == 49152 * MIB - GIB
    assert machine("Apple M3 Ultra", "macos", memory_gib=256).usable is None  # reported without its unit


def test_a_slice_is_part_of_its_card():
    rows = table("mig.csv")
    assert {"A100 SXM4 80GB", "H100 SXM5 80GB", "H200 SXM 141GB", "A30"} <= {row["gpu"] for row in rows}
    for row in rows:
        assert (
            machine(row["gpu"], mig=row["profile"]).usable.total_bytes
            == int(float(row["gib"]) * GIB)
            <= find_gpu(row["gpu"]).memory_gib * GIB
        )
    named, asked = machine("A100 SXM4 80GB MIG 3g.40gb"), machine("A100 SXM4 80GB", mig="3g.40gb")
    assert named == asked and named.usable.total_bytes == int(39.25 * GIB)
    made = estimate(RECIPE, "A100 SXM4 80GB MIG 1g.10gb")
    assert made.gpu == "A100 SXM4 80GB MIG 1g.10gb" and made.usable_bytes < 9.5 * GIB


def test_the_same_step_fits_or_not_by_the_system():
    """A recipe that needs nearly the whole card."""
    recipe = RECIPE.replace(max_length=8192, per_device_train_batch_size=4)
    alone = estimate(recipe, "RTX 4090")
    tight = estimate(recipe, "RTX 4090", system="windows-desktop")
    assert alone.peak_allocated_bytes == tight.peak_allocated_bytes and alone.headroom_bytes > tight.headroom_bytes
    assert tight.usable_low_bytes < tight.usable_bytes < tight.usable_high_bytes
    assert [note.code for note in tight.warnings].count("gpu.spills") == 1
    assert tight.to_dict()["usable_source"].startswith("memory the driver shows; WDDM")


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "qlora"},
        {"method": "lora", "attn_implementation": "flash_attention_2"},
        {"method": "lora", "optim": "adamw_bnb_8bit"},
    ],
)
def test_apple_has_no_kernels_for_some_recipes(fields):
    with pytest.raises(Problem) as caught:
        estimate(RECIPE.replace(**fields), "Apple M4", system="macos")
    assert caught.value.code == "machine.unsupported" and caught.value.params["device"] == "mps"
    assert "gpu.not_cuda" in [note.code for note in estimate(LORA, "Apple M4", system="macos").warnings]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--gpu", "RTX 4090", "--system", "dos"],
            "system: dos is not one of the choices. Allowed: linux, linux-desktop",
        ),
        (["--gpu", "RTX 4090", "--system", "macos"], "system: macos (GeForce RTX 4090)"),
        (["--gpu", "RTX 4090", "--mig", "3g.40gb"], "mig: 3g.40gb (GeForce RTX 4090)"),
        (["--gpu", "A30", "--mig", "9g.9gb"], "Allowed: 1g.6gb, 2g.12gb, 4g.24gb"),
        (["--gpu", "RTX 4090", "--gpu-memory", "48"], "gpu_memory: 48 is not one of the choices. Allowed: 24"),
        (["--gpu", "Apple M4 Pro", "--gpu-memory", "lots"], "gpu_memory: lots is not a number of GiB"),
        (["--mig", "3g.40gb"], "gpu: a value is needed"),
        (["--gpu", "Apple M4", "--system", "macos"], "method: qlora does not run on this machine (mps)"),
    ],
)
def test_bad_input_is_one_line(words, said, capsys):
    assert main(["estimate", "--model", RECIPE.model, *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


def test_the_command_says_what_there_is_to_use(capsys):
    words = [
        "--model",
        RECIPE.model,
        "--gpu",
        "Apple M4 Max (40-core GPU)",
        "--gpu-memory",
        "64",
        "--system",
        "macos",
        "--method",
        "lora",
    ]
    assert main(["estimate", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["usable_bytes"] == 53084 * MIB - GIB and told["system"] == "macos" and "Metal" in told["usable_source"]
