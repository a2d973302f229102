"""Runs that cannot go on say so, in words to act on, and leave nothing half-written."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

from estimator.problems import Problem
from studio import paths
from studio.runs.folder import RunFolder, RunInfo
from studio.runs.journal import Journal, Reader
from studio.runs.process import Handle
from studio.runs.supervisor import Supervisor, clean_name
from studio.workers.client import worker_environment
from tests.studio.chat_models import make_base
from tests.studio.run_helpers import ended, make_dataset, small_recipe, until


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base") / "tiny")


def prepared(recipe, dataset) -> RunFolder:
    """A run folder as `start` makes it, without a worker."""
    run = RunFolder(paths.runs() / "run")
    run.path.mkdir()
    run.write_start(RunInfo(run.id, "run", 0.0, dataset.id, dataset.name, dataset.fingerprint), recipe)
    for name in ("train.jsonl", "eval.jsonl"):
        (run.path / name).write_text((dataset.folder / name).read_text())
    return run


def test_a_full_disk_is_said_and_leaves_no_half_checkpoint(base, tmp_path):
    run = prepared(small_recipe(base, r=64), make_dataset(tmp_path / "data"))
    most_bytes = 150_000  # below the checkpoint's optimizer states: the operating system refuses the write
    done = subprocess.run(
        [sys.executable, "-m", "studio.workers.train", str(run.path)],
        env=worker_environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
        capture_output=True,
        text=True,
    )
    course = Reader(run.path).course()
    assert done.returncode == 1 and course.ended == "failed"
    assert course.problem["code"] == "storage.full", course.problem
    assert course.step >= 1, "the curve up to there is kept"
    assert not run.complete_checkpoints() and run.result is None


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"max_length": 8}, "run.no_rows", "max_length"),
        ({"model": "/nowhere/at/all"}, "base.missing", "model"),
        ({"mixed_precision": "fp16"}, "machine.unsupported", "mixed_precision"),
    ],
)
def test_what_stops_a_run_is_named(base, tmp_path, change, code, field):
    runs = Supervisor(paths.runs())
    view = runs.start(small_recipe(base, **change), make_dataset(tmp_path / "data"))
    view = until(runs, view.id, ended)
    assert view.status == "failed" and view.course.problem["code"] == code
    assert Problem.from_dict(view.course.problem).field == field
    assert view.resumable and not view.has_result


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    broken = make_base(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    runs = Supervisor(paths.runs())
    view = until(runs, runs.start(small_recipe(broken), make_dataset(tmp_path / "data")).id, ended)
    assert view.status == "failed" and view.course.problem["code"] == "run.diverged"
    assert view.course.metrics[-1]["loss"] is None


def test_one_run_at_a_time_and_no_deleting_under_a_worker(base, tmp_path):
    runs, dataset = Supervisor(paths.runs()), make_dataset(tmp_path / "data")
    view = runs.start(small_recipe(base), dataset)
    with pytest.raises(Problem, match="at work"):
        runs.start(small_recipe(base), dataset)
    with pytest.raises(Problem, match="Stop it before"):
        runs.delete(view.id)
    runs.stop(view.id)
    until(runs, view.id, ended)


def made_by_hand(id: str, base, tmp_path, *lines) -> RunFolder:
    run = RunFolder(paths.runs() / id)
    run.path.mkdir()
    run.write_start(RunInfo(id, f"run {id}", 1.0, "d", "data", "f"), small_recipe(base))
    journal = Journal(run.path)
    for kind, values in lines:
        journal.write(kind, **values)
    return run


def test_a_pid_given_to_another_program_is_not_the_worker(base, tmp_path):
    run = made_by_hand("old", base, tmp_path, ("started", {"pid": 1, "resume_from": None}), ("phase", {"name": "training"}))
    Handle(pid=1, start_ticks=12345).write(run.path)
    assert not Handle.read(run.path).alive
    assert Supervisor(paths.runs()).get("old").status == "interrupted"


def test_deleted_and_restored(base, tmp_path):
    made_by_hand("one", base, tmp_path, ("started", {"pid": 1, "resume_from": None}), ("ended", {"status": "finished"}))
    runs = Supervisor(paths.runs())
    before = runs.get("one")
    runs.delete("one")
    assert runs.list() == []
    with pytest.raises(Problem, match="no run one"):
        runs.get("one")
    assert runs.restore("one").course == before.course


@pytest.mark.parametrize("id", ["../one", "", "..", "/etc"])
def test_no_id_leaves_the_folder_of_runs(id):
    with pytest.raises(Problem):
        Supervisor(paths.runs()).get(id)


def test_a_folder_that_is_no_run_is_passed_over(base, tmp_path):
    (paths.runs() / "junk").mkdir()
    (paths.runs() / ".half").mkdir()
    assert Supervisor(paths.runs()).list() == []


def test_names_are_one_printable_line():
    assert clean_name("a\nb\x00\t<b>" + "x" * 200) == ("a b <b>" + "x" * 200)[:80]


def test_rows_survive_the_deletion_of_their_dataset(base, tmp_path):
    dataset = make_dataset(tmp_path / "data")
    run = prepared(small_recipe(base), dataset)
    for file in dataset.folder.iterdir():
        file.unlink()
    assert len([json.loads(line) for line in run.train_file.read_text().splitlines()]) == 40
