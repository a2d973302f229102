"""Encoded rows are made once and read again; what is read is what would be made, whatever happened to the files."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path

import pytest

from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS, Recipe
from studio.datasets.store import DatasetStore
from studio.rendering import kept, rendering
from studio.rendering.templates import Kept
from studio.space import Space
from tests.studio.dataset_helpers import CHATML, base_folder, chat

RECIPE = Recipe(model="test", max_length=48)
ROWS = [chat(f"Question {i}?", "word " * (3 * i)) for i in range(12)] + [{"text": "A plain text."}, chat("No answer?")]
ROWS += [{"prompt": [], "chosen": "Good text.", "rejected": "Bad."}, {"source": "a", "target": "b"}]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return base_folder(str(tmp_path_factory.mktemp("kept") / "base"), CHATML)


@pytest.fixture
def tokenizer(base):
    return rendering.load_tokenizer(base)


@pytest.fixture
def space(home) -> Space:
    return Space.default()


@pytest.fixture
def info(space):
    return DatasetStore(space.datasets, space.trash).add("x", ROWS, eval_share=0.3)


@pytest.fixture
def made(monkeypatch):
    """How often rows were encoded."""
    calls = []

    def encode_rows(rows, *args, **kwargs):
        calls.append(len(rows))
        return rendering.encode_rows(rows, *args, **kwargs)

    monkeypatch.setattr(kept, "encode_rows", encode_rows)
    return calls


def rows_of(space, info, tokenizer, recipe=RECIPE, split="train", **more):
    found = kept.Encodings(space.datasets, space.cache)
    return found.rows(info.rows(split), info.id, info.fingerprint, tokenizer, recipe, **more)


def same(found, expected):
    (rows, report), (fresh, fresh_report) = found, expected
    assert rows.column_names == fresh.column_names and rows[:] == fresh[:] and report == fresh_report


@pytest.mark.parametrize("strategy", ["drop", "truncate", "split"])
@pytest.mark.parametrize("answers", [True, False])
def test_what_is_kept_is_what_is_made(space, info, base, strategy, answers, made):
    recipe = RECIPE.replace(excess_length_strategy=strategy, assistant_only_loss=answers)
    for split in ("train", "eval", "test"):
        for _ in range(2):  # a tokenizer loaded anew, as another process would
            tokenizer = rendering.load_tokenizer(base)
            expected = rendering.encode_rows(info.rows(split), tokenizer, recipe)
            same(rows_of(space, info, tokenizer, recipe, split), expected)
    assert len(made) == 3


def test_whatever_changes_a_token_or_a_label_makes_another_one(space, info, base, tokenizer, made, monkeypatch):
    rows_of(space, info, tokenizer)
    for name, value in (("max_length", 64), ("excess_length_strategy", "split"), ("assistant_only_loss", False)):
        rows_of(space, info, tokenizer, RECIPE.replace(**{name: value}))
    rows_of(space, info, tokenizer, split="eval")
    rows_of(space, info, rendering.load_tokenizer(base))
    assert len(made) == 5
    templated = rendering.load_tokenizer(base)
    templated.chat_template += "{{ '' }}"
    rows_of(space, info, templated)
    grown = rendering.load_tokenizer(base)
    grown.add_tokens(["Question"])
    rows_of(space, info, grown)
    monkeypatch.setattr(kept, "_code", lambda: "another day's")
    rows_of(space, info, tokenizer)
    assert len(made) == 8


def test_no_other_field_of_a_recipe_decides_what_is_trained(info, tokenizer):
    """Each field that encoding asks for is in the key."""
    asked = set()

    class Watched:
        def __getattr__(self, name):
            asked.add(name)
            return getattr(RECIPE, name)

        def replace(self, **values):
            return RECIPE.replace(**values)

    rendering.encode_rows(info.rows("train"), tokenizer, Watched())
    assert asked & set(FIELDS) <= set(kept.DECIDE) and set(kept.DECIDE) <= set(FIELDS)


def test_a_template_that_writes_the_date_is_read_on_its_day(space, info, base, tmp_path, made):
    dated = "{{ strftime_now('%d %b %Y') }}" + CHATML
    folder = base_folder(str(tmp_path / "dated"), dated)
    days = [Kept(datetime(2026, 3, day)) for day in (1, 2)]
    for day in (days[0], days[0], days[1], days[1]):
        tokenizer = rendering.load_tokenizer(folder, kept=day)
        rows, report = rows_of(space, info, tokenizer)
        assert report["dates"] == rendering.dates(tokenizer) == [day.moment.strftime("%d %b %Y")]
        assert day.moment.strftime("%d %b %Y") in tokenizer.decode(rows[0]["input_ids"])
    assert len(made) == 2


def broken_sum(place):
    file = place / kept.ROWS_FILE
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


BREAKS = {
    "half a file": lambda place: (place / kept.ROWS_FILE).write_bytes((place / kept.ROWS_FILE).read_bytes()[:-40]),
    "no file": lambda place: (place / kept.ROWS_FILE).unlink(),
    "another bit": broken_sum,
    "no report": lambda place: (place / kept.REPORT_FILE).unlink(),
    "half a report": lambda place: (place / kept.REPORT_FILE).write_text('{"format": 1, "size'),
    "a report of nothing": lambda place: (place / kept.REPORT_FILE).write_text("[]"),
    "another format": lambda place: (place / kept.REPORT_FILE).write_text('{"format": 99}'),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_made_anew(space, info, tokenizer, made, name):
    expected = rows_of(space, info, tokenizer)
    values, report = expected[0][:], expected[1]
    (place,) = kept.Encodings(space.datasets, space.cache).all()
    del expected
    BREAKS[name](place)
    for _ in range(2):
        rows, again = rows_of(space, info, tokenizer)
        assert (rows[:], again) == (values, report)
    assert len(made) == 2 and [path.name for path in place.parent.iterdir()] == [place.name]


def test_a_cancelled_encoding_leaves_nothing(space, info, tokenizer):
    asked = iter([False, False, True])
    with pytest.raises(Problem, match="cancelled"):
        rows_of(space, info, tokenizer, cancelled=lambda: next(asked))
    assert list((info.folder / kept.FOLDER).iterdir()) == []


def test_two_at_once_end_with_one(space, info, base):
    found = {}

    def encode(name):
        found[name] = rows_of(space, info, rendering.load_tokenizer(base))

    threads = [threading.Thread(target=encode, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({str(rows[:]) for rows, _ in found.values()}) == 1
    assert len(list((info.folder / kept.FOLDER).iterdir())) == 1


def test_a_deleted_dataset_takes_them_along(space, info, tokenizer, made):
    store = DatasetStore(space.datasets, space.trash)
    rows_of(space, info, tokenizer)
    (place,) = kept.Encodings(space.datasets, space.cache).all()
    size = sum(file.stat().st_size for file in place.iterdir())
    store.delete(info.id)
    assert kept.Encodings(space.datasets, space.cache).all() == [] and store.trash_bytes() > size
    restored = store.restore(info.id)
    rows_of(space, restored, tokenizer)
    assert len(made) == 1
    store.delete(info.id)
    store.empty_trash()
    assert not list(space.root.rglob(kept.REPORT_FILE))


def test_a_run_whose_dataset_is_gone_has_its_own_in_the_cache(space, info, tokenizer, tmp_path, made):
    from studio.datasets.rows import Rows, row_files
    from studio.jobs.folder import link_or_copy

    run = tmp_path / "run"
    run.mkdir()
    for name in row_files(info.folder):
        link_or_copy(info.folder / name, run / name)
    DatasetStore(space.datasets, space.trash).delete(info.id)
    encodings, rows = kept.Encodings(space.datasets, space.cache), Rows(run, "train")
    for _ in range(2):
        found = encodings.rows(rows, info.id, info.fingerprint, tokenizer, RECIPE)
        assert len(found[0]) == found[1]["examples"] > 0
    assert len(made) == 1 and [path.parent for path in encodings.all()] == [space.cache / kept.FOLDER]


def test_the_longest_unused_goes_where_there_are_too_many(space, info, tokenizer, made, monkeypatch):
    rows_of(space, info, tokenizer)
    monkeypatch.setattr(kept, "MOST_BYTES", 1)
    rows_of(space, info, tokenizer, RECIPE.replace(max_length=64))
    assert len(kept.Encodings(space.datasets, space.cache).all()) == 1
    rows_of(space, info, tokenizer, RECIPE.replace(max_length=64))
    assert len(made) == 2


def test_where_nothing_can_be_written_rows_are_encoded_all_the_same(space, info, tokenizer):
    (info.folder / kept.FOLDER).write_text("in the way")
    same(rows_of(space, info, tokenizer), rendering.encode_rows(info.rows("train"), tokenizer, RECIPE))


def test_it_is_told_how_far_it_is_and_how_long_it_takes(space, info, tokenizer, monkeypatch):
    monkeypatch.setattr(rendering, "TELL_SECONDS", 0)
    told = []
    rows_of(space, info, tokenizer, tell=told.append)
    assert [event["done"] for event in told] == list(range(1, len(info.rows("train")) + 1))
    assert told[0]["seconds_left"] > 0 == told[-1]["seconds_left"]
