"""What a job does and who does it are asked, never named: another kind and another place fit in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio.jobs import supervisor
from studio.jobs.folder import RunFolder, RunInfo
from studio.jobs.journal import Course, Journal
from studio.jobs.kinds import KINDS
from studio.jobs.learned import Learned
from studio.jobs.lock import FolderLock
from studio.jobs.supervisor import Supervisor
from studio.jobs.train import Train, TrainJob
from studio.space import Space
from tests.studio.run_helpers import make_dataset

RECIPE = Recipe(model="lora-studio/tiny-base")


class Measure:
    """A kind that reads the rows and nothing else."""

    name, worker = "measure", "somewhere.measure"

    def missing(self, run: RunFolder) -> Problem | None:
        return None if (run.path / "question.txt").is_file() else Problem("record.missing", file="question.txt")

    def outcome(self, recipe: Recipe, course: Course) -> Learned | None:
        return None


@dataclass(frozen=True)
class MeasureJob:
    question: str
    kind: str = "measure"
    place: str = "elsewhere"

    def write(self, run: RunFolder) -> RunInfo:
        info = RunInfo(run.id.removeprefix("."), "measured", 1.0, "", "", "", kind=self.kind, place=self.place)
        run.write_start(info, RECIPE)
        (run.path / "question.txt").write_text(self.question)
        return info


@dataclass
class Elsewhere:
    """A place with room for two, which keeps what it is told."""

    room: int = 2
    started: list[tuple[str, str]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    held: dict[str, FolderLock] = field(default_factory=dict)

    def start(self, run: RunFolder, worker: str, lock: FolderLock) -> None:
        self.started.append((run.id, worker))
        self.held[run.id] = lock

    def stop(self, run: RunFolder) -> None:
        self.stopped.append(run.id)

    def at_work(self, run: RunFolder) -> bool:
        return run.id in self.held

    def end(self, id: str, run: RunFolder, status: str) -> None:
        del self.held[id]
        Journal(run.path).write("ended", status=status)


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def runs(home: Path, elsewhere: Elsewhere) -> Supervisor:
    return Supervisor(Space(home), {**KINDS, "measure": Measure()}, {"elsewhere": elsewhere, "here": Elsewhere(room=1)})


def test_another_kind_at_another_place_is_started_stopped_found_again_and_resumed(runs, elsewhere):
    view = runs.start(MeasureJob("how long?"))
    assert elsewhere.started == [(view.id, "somewhere.measure")] and view.active and view.learned is None
    assert (view.folder / "question.txt").read_text() == "how long?"
    runs.stop(view.id)
    assert elsewhere.stopped == [view.id]
    another_page = Supervisor(runs.space, runs.kinds, runs.places)
    assert another_page.get(view.id).active, "its place knows of it"
    elsewhere.end(view.id, view.run, "stopped")
    assert another_page.resume(view.id).active and len(elsewhere.started) == 2
    elsewhere.end(view.id, view.run, "failed")
    (view.folder / "question.txt").unlink()
    with pytest.raises(Problem) as caught:
        runs.resume(view.id)
    assert caught.value.params["file"] == "question.txt", "its own kind says what it misses"


def test_a_place_takes_as_many_as_it_has_room_for_and_one_at_work_keeps_no_other_place_busy(runs, tmp_path):
    first, second = (runs.start(MeasureJob(str(number))) for number in range(2))
    with pytest.raises(Problem) as caught:
        runs.start(MeasureJob("one too many"))
    assert caught.value.code == "run.busy" and first.id != second.id
    assert runs.start(TrainJob(RECIPE, make_dataset(tmp_path / "data", rows=2))).active, "there is room here"


def test_training_here_is_the_first_job(runs, tmp_path):
    dataset = make_dataset(tmp_path / "data", rows=2)
    view = runs.start(TrainJob(RECIPE, dataset, " my\nrun ", 123))
    assert runs.places["here"].started == [(view.id, "studio.workers.train")]
    assert (view.name, view.predicted_bytes, view.info.fingerprint) == ("my run", 123, dataset.fingerprint)
    written = json.loads((view.folder / "run.json").read_text())
    assert (written["kind"], written["place"]) == ("train", "here")
    assert list(view.run.rows("train")) == list(dataset.rows("train"))
    assert isinstance(KINDS["train"], Train)


def test_a_run_of_the_first_version_says_neither_and_trained_here(runs):
    run = RunFolder(runs.root / "old")
    run.path.mkdir(parents=True)
    run.write_start(RunInfo("old", "old", 1.0, "", "", ""), RECIPE)
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({k: v for k, v in record.items() if k not in ("kind", "place")}))
    view = runs.get("old")
    assert (view.info.kind, view.info.place, view.faults) == ("train", "here", ()) and view.resumable


@pytest.mark.parametrize(
    "key, value", [("kind", "evaluate"), ("place", "moon"), ("kind", ""), ("kind", None), ("place", 3)]
)
def test_a_kind_or_a_place_that_nobody_knows_is_said_and_not_resumed(runs, key, value):
    run = RunFolder(runs.root / "new")
    run.path.mkdir(parents=True)
    run.write_start(RunInfo("new", "new", 1.0, "", "", ""), RECIPE)
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(record | {key: value}))
    (view,) = runs.list()
    assert view.status == "damaged" and [fault.params["key"] for fault in view.faults] == [key]
    for act in (runs.resume, runs.stop):
        with pytest.raises(Problem):
            act("new")
    runs.delete("new")
    assert runs.restore("new").name == "new"


def test_the_supervisor_names_no_kind_and_no_place():
    """It would be told of each new one."""
    text = Path(supervisor.__file__).read_text("utf-8")
    assert not [word for word in ("train", "dataset", "eval", '"here"', "Popen", "workers.") if word in text.lower()]
