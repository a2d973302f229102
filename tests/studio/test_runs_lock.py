"""A run at work is known as such, and stays the only one: whoever is killed when, whatever the clock says, from any
page."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from estimator.core.problems import Problem
from studio.jobs.journal import FILE_NAME
from studio.jobs.lock import FolderLock, held
from studio.jobs.process import Handle, at_work
from studio.jobs.supervisor import Supervisor
from studio.jobs.train import Train, TrainJob
from studio.protocol.client import worker_environment
from studio.space import Space
from tests.studio import stand_in_worker
from tests.studio.run_helpers import ended, kill, make_dataset, small_recipe, until

SEED = 20261128
KILLS = 8
LATEST_KILL_S = 0.25
"""By then the stand-in's first steps are in the journal."""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows hands no lock over to a child")


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """The real supervisor and the real frame of a worker; only the training body is another. None is left behind."""
    monkeypatch.setattr(Train, "worker", stand_in_worker.__name__)
    yield
    for process in workers(Space.default().runs):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture
def start(tmp_path):
    """Starts a run under a supervisor."""
    dataset, recipe = make_dataset(tmp_path / "data", rows=2), small_recipe(tmp_path / "base")
    return lambda runs=None: (runs or Supervisor(Space.default())).start(TrainJob(recipe, dataset))


def workers(folder) -> list[psutil.Process]:
    """Every process that was told to work on a run in `folder`."""
    found = psutil.process_iter(["cmdline"])
    return [
        p
        for p in found
        if stand_in_worker.__name__ in (p.info["cmdline"] or ()) and str(folder) in " ".join(p.info["cmdline"])
    ]


def in_another_process(body, *arguments) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=body, args=arguments, daemon=True)
    process.start()
    return process


def steps(view) -> list[int]:
    lines = (view.folder / FILE_NAME).read_text().splitlines()
    return [line["step"] for line in map(json.loads, lines) if line["kind"] == "metrics"]


@pytest.mark.parametrize("delay_s", random.Random(SEED).choices([n * LATEST_KILL_S / 50 for n in range(51)], k=KILLS))
def test_a_page_killed_at_any_moment_of_a_start_leaves_no_worker_that_nobody_knows(start, delay_s):
    page = in_another_process(start)
    time.sleep(delay_s)
    page.kill()
    page.join()
    runs = Supervisor(Space.default())
    for view in runs.list():  # none, where the folder was not made yet
        if view.active:
            with pytest.raises(Problem) as refused:
                runs.resume(view.id)
            assert refused.value.code == "run.busy"
        else:
            assert not workers(view.folder)
            view = runs.resume(view.id)
        view = until(runs, view.id, lambda v: v.course.step > 3)
        assert len(workers(view.folder)) == 1 and Handle.read(view.folder).pid == workers(view.folder)[0].pid
        runs.stop(view.id)
        view = until(runs, view.id, ended)
        assert view.status == "stopped" and view.course.attempts == 1
        assert steps(view) == list(range(1, view.course.step + 1)), "one worker wrote, once"


def test_of_pages_that_start_at_once_one_does(start):
    def press(answers) -> None:
        try:
            answers.put(start().id)
        except Problem as problem:
            answers.put(problem.code)

    answers = multiprocessing.get_context("fork").Queue()
    pages = [in_another_process(press, answers) for _ in range(4)]
    said = [answers.get(timeout=60) for _ in pages]
    (view,) = Supervisor(Space.default()).list()
    assert sorted(said) == sorted([view.id, "run.busy", "run.busy", "run.busy"])
    assert view.active


def test_a_second_worker_ends_at_once_says_so_and_touches_nothing(start):
    view = until(Supervisor(Space.default()), start().id, lambda v: v.course.step > 1)
    kill(view)
    until(Supervisor(Space.default()), view.id, ended)
    with FolderLock.take(view.folder):
        before = {path.name: path.read_bytes() for path in view.folder.iterdir()}
        command = [sys.executable, "-m", stand_in_worker.__name__, str(view.folder)]
        done = subprocess.run(
            command, env=worker_environment(Space.default()), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2 and "at work" in done.stderr and "Traceback" not in done.stderr
        assert {path.name: path.read_bytes() for path in view.folder.iterdir()} == before


@pytest.mark.parametrize("shift_s", [-3600.0, 1.5, 86400.0])
def test_a_clock_that_is_set_changes_nothing(start, monkeypatch, shift_s):
    runs = Supervisor(Space.default())
    view = until(runs, start(runs).id, lambda v: v.course.step > 1)
    real, now = psutil.Process.create_time, time.time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + shift_s)
    monkeypatch.setattr(time, "time", lambda: now() + shift_s)
    another_page = Supervisor(Space.default())
    assert another_page.get(view.id).active and Handle.read(view.folder).alive
    with pytest.raises(Problem, match="at work"):
        another_page.resume(view.id)


def test_killed_it_is_at_work_no_more_even_while_nobody_has_reaped_it(start):
    view = until(Supervisor(Space.default()), start().id, lambda v: v.course.step > 1)
    handle = Handle.read(view.folder)
    kill(view)
    another_page = Supervisor(Space.default())  # no parent of the worker
    view = until(another_page, view.id, ended)
    assert view.status == "interrupted" and view.resumable
    assert psutil.Process(handle.pid).status() == psutil.STATUS_ZOMBIE and not handle.alive


def test_a_pid_of_another_boot_or_another_start_is_another_process():
    handle = Handle.of(os.getpid())
    assert handle.alive
    assert not Handle(handle.pid, handle.start_ticks + 1, handle.boot_id).alive
    assert not Handle(handle.pid, handle.start_ticks, "another boot").alive
    assert not Handle(2**22 + 1, 1).alive


def test_children_of_a_killed_worker_do_not_hold_its_folder(tmp_path):
    """A data loader's processes are forked, and may live on for a while."""
    code = f"""
import os, time
from pathlib import Path
from studio.jobs.lock import FolderLock
lock = FolderLock.take(Path({str(tmp_path)!r}))
if not os.fork():  # it speaks once it has left the lock to its parent: killed before, the parent would prove nothing
    print(os.getpid(), flush=True)
time.sleep(60)
"""
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=worker_environment(Space.default())
    )
    child = int(worker.stdout.readline())
    try:
        assert held(tmp_path)
        worker.kill()
        worker.wait()
        assert psutil.Process(child).is_running() and not held(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lock_is_handed_over_without_a_moment_in_which_nobody_holds_it(tmp_path):
    with FolderLock.take(tmp_path) as lock:
        assert held(tmp_path) and FolderLock.take(tmp_path, wait_s=0) is None
        sleeper = subprocess.Popen(["sleep", "60"], pass_fds=(lock.descriptor,))
    assert held(tmp_path)
    sleeper.kill()
    sleeper.wait()
    assert not held(tmp_path)
    with FolderLock.take(tmp_path) as lock, (tmp_path / "other").open("w") as other:
        assert FolderLock.inherited(tmp_path, other.fileno()) is None and FolderLock.inherited(tmp_path, 2**20) is None
        assert FolderLock.inherited(tmp_path, os.dup(lock.descriptor))


def test_a_copy_of_a_run_at_work_is_a_run_of_its_own(start):
    runs = Supervisor(Space.default())
    view = until(runs, start(runs).id, lambda v: v.course.step > 1)
    shutil.copytree(view.folder, Space.default().runs / "copied")
    copy = runs.get("copied")
    assert (copy.id, copy.status, copy.resumable) == ("copied", "interrupted", True)
    assert {v.id: v.active for v in runs.list()} == {view.id: True, "copied": False}
    with pytest.raises(Problem, match="at work"):
        runs.resume("copied")
    runs.delete("copied")
    assert runs.get(view.id).active


def test_where_a_file_system_has_no_locks_the_record_of_the_process_has_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("studio.jobs.lock.held", lambda folder: None)
    assert not at_work(tmp_path)
    Handle.of(os.getpid()).write(tmp_path)
    assert at_work(tmp_path)


def test_what_is_not_at_work_is_not_stopped_and_a_moved_run_is_gone(start):
    runs = Supervisor(Space.default())
    view = until(runs, start(runs).id, lambda v: v.course.step > 1)
    runs.stop(view.id)
    until(runs, view.id, ended)
    with pytest.raises(Problem, match="not at work any more"):
        runs.stop(view.id)
    view.folder.rename(Space.default().root / "elsewhere")
    for act in (runs.stop, runs.resume, runs.delete, runs.get):
        with pytest.raises(Problem) as gone:
            act(view.id)
        assert gone.value.code == "run.gone"
