"""The trace worker over its pipe: a folder in, an inventory out that the page can estimate with."""

import itertools
import json
import subprocess
import sys

import pytest

from estimator import Problem, Recipe, estimate
from estimator.inventory import Inventory
from estimator.sources import load_model
from tests.estimator.small import CONFIGS


@pytest.fixture(scope="module")
def ask():
    """Ask one worker process several questions, as the page does."""
    worker = subprocess.Popen([sys.executable, "-m", "studio.workers.trace"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert json.loads(worker.stdout.readline()) == {"ready": True}

    ids = itertools.count()

    def ask(folder, kept):
        worker.stdin.write(json.dumps({"id": next(ids), "method": "inventory", "params": {"model": str(folder), "cache": str(kept)}}) + "\n")
        worker.stdin.flush()
        return json.loads(worker.stdout.readline())

    yield ask
    worker.stdin.close()
    assert worker.wait(10) == 0


def test_a_folder_is_counted_once_and_then_known(tmp_path, ask):
    folder, kept = tmp_path / "model", tmp_path / "counted"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIGS["qwen2-bias"]))
    with pytest.raises(Problem) as caught:
        load_model(str(folder), kept)
    assert caught.value.code == "model.not_counted"

    answered = Inventory.from_json(ask(folder, kept)["result"])
    model = load_model(str(folder), kept)
    assert model.inventory.to_json() == answered.to_json()
    assert estimate(Recipe(model=str(folder), max_length=32), model=model).total_parameters == answered.total_parameters

    (folder / "config.json").write_text(json.dumps(CONFIGS["qwen2-bias"] | {"vocab_size": 256}))
    with pytest.raises(Problem):
        load_model(str(folder), kept)  # another model now


def test_a_config_that_cannot_be_built_is_a_problem_not_a_crash(tmp_path, ask):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama"] | {"hidden_size": 10**9}))
    assert ask(tmp_path, tmp_path / "kept")["problem"]["code"] == "model.bad_value"
    assert ask(tmp_path / "nowhere", tmp_path / "kept")["problem"]["code"] == "model.unknown"
