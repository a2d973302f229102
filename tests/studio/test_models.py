"""The page's way to a model that is no preset: the hub is asked as a visitor, the worker counts, refusals are
remembered."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from estimator.core.problems import Problem
from estimator.hub import sources
from estimator.recipe.recipe import Recipe
from studio.gate.security import from_this_machine
from studio.models import find as models
from studio.models import pasted
from studio.models.find import find_model
from studio.outlook.preflight import preflight
from studio.protocol.client import Worker
from studio.space import Space
from tests import hub as hubs
from tests.estimator.repositories import REMOTE, repository
from tests.estimator.small import CONFIGS, inventory


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_secret")
    monkeypatch.setattr(models, "_refusals", {})
    monkeypatch.setattr(models, "ANSWER_SECONDS", 60.0)  # a worker starts slowly on a busy machine
    return monkeypatch


def refused(name: str) -> str:
    with pytest.raises(Problem) as caught:
        find_model(Space.default(), name, None)
    return caught.value.code


def test_a_hub_id_is_fetched_by_the_page_and_counted_by_the_worker(tmp_path, online):
    worker = Worker(
        "trace", "studio.workers.trace", Space.default()
    )  # of this suite's environment: it may not ask a hub itself
    try:
        with hubs.hub({"org/model": repository(tmp_path / "repo")}) as server:
            online.setattr("huggingface_hub.constants.ENDPOINT", server.url)
            assert refused("org/model") == "model.not_counted"  # the light install
            model = find_model(Space.default(), "org/model", worker)
            asked = len(server.asked)
            assert (
                find_model(Space.default(), "org/model", None).inventory.to_json()
                == model.inventory.to_json()
                == inventory("llama").to_json()
            )
            assert len(server.asked) == asked
        assert not [sent for sent in server.headers if "hf_secret" in str(sent)]
    finally:
        worker.stop()


def test_a_refusal_is_repeated_without_asking_for_a_while(online):
    with hubs.hub({}) as server:
        online.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        assert [refused("org/gone") for _ in range(3)] == ["hub.not_found"] * 3
        assert len(server.asked) == 1
        online.setattr(models, "REFUSAL_SECONDS", 0.0)
        assert refused("org/gone") == "hub.not_found" and len(server.asked) == 2


def test_what_needs_code_is_estimated_but_not_trained(tmp_path, online):
    folder = repository(tmp_path / "repo", model_type=REMOTE["model_type"])
    with hubs.hub({"org/model": folder}) as server:
        online.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        sources.open_model("org/model", Space.default().cache, token=False)
        assert [note.code for note in find_model(Space.default(), "org/model", None).notes] == ["model.from_headers"]
        with pytest.raises(Problem) as caught:
            preflight(Space.default(), Recipe(model="org/model", method="lora", dtype="float32"), None, folders=True)
    assert caught.value.code == "base.remote_code" and "homemade" in str(caught.value)


def test_names_that_are_none_are_said():
    assert refused("no such model") == refused("~nobody-here/x") == "model.unknown"


def test_a_visitor_learns_nothing_of_this_machines_folders(tmp_path, monkeypatch, online):
    (tmp_path / "org" / "model").mkdir(parents=True)
    (tmp_path / "org" / "model" / "config.json").write_text(json.dumps(CONFIGS["llama"]))
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / "org" / "model"), str(tmp_path / "nothing"), "~/x", "./org/model", "..\\x", "C:\\x"):
        with pytest.raises(Problem) as caught:
            find_model(Space.default(), name, None, folders=False)
        assert caught.value.code == "model.folder_refused"
    assert refused("org/model") == "model.not_counted"  # the owner's folder goes before the hub's id
    with hubs.hub({}) as server:
        online.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        with pytest.raises(Problem) as caught:
            find_model(Space.default(), "org/model", None, folders=False)
    assert caught.value.code == "hub.not_found"


@pytest.mark.parametrize(
    ("client", "headers", "here"),
    [
        ("127.0.0.1", {"host": "localhost:7860"}, True),
        ("::1", {"host": "[::1]:7860"}, True),
        ("10.0.0.7", {"host": "localhost:7860"}, False),
        ("127.0.0.1", {"host": "studio.example"}, False),
        ("127.0.0.1", {"host": "localhost:7860", "x-forwarded-for": "10.0.0.7"}, False),
    ],
)
def test_who_sits_at_this_machine(client, headers, here):
    assert from_this_machine(SimpleNamespace(client=SimpleNamespace(host=client), headers=headers)) is here


def test_a_pasted_config_is_kept_by_its_content_and_found_by_its_name(monkeypatch):
    name = pasted.keep(Space.default(), json.dumps(CONFIGS["llama"], indent=4))
    assert name == pasted.keep(
        Space.default(), json.dumps(dict(reversed(CONFIGS["llama"].items())))
    ) and name.startswith("config:llama-")
    assert pasted.config_of(Space.default(), name) == CONFIGS["llama"]
    assert refused(name) == "model.not_counted"
    for wrong in (name[:-1], "config:x-" + "0" * 16, "config:../../x", "config:"):
        assert refused(wrong) == "model.not_pasted"
    monkeypatch.setattr(pasted, "KEPT", 1)
    pasted.keep(Space.default(), json.dumps(CONFIGS["gpt2-conv1d"]))
    assert len(list((Space.default().cache / "pasted").glob("*.json"))) == 1


def test_a_worker_that_does_not_answer_is_not_waited_for(tmp_path):
    (tmp_path / "silent.py").write_text("import sys\nfor line in sys.stdin: pass\n")
    worker = Worker("trace", "silent", Space.default())
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path))
            with pytest.raises(Problem) as caught:
                worker.call("inventory", within_seconds=0.2, model="x")
        assert caught.value.code == "worker.late"
    finally:
        worker.stop()
