"""Runs that cannot go on say so, in words to act on, and leave nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

from estimator.core.problems import Problem
from studio.datasets.rows import row_files
from studio.jobs.folder import RunFolder, RunInfo
from studio.jobs.journal import RESERVE_NAME, Journal, Reader
from studio.jobs.process import Handle
from studio.jobs.supervisor import Supervisor
from studio.jobs.train import TrainJob, clean_name
from studio.protocol.client import worker_environment
from studio.space import Space
from tests.studio.chat_models import make_base
from tests.studio.run_helpers import ended, make_dataset, small_recipe, until


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base") / "tiny")


def prepared(recipe, dataset) -> RunFolder:
    """A run folder as `start` makes it, without a worker."""
    run = RunFolder(Space.default().runs / "run")
    run.path.mkdir()
    run.write_start(RunInfo(run.id, "run", 0.0, dataset.id, dataset.name, dataset.fingerprint), recipe)
    for name in row_files(dataset.folder):
        (run.path / name).write_bytes((dataset.folder / name).read_bytes())
    return run


def test_a_full_disk_is_said_the_last_whole_checkpoint_stays_and_no_half_one(base, tmp_path):
    """After the first checkpoint the operating system refuses every file of the next one's size, and the log another
    byte."""
    run = prepared(small_recipe(base, r=64, save_total_limit=5), make_dataset(tmp_path / "data"))
    most_bytes = 150_000  # below the optimizer's states
    code = f"""
import resource, sys
from studio.jobs import attempt
from studio.training import reporting
from studio.workers import train
def then_full(self, *arguments, **rest):
    saved(self, *arguments, **rest)
    sys.stderr = open("/dev/full", "w")
    resource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes}, {most_bytes}))
saved, reporting.Reporter.on_save = reporting.Reporter.on_save, then_full
sys.exit(attempt.main([{str(run.path)!r}], train.train))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=worker_environment(Space.default()), capture_output=True, text=True
    )
    course = Reader(run.path).course()
    assert done.returncode in (1, 120) and course.ended == "failed", done.stderr[
        -2000:
    ]  # 120: Python could not flush the log either
    assert course.problem["code"] == "storage.full", course.problem
    assert course.step >= 8, "the curve up to there is kept"
    assert (
        [path.name for path in run.complete_checkpoints()]
        == [path.name for path in run.checkpoints.glob("checkpoint-*")]
        == ["checkpoint-4"]
    )
    assert run.result is None and not (run.path / RESERVE_NAME).exists()


def test_a_disk_that_is_really_full_is_said_on_itself(tmp_path):
    """A file system of 1 MB in a namespace of its own, with room for the reserve and for nothing else; the log lies on
    it too."""
    disk, out = tmp_path / "disk", tmp_path / "journal"
    disk.mkdir()
    code = """
import os, sys
from studio.jobs import attempt
def fill(run, journal):
    journal.write("started", pid=os.getpid(), resume_from=None)
    (run.checkpoints / "checkpoint-1").mkdir(parents=True)
    with (run.checkpoints / "checkpoint-1" / "weights").open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), os.urandom(4096))
        except OSError as error:
            raise RuntimeError("what a library makes of it") from error
sys.exit(attempt.main(sys.argv[1:], fill))
"""
    script = f"""
mount -t tmpfs -o size=1m tmpfs {disk} || exit 77
{sys.executable} -c '{code}' {disk} >>{disk}/log.txt 2>&1
echo $? >{out}.rc
cp {disk}/journal.jsonl {disk}/log.txt {tmp_path}
ls -A {disk}/checkpoints >{out}.checkpoints
"""
    done = (
        subprocess.run(
            ["unshare", "-Urm", "sh", "-c", script],
            env=worker_environment(Space.default()),
            capture_output=True,
            text=True,
        )
        if shutil.which("unshare")
        else None
    )
    if done is None or done.returncode in (1, 77) and not (tmp_path / "journal.rc").exists():
        pytest.skip("no file system can be mounted here: " + (done.stderr.strip() if done else "no unshare"))
    course = Reader(tmp_path).course()
    assert (tmp_path / "journal.rc").read_text().strip() == "1" and course.ended == "failed"
    assert course.problem["code"] == "storage.full" and "No space left" in course.problem["params"]["reason"]
    assert (tmp_path / "journal.checkpoints").read_text() == ""
    assert "what a library makes of it" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"max_length": 8}, "run.no_rows", "max_length"),
        ({"model": "/nowhere/at/all"}, "base.missing", "model"),
        ({"mixed_precision": "fp16"}, "machine.unsupported", "mixed_precision"),
    ],
)
def test_what_stops_a_run_is_named(base, tmp_path, change, code, field):
    runs = Supervisor(Space.default())
    view = runs.start(TrainJob(small_recipe(base, **change), make_dataset(tmp_path / "data")))
    view = until(runs, view.id, ended)
    assert view.status == "failed" and view.course.problem["code"] == code
    assert Problem.from_dict(view.course.problem).field == field
    assert view.resumable and not view.has_result


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    broken = make_base(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    runs = Supervisor(Space.default())
    view = until(runs, runs.start(TrainJob(small_recipe(broken), make_dataset(tmp_path / "data"))).id, ended)
    assert view.status == "failed" and view.course.problem["code"] == "run.diverged"
    assert view.course.metrics[-1]["loss"] is None


def test_one_run_at_a_time_and_no_deleting_under_a_worker(base, tmp_path):
    runs, dataset = Supervisor(Space.default()), make_dataset(tmp_path / "data")
    view = runs.start(TrainJob(small_recipe(base), dataset))
    with pytest.raises(Problem, match="at work"):
        runs.start(TrainJob(small_recipe(base), dataset))
    with pytest.raises(Problem, match="Stop it before"):
        runs.delete(view.id)
    runs.stop(view.id)
    until(runs, view.id, ended)


def made_by_hand(id: str, base, tmp_path, *lines) -> RunFolder:
    run = RunFolder(Space.default().runs / id)
    run.path.mkdir()
    run.write_start(RunInfo(id, f"run {id}", 1.0, "d", "data", "f"), small_recipe(base))
    journal = Journal(run.path)
    for kind, values in lines:
        journal.write(kind, **values)
    return run


def test_a_pid_given_to_another_program_is_not_the_worker(base, tmp_path):
    run = made_by_hand(
        "old", base, tmp_path, ("started", {"pid": 1, "resume_from": None}), ("phase", {"name": "training"})
    )
    Handle(pid=1, start_ticks=12345).write(run.path)
    assert not Handle.read(run.path).alive
    assert Supervisor(Space.default()).get("old").status == "interrupted"


def test_deleted_and_restored(base, tmp_path):
    made_by_hand("one", base, tmp_path, ("started", {"pid": 1, "resume_from": None}), ("ended", {"status": "finished"}))
    runs = Supervisor(Space.default())
    before = runs.get("one")
    runs.delete("one")
    assert runs.list() == []
    with pytest.raises(Problem, match="no run one"):
        runs.get("one")
    assert runs.restore("one").course == before.course


@pytest.mark.parametrize("id", ["../one", "", "..", "/etc"])
def test_no_id_leaves_the_folder_of_runs(id):
    with pytest.raises(Problem):
        Supervisor(Space.default()).get(id)


def test_a_folder_that_is_no_run_is_passed_over(base, tmp_path):
    (Space.default().runs / "junk").mkdir()
    (Space.default().runs / ".half").mkdir()
    assert Supervisor(Space.default()).list() == []


def test_names_are_one_printable_line():
    assert clean_name("a\nb\x00\t<b>" + "x" * 200) == ("a b <b>" + "x" * 200)[:80]


def test_rows_survive_the_deletion_of_their_dataset(base, tmp_path):
    dataset = make_dataset(tmp_path / "data")
    run = prepared(small_recipe(base), dataset)
    for file in dataset.folder.iterdir():
        file.unlink()
    assert len(list(run.rows("train"))) == len(run.rows("train")) == 40
