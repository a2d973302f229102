"""One folder a user: two of them in one process do not see each other, and nothing asks where the data lies."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe
from studio import services
from studio.datasets.store import DatasetStore
from studio.gate import uploaded
from studio.get import copy, known
from studio.inference.choice import Choice
from studio.jobs.folder import RunFolder, RunInfo
from studio.jobs.supervisor import Supervisor
from studio.models import downloads, pasted
from studio.models.find import find_model
from studio.protocol.client import Worker, worker_environment
from studio.space import Space, inside
from tests.estimator.small import CONFIGS

STUDIO = Path(__file__).parents[2] / "studio"
MAY_BEGIN = {
    "__main__.py",
    "datasets/command.py",
    "outlook/command.py",
    "datasets/clean_command.py",
    "get/command.py",
    *(f"workers/{name}.py" for name in ("chat", "data", "read", "trace", "train")),
}
"""Where a process begins: the page, a command, a worker."""


@pytest.fixture
def two(tmp_path: Path) -> tuple[Space, Space]:
    return Space(tmp_path / "mine").prepare(), Space(tmp_path / "theirs").prepare()


def test_datasets_are_apart(two):
    mine, theirs = (DatasetStore(space.datasets, space.trash) for space in two)
    info = mine.add("rows", [{"text": "a"}] * 3)
    assert [one.id for one in mine.list()] == [info.id] and theirs.list() == []
    mine.delete(info.id)
    with pytest.raises(Problem, match="gone|no longer|not there"):
        theirs.restore(info.id)
    assert mine.restore(info.id).name == "rows"


def test_runs_and_what_their_chat_answers_with_are_apart(two):
    mine, theirs = map(Supervisor, two)
    run = RunFolder(two[0].runs / "one")
    run.path.mkdir()
    run.write_start(RunInfo("one", "mine", 1.0, "", "", ""), Recipe(model="lora-studio/tiny-base"))
    assert [view.name for view in mine.list()] == ["mine"] and theirs.list() == []
    for look in (theirs.get, theirs.delete, theirs.stop, lambda id: Choice.of(two[1], {"run_id": id})):
        with pytest.raises(Problem):
            look("one")
    mine.delete("one")
    assert theirs.list() == [] and list(two[1].trash.iterdir()) == []
    with pytest.raises(Problem):
        theirs.restore("one")
    assert mine.restore("one").name == "mine"


def test_pasted_models_fetched_ones_and_caches_are_apart(two):
    name = pasted.keep(two[0], json.dumps(CONFIGS["llama"]))
    assert pasted.config_of(two[0], name) == CONFIGS["llama"]
    with pytest.raises(Problem) as caught:
        find_model(two[1], name, None)
    assert caught.value.code == "model.not_pasted"
    wheel = known.wheel("smollm2")
    copy.folder_of(two[0], wheel).mkdir(parents=True)
    assert copy.look(two[0], wheel).state == copy.DAMAGED and copy.look(two[1], wheel).state == copy.ABSENT
    hub = downloads.parse("modelscope:org/model")
    folders = [downloads.modelscope_folder(space, hub) for space in two]
    assert [folder.is_relative_to(space.cache) for folder, space in zip(folders, two)] == [True, True]


def test_uploads_are_apart(two):
    for space in two:
        (space.uploads / "one").mkdir()
    uploaded.discard(two[1], two[0].uploads / "one")
    assert (two[0].uploads / "one").is_dir()
    uploaded.sweep(two[1], older_than_seconds=0)
    assert [len(list(space.uploads.iterdir())) for space in two] == [1, 0]


def test_workers_are_told_whose_they_are(two):
    assert [worker_environment(space)["LORA_STUDIO_HOME"] for space in two] == [str(space.root) for space in two]
    shared = [services.build(space) for space in two]
    for one, space in zip(shared, two, strict=True):
        assert one.runs.root == space.runs and one.datasets.root == space.datasets and one.getting.space == space
        for worker in (one.data_worker, one.chat_worker, one.trace_worker):
            assert worker.log.is_relative_to(space.logs) and worker.pid is None
    assert Worker("x", "y", two[0]).log != Worker("x", "y", two[1]).log


@pytest.mark.parametrize("name", ["", ".", "..", "../theirs", "/etc", "a/../../b"])
def test_no_name_leads_out_of_a_space(two, name):
    with pytest.raises(Problem) as caught:
        inside(two[0].runs, name)
    assert caught.value.code == "storage.outside"


def asks_for_the_default(text: str) -> bool:
    """Whether a module makes the default space, or asks the estimator where the data lies."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr == "default" and ast.unparse(node.value) == "Space":
            return True
        if isinstance(node, ast.ImportFrom) and (node.module, "home") in {
            (node.module, alias.name) for alias in node.names
        }:
            return True
        if isinstance(node, ast.ImportFrom | ast.Import) and "core.home" in ast.unparse(node):
            return True
    return False


def test_only_where_a_process_begins_is_the_default_space_made():
    found = {
        str(path.relative_to(STUDIO)) for path in STUDIO.rglob("*.py") if asks_for_the_default(path.read_text("utf-8"))
    }
    assert found == MAY_BEGIN | {"space.py"}


@pytest.mark.parametrize(
    "line", ["Space.default().runs", "from estimator.core.home import cache", "from estimator.core import home"]
)
def test_one_that_asks_is_found(line):
    assert asks_for_the_default(f"def f():\n    {line}") and not asks_for_the_default("space.runs")
