"""The trace worker over its pipe: a folder in, an inventory out that the page can estimate with."""

import itertools
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from estimator import Problem, Recipe, estimate
from estimator.hub import sources
from estimator.hub.sources import load_model
from estimator.model.inventory import Inventory
from studio.models import exact
from studio.space import Space
from tests.estimator.small import CONFIGS


@pytest.fixture(scope="module")
def ask():
    """Ask one worker process several questions, as the page does."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "studio.workers.trace"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert json.loads(worker.stdout.readline()) == {"ready": True}

    ids = itertools.count()

    def ask(folder, kept, method="inventory", **params):
        params |= {"model": str(folder), "cache": str(kept)}
        worker.stdin.write(json.dumps({"id": next(ids), "method": method, "params": params}) + "\n")
        worker.stdin.flush()
        while {"begun", "event"} & (answer := json.loads(worker.stdout.readline())).keys():
            pass
        return answer

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


def test_the_law_of_a_new_structure_is_kept_where_an_estimate_finds_it(tmp_path, ask, monkeypatch):
    config, kept = CONFIGS["llama"], Space.default().cache
    model = sources.model_from_config(config, "config:x", kept)
    recipe = Recipe(model="config:x", max_length=32, method="lora", lora_dropout=0.1)
    before = estimate(recipe, model=model, cache_dir=kept)
    assert exact.can_be_traced(before)
    monkeypatch.setattr(exact, "_tried", {})

    def stream(method, within_seconds, **params):
        yield answered(ask(params.pop("model"), params.pop("cache"), method, **params))

    exact.derive(Space.default(), before, SimpleNamespace(stream=stream))
    after = estimate(recipe, model=model, cache_dir=kept)
    assert not exact.is_approximate(after)
    whole = estimate(recipe, model=model, cache_dir=tmp_path / "other", derive=True)
    assert after.peak_reserved_bytes == whole.peak_reserved_bytes
    assert after.components == whole.components and not any(peak.is_bound for peak in after.run_peaks)


def test_what_cannot_be_traced_is_said_once(monkeypatch):
    model = sources.model_from_config(CONFIGS["llama"], "config:y")
    made = estimate(Recipe(model="config:y", max_length=32, method="lora"), model=model)
    asked = []

    def stream(method, **params):
        asked.append(method)
        yield from ()
        raise Problem(code, field="model", value="config:y")

    monkeypatch.setattr(exact, "_tried", {})
    code = "worker.late"  # it goes on: whoever asks again finds the law
    exact.derive(Space.default(), made, SimpleNamespace(stream=stream))
    assert exact.can_be_traced(made) and exact.why_not(made) is None
    code = "law.not_traced"
    exact.derive(Space.default(), made, SimpleNamespace(stream=stream))
    assert asked == ["law", "law"] and not exact.can_be_traced(made) and exact.why_not(made).code == "law.not_traced"


def answered(message):
    assert "result" in message, message
    return message["result"]
