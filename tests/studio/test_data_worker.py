"""The data worker as the page uses it: a process that reads files in bounded memory and shows what the collator
trains."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.datasets.store import DatasetStore, as_json
from studio.protocol.client import Worker
from studio.rendering import preview, rendering
from studio.space import Space
from studio.workers import data
from tests.studio.dataset_helpers import CHATML, base_folder, chat
from tests.warm import cold_starts

# Above what the worker holds after its first file: the buffers of one row and one batch, not the file.
GROWTH_LIMIT_BYTES = 16 * 1024**2
BIG_FILE_BYTES = 25_000_000


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = base_folder(str(tmp_path_factory.getbasetemp() / "data-worker-base"), CHATML)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return str(folder)


@pytest.fixture(scope="module")
def worker_home(tmp_path_factory):
    return tmp_path_factory.mktemp("worker-home")


@pytest.fixture(scope="module")
def process(worker_home):
    """One worker for all tests of this module: it takes seconds to start."""
    before = os.environ.get("LORA_STUDIO_HOME")
    os.environ["LORA_STUDIO_HOME"] = str(worker_home)
    worker = Worker("data", "studio.workers.data", Space.default())
    with cold_starts():  # its memory is looked at
        worker.start()
    yield worker
    worker.stop()
    os.environ.pop("LORA_STUDIO_HOME") if before is None else os.environ.update(LORA_STUDIO_HOME=before)


@pytest.fixture
def worker(process, worker_home, monkeypatch):
    monkeypatch.setenv("LORA_STUDIO_HOME", str(worker_home))
    return process


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def alpaca(count, words=5):
    return [{"instruction": f"Question {i}?", "output": "word " * words + str(i)} for i in range(count)]


def test_ingest_then_preview(worker, base, tmp_path):
    file = write(tmp_path / "rows.jsonl", [*alpaca(30), {"instruction": "x"}])
    info = worker.call("ingest", path=str(file), name="rows.jsonl", eval_share=0.2, model=base, max_length=256)
    assert (info["kept"], info["dropped"], info["eval_rows"]) == (30, 1, 6)
    stored = DatasetStore(Space.default().datasets).get(info["id"])
    assert as_json(stored) == info
    seen = worker.call("preview", dataset_id=info["id"], model=base, max_length=256, offset=22, count=5)
    assert [row["split"] for row in seen["rows"]] == ["train", "train", "eval", "eval", "eval"]
    assert (seen["total"], seen["kept"], seen["dropped"], seen["measured"]) == (30, 30, 0, 30)
    assert sum(seen["lengths"]["counts"]) == 30


def test_rows_are_stored_whatever_their_length_and_what_is_too_long_is_counted_three_ways(worker, base, tmp_path):
    file = write(tmp_path / "long.jsonl", [*alpaca(5, words=60), *alpaca(15)])
    info = worker.call("ingest", path=str(file), name="long.jsonl", eval_share=0)
    assert info["kept"] == 20
    asked = {"dataset_id": info["id"], "model": base, "max_length": 64, "count": 20}
    drop = worker.call("preview", **asked)
    assert (drop["kept"], drop["reasons"], drop["excess"]["rows"]) == (15, {"too_long": 5}, 5)
    cut = worker.call("preview", **asked, excess_length_strategy="truncate")
    split = worker.call("preview", **asked, excess_length_strategy="split")
    assert (cut["kept"], cut["examples"], split["kept"]) == (20, 20, 20) and split["examples"] > 25
    assert drop["tokens"] < cut["tokens"] < split["tokens"] == drop["excess"]["of_tokens"]
    assert sum(drop["lengths"]["over"]) == 5
    for seen in (drop, cut, split):
        chosen = seen["excess"]["choices"][seen["excess"]["strategy"]]
        assert chosen["examples"] == seen["examples"] - 15
        assert sum(row["trained"] for row in seen["rows"]) == seen["trained_tokens"]
    long = drop["rows"][0]
    assert long["trained"] == 0 and not any(trained for _, trained, _ in long["pieces"]) and long["dropped"]
    assert split["rows"][0]["parts"] and not split["rows"][0]["dropped"]


def test_without_a_tokenizer_rows_are_counted_in_characters(worker, tmp_path):
    file = write(tmp_path / "rows.jsonl", [*alpaca(9), {"instruction": "a", "output": "b" * 9_000}])
    info = worker.call("ingest", path=str(file), name="rows.jsonl", eval_share=0.2)
    seen = worker.call("characters", dataset_id=info["id"], offset=6, count=4)
    assert [row["split"] for row in seen["rows"]] == ["train", "train", "eval", "eval"]
    whole = worker.call("characters", dataset_id=info["id"], count=10)
    longest = next(row for row in whole["rows"] if row["row"] == 10)
    assert longest["characters"] == seen["lengths"]["longest"] > 9_000 > len(longest["text"]) > 1_000
    assert sum(seen["lengths"]["counts"]) == 10


def test_measuring_tells_how_far_it_is(home, base, monkeypatch):
    monkeypatch.setattr(preview, "TELL_SECONDS", 0)
    info = DatasetStore(Space.default().datasets).add(
        "x", [{"messages": chat("q", f"a {i}")["messages"]} for i in range(30)]
    )
    told = []
    preview.measure(info, rendering.load_tokenizer(Path(base)), Recipe(model=base), tell=told.append)
    assert [event["done"] for event in told] == list(range(30)) and {event["of"] for event in told} == {30}


def test_a_bad_file_is_the_workers_problem_and_the_worker_goes_on(worker, tmp_path):
    file = tmp_path / "broken.jsonl"
    file.write_text('{"text": \n{"text": \n')
    with pytest.raises(Problem) as caught:
        worker.call("ingest", path=str(file), name="broken.jsonl")
    assert caught.value.code.startswith("dataset.") and "broken.jsonl" in str(caught.value)
    assert worker.call("ingest", path=str(write(file, alpaca(3))), name="ok.jsonl")["kept"] == 3


def test_a_base_that_is_not_there_fails_the_preview_and_not_the_upload(worker, tmp_path):
    file = write(tmp_path / "rows.jsonl", alpaca(3))
    info = worker.call("ingest", path=str(file), name="rows.jsonl", model=str(tmp_path), max_length=64)
    with pytest.raises(Problem) as caught:
        worker.call("preview", dataset_id=info["id"], model=str(tmp_path), max_length=64)
    assert caught.value.code.startswith("base.")
    with pytest.raises(Problem) as caught:
        worker.call("preview", dataset_id=info["id"], model=str(tmp_path), max_length=1)
    assert caught.value.code == "recipe.range" and caught.value.field == "max_length"
    with pytest.raises(Problem) as caught:
        worker.call("preview", dataset_id="../x", model=str(tmp_path), max_length=64)
    assert caught.value.code == "dataset.gone"


@pytest.mark.parametrize("format", ["jsonl", "json", "csv"])
def test_a_big_file_is_read_in_bounded_memory(worker, tmp_path, format):
    """The growth of the worker's resident memory stays far below the size of the file."""
    small = write(tmp_path / "warm.jsonl", alpaca(2_000))
    worker.call("ingest", path=str(small), name="warm.jsonl")
    row = {"instruction": "Tell me a story, a long one. " * 20, "output": "Once upon a time in a far land. " * 40}
    count = BIG_FILE_BYTES // len(json.dumps(row))
    file = tmp_path / f"big.{format}"
    with file.open("w") as big:
        if format == "csv":
            big.write("instruction,output\n" + '"{instruction}","{output}"\n'.format(**row) * count)
        else:
            start, between, end = ("[", ",", "]") if format == "json" else ("", "\n", "\n")
            big.write(start + between.join([json.dumps(row)] * count) + end)
    process, before = psutil.Process(worker.pid), psutil.Process(worker.pid).memory_info().rss
    peak, events = before, 0
    stream = worker.stream("ingest", path=str(file), name=file.name)
    try:
        while True:
            event = next(stream)
            assert 0 <= event["read"] <= 1 and event["phase"] in ("reading", "storing", "syncing")
            events, peak = events + 1, max(peak, process.memory_info().rss)
    except StopIteration as stop:
        assert stop.value["kept"] == count
    assert events >= 2
    assert peak - before < GROWTH_LIMIT_BYTES < file.stat().st_size


def test_a_killed_worker_leaves_nothing_half_written(worker_home, tmp_path, monkeypatch):
    monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path / "killed"))
    Space.default().prepare()
    file = write(tmp_path / "rows.jsonl", alpaca(120_000, words=30))
    worker = Worker("killed", "studio.workers.read", Space.default())
    stream = worker.stream("ingest", path=str(file), name="rows.jsonl")
    next(stream)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(Problem) as caught:
        for _ in stream:
            pass
    assert caught.value.code == "worker.gone"
    assert DatasetStore(Space.default().datasets).list() == []
    assert worker.call("ingest", path=str(write(file, alpaca(4))), name="rows.jsonl")["kept"] == 4
    worker.stop()


def test_closing_the_stream_cancels_the_reading(tmp_path, home):
    file = write(tmp_path / "rows.jsonl", alpaca(120_000, words=30))
    worker = Worker("cancelled", "studio.workers.read", Space.default())
    stream = worker.stream("ingest", path=str(file), name="rows.jsonl")
    next(stream)
    stream.close()
    assert worker.call("ingest", path=str(write(tmp_path / "b.jsonl", alpaca(2))), name="b.jsonl")["kept"] == 2
    deadline = time.monotonic() + 5
    while len(list(Space.default().datasets.iterdir())) != 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [info.kept for info in DatasetStore(Space.default().datasets).list()] == [2]
    worker.stop()


def test_the_mask_shown_is_the_collators_labels(home, base):
    """Each piece's tint against the labels of the batch that the trainer would get, token by token."""
    rows = [
        chat("What is the name?", "It is called Arlen. 🏙️\n\nYes."),
        chat("你好吗？", "很好。", "Again?", "Yes."),
        {"text": "row text"},
    ]
    info = DatasetStore(Space.default().datasets).add(
        "x", [{k: v for k, v in row.items() if k != "row"} for row in rows], eval_share=0
    )
    recipe = Recipe(model=base, max_length=256)
    tokenizer = rendering.load_tokenizer(Path(base))
    seen = data.preview({"dataset_id": info.id, "model": base, "max_length": 256, "count": 3}, None)
    encoded = [rendering.encode_row(tokenizer, row, recipe) for row in rows]
    batch = rendering.collator(tokenizer)([{"input_ids": e.input_ids, "labels": e.labels} for e in encoded])
    for shown, one, labels in zip(seen["rows"], encoded, batch["labels"].tolist()):
        assert "".join(text for text, _, _ in shown["pieces"]) == one.text == tokenizer.decode(one.input_ids)
        trained = "".join(text for text, on, _ in shown["pieces"] if on)
        assert trained == tokenizer.decode([label for label in labels if label != -100])
        assert shown["trained"] == sum(label != -100 for label in labels)
    assert [text for text, _, special in seen["rows"][0]["pieces"] if special] == ["<|im_start|>", "<|im_end|>"] * 2


def test_a_large_dataset_is_measured_on_a_stated_sample(home, base, monkeypatch):
    monkeypatch.setattr(preview, "MEASURED_ROWS", 10)
    info = DatasetStore(Space.default().datasets).add(
        "x", [{"messages": chat(f"q{i}", "a " * i)["messages"]} for i in range(1, 41)]
    )
    tokenizer = rendering.load_tokenizer(Path(base))
    measured = preview.measure(info, tokenizer, Recipe(model=base, max_length=1_000_000))
    assert measured.of == 40 and 10 <= len(measured.rows) <= 11
    assert set(measured.rows.tolist()) <= set(range(1, 41))


def test_moving_the_limit_recounts_without_measuring_again(home, base, monkeypatch):
    info = DatasetStore(Space.default().datasets).add(
        "x", [{"messages": chat("q", "a " * i)["messages"]} for i in range(1, 41)]
    )
    asked = {"dataset_id": info.id, "model": base, "count": 1}
    all_fit = data.preview({**asked, "max_length": 256}, None)
    monkeypatch.setattr(preview, "measure", None)
    few_fit = data.preview({**asked, "max_length": 30}, None)
    assert all_fit["kept"] == 40 and few_fit["kept"] + few_fit["dropped"] == 40
    assert few_fit["reasons"] == {"too_long": few_fit["dropped"]} and few_fit["dropped"] > 0
    assert all(row["params"]["length"] > 30 for row in few_fit["first_dropped"])


def test_rows_are_cleaned_by_their_length_in_tokens(worker, worker_home, base):
    store = DatasetStore(worker_home / "datasets")
    rows = [chat("How long is it?", "It is long. " * 40), chat("And this one?", "That one is short.")]
    info = store.add("long", rows, eval_share=0.0)
    asked = {"dataset_id": info.id, "model": base, "max_length": 100}
    report = worker.call("look_by_tokens", **asked)
    length = report["steps"][-1]
    assert (length["step"], length["touched"], length["samples"][0]["params"]["limit"]) == ("too_long", 1, 100)
    made = worker.call("clean_by_tokens", steps=[{"step": "too_long", "action": "drop"}], **asked)
    assert (made["parent"], made["kept"], made["reasons"]) == (info.id, 1, {"too_long": 1})


def test_rows_are_found_by_what_the_base_makes_of_them_and_removed(home, base):
    """Each problem's rows are those whose page says so, wherever they stand and whatever split they are in."""
    store = DatasetStore(Space.default().datasets, Space.default().trash)
    turns = [("Hi", "Arlen. " * (40 if n % 4 == 0 else 2)) for n in range(20)]
    info = store.add("rows", [{**chat(*one), "row": n + 1} for n, one in enumerate(turns)], eval_share=0.3, seed=2)
    asked = {"dataset_id": info.id, "model": base, "max_length": 64, "offset": 0, "count": 50}
    everything = data.preview(asked, None)["rows"]
    assert {row["place"] for row in everything} == set(range(20))
    long = [row["row"] for row in everything if row["dropped"]]
    seen = data.preview({**asked, "find": {"problem": "too_long"}}, None)
    assert [row["row"] for row in seen["rows"]] == long and seen["total"] == len(long) == 5 and seen["found"]
    page = data.preview({**asked, "find": {"problem": "left_out"}, "offset": 3, "count": 2}, None)
    assert [row["row"] for row in page["rows"]] == long[3:5]
    assert data.preview({**asked, "find": {"problem": "cut"}}, None)["rows"] == []
    cut = {**asked, "excess_length_strategy": "truncate", "find": {"problem": "cut", "text": "hi"}}
    assert [row["row"] for row in data.preview(cut, None)["rows"]] == long
    made = data.drop_found({**asked, "find": {"problem": "too_long"}}, None)
    assert made["kept"] == 15 and made["parent"] == info.id
    dropped = data.preview({**asked, "dataset_id": made["id"], "find": {"problem": "dropped"}}, None)
    assert sorted(one["row"] for one in dropped["left_out"]) == sorted(long) and dropped["total"] == 5
