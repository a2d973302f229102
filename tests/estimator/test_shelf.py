"""Shelves: what ships is of today's tracer, what is kept is found by its stamp, a broken file is as good as none."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from estimator import Recipe, estimate
from estimator.law import stamp
from estimator.law.question import Question
from estimator.make.stamp import MADE_BY, PACKAGE, stamp_of
from estimator.model.catalog import load_preset, models
from estimator.shelf import caches, evaluations, laws, replays, shelf, streams

RECIPE = Recipe(model="Qwen/Qwen2.5-0.5B")
MODEL = load_preset(RECIPE.model)
KEY = laws.key_of(Question(RECIPE, MODEL))
SHELVES = {
    made.folder: made for made in (laws.LAWS, evaluations.EVALUATIONS, streams.STREAMS, replays.REPLAYS, caches.CACHES)
}
RECORDS = {
    "laws": laws.read_shipped(models()[MODEL.id].stem)[KEY],
    "evaluations": evaluations.find(Question(RECIPE, MODEL)),
    "streams": "no stream",
    "replays": {"2,1024,16": 123},
    "caches": caches.find(MODEL),
}


def test_the_stamp_is_of_todays_tracer():
    """Another table, another stamp: `python -m estimator.make.stamp` compares what ships with new traces."""
    assert stamp.STAMP == stamp_of()


def test_what_ships_has_the_stamp_of_today():
    stamps = shelf.read_stamps()
    assert set(stamps) == {*shelf.traced_files()} and set(stamps.values()) == {stamp.STAMP}
    assert len(stamps) > 140


@pytest.fixture
def package(tmp_path):
    """A copy of the code that the stamp is of."""
    for pattern in MADE_BY:
        for file in PACKAGE.glob(pattern):
            (tmp_path / file.relative_to(PACKAGE)).parent.mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / file.relative_to(PACKAGE))
    return tmp_path


CHANGES = {
    "a row of the kernel table": ("trace/kernels.py", '    "bitsandbytes::gemm_4bit": _gemm_4bit,\n', ""),
    "a temporary": ("trace/kernels.py", "return Hidden((_bytes(args[0]),))", "return Hidden((2 * _bytes(args[0]),))"),
    "what a loop raises to fp32": (
        "recipe/loop.py",
        'upcasts="all", keeps_outputs=True',
        'upcasts="none", keeps_outputs=True',
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_table_changes_the_stamp(package, name):
    path, before, after = CHANGES[name]
    text = (package / path).read_text()
    assert before in text
    (package / path).write_text(text.replace(before, after))
    assert stamp_of(package) != stamp.STAMP


def test_a_comment_or_a_line_broken_otherwise_does_not(package):
    file = package / "trace" / "kernels.py"
    file.write_text(
        '"""Other words."""\n# a comment\n'
        + file.read_text().replace("Hidden((_bytes(args[0]),))", "Hidden(\n        (_bytes(args[0]),)\n    )")
    )
    assert stamp_of(package) == stamp.STAMP


def test_shipped_and_kept_records_of_another_tracer_are_not_read(monkeypatch, tmp_path):
    for name, made in SHELVES.items():
        made.keep(RECORDS[name], MODEL, "mine", tmp_path)
        assert made.kept(MODEL, "mine", tmp_path) == RECORDS[name], name
    assert estimate(RECIPE).engine == "traced"
    monkeypatch.setattr(stamp, "STAMP", "another")
    for cached in (laws.shipped, evaluations._at_hand, evaluations._shipped_law, caches._at_hand):
        cached.cache_clear()
    try:
        assert not any(made.kept(MODEL, "mine", tmp_path) for made in SHELVES.values())
        assert estimate(RECIPE).engine == "analytic" and caches.find(MODEL) is None
    finally:
        monkeypatch.undo()
        for cached in (laws.shipped, evaluations._at_hand, evaluations._shipped_law, caches._at_hand):
            cached.cache_clear()


@pytest.mark.parametrize("name", SHELVES)
@pytest.mark.parametrize(
    "broken",
    ["", "{", "[1]", "null", "7", '{"a": {}}', '[{"layers": "x"}]', "[" * 100_000, "\udc00"],
    ids=lambda text: text[:9],
)
def test_a_broken_file_counts_as_none_and_is_written_again(tmp_path, name, broken):
    made, record = SHELVES[name], RECORDS[name]
    made.keep(record, MODEL, "mine", tmp_path)
    path = made.path(MODEL, "mine", tmp_path)
    path.write_bytes(broken.encode("utf-8", "surrogatepass"))
    assert not made.kept(MODEL, "mine", tmp_path)
    made.keep(record, MODEL, "mine", tmp_path)
    assert made.kept(MODEL, "mine", tmp_path) == record
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_shelf_keeps_its_newest_and_a_huge_file_is_none(tmp_path, monkeypatch):
    small = replace(replays.REPLAYS, most_files=3)
    for number in range(6):
        small.keep({"1": number}, MODEL, number, tmp_path)
    assert len(list((tmp_path / "replays").iterdir())) == 3 and small.kept(MODEL, 5, tmp_path) == {"1": 5}
    monkeypatch.setattr(shelf, "LARGEST_BYTES", 3)
    small.keep({"1": 12345}, MODEL, 5, tmp_path)
    assert small.kept(MODEL, 5, tmp_path) is None


def test_a_model_without_a_config_has_nothing_on_a_shelf(tmp_path):
    nameless = replace(MODEL, config=None)
    replays.REPLAYS.keep({"1": 1}, nameless, KEY, tmp_path)
    assert replays.REPLAYS.kept(nameless, KEY, tmp_path) is None and not (tmp_path / "replays").exists()
