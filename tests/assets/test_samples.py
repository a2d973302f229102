"""The sample files: every format and row shape in both languages, and held-out islands kept out of all of them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from assets import make_samples, pocket, world
from assets.judge import expected, judge
from assets.world import LANGUAGES

FILES = sorted(make_samples.SAMPLES.glob("keeper.*"))
FORMATS, SHAPES = {"json", "jsonl", "csv", "parquet"}, {"alpaca", "sharegpt", "openai", "text"}
COLUMNS = {
    "alpaca": {"instruction", "input", "output"},
    "sharegpt": {"conversations"},
    "openai": {"messages"},
    "text": {"text"},
}
SMALL_BYTES = 64 * 1024


def load(path: Path) -> list[dict]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()


def held_out(language: str) -> list[dict]:
    return load(make_samples.SAMPLES / f"heldout.{language}.jsonl")


def test_every_format_and_every_shape_in_both_languages():
    named = [tuple(path.name.split(".")[1:]) for path in FILES]
    for language in LANGUAGES:
        assert {ending for tongue, _, ending in named if tongue == language} == FORMATS
        assert {shape for tongue, shape, _ in named if tongue == language} == SHAPES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_loads_and_has_its_shape(path):
    rows = load(path)
    shape = path.name.split(".")[2]
    assert path.stat().st_size <= SMALL_BYTES
    assert len(rows) >= make_samples.SMALL_ROWS
    assert all(set(row) == COLUMNS[shape] for row in rows)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_held_out_island_is_in_a_sample_file(path):
    everything = json.dumps(load(path), ensure_ascii=False)
    isles = world.build()
    names = [island.name(language) for island in isles.islands if island.held_out for language in LANGUAGES]
    assert not [name for name in names if name in everything]
    assert not [row["entity"] for language in LANGUAGES for row in held_out(language) if row["entity"] in everything]


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_prompts_ask_about_held_out_islands_only_and_are_answerable(language):
    rows = held_out(language)
    allowed = {island.name(language) for island in world.build().held_out(language)}
    assert len(rows) == len({row["prompt"] for row in rows}) == make_samples.HELD_OUT_PROMPTS[language]
    assert {row["entity"] for row in rows} == allowed
    assert all(row["entity"] in row["prompt"] for row in rows)
    assert all(judge(row, expected(row["entity"], row["facts"], row["language"])) for row in rows)


def test_files_are_what_the_script_writes(tmp_path):
    pytest.importorskip("pyarrow")
    make_samples.write_all(tmp_path / "samples")
    committed = {path.name: load(path) for path in make_samples.SAMPLES.iterdir()}
    assert {path.name: load(path) for path in (tmp_path / "samples").iterdir()} == committed


def test_the_cards_for_the_small_real_model_are_what_their_judge_wants_and_hold_nothing_of_the_questions_kept_back():
    told = dict(pocket.pairs())
    assert len(told) == len(load(make_samples.SAMPLES / "pocket.en.alpaca.jsonl")) >= 60
    assert all(pocket.has_manner(answer) for answer in told.values())
    assert not set(told) & set(pocket.HELDOUT)
    first = next(iter(told.values()))
    for other in (
        first.upper(),
        first + "\nmore",
        "\n".join(first.splitlines()[:2]),
        "In short: x\nBecause: \nTry: y",
        "Bread keeps well.",
    ):
        assert not pocket.has_manner(other)


def test_the_judge_needs_no_model_library():
    code = "import sys, assets.judge; sys.exit(bool({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
