"""Hub ids over real HTTP on loopback: what is asked for, what is refused, and that a second ask needs no hub."""

from __future__ import annotations

import json
import re
import time

import pytest

from estimator import Problem
from estimator.hub import hub
from estimator.hub.hubs import HuggingFace, ModelScope, parse
from estimator.hub.sources import load_model, open_model, open_source
from tests import hub as hubs
from tests.estimator.repositories import REMOTE, repository, tensors_of, write_config, write_tensors
from tests.estimator.small import CONFIGS, inventory

IDS = {"huggingface": "org/model", "modelscope": "modelscope:org/model"}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """huggingface_hub reads its switch and its address once, at import; the suite runs with the switch off."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", NOWHERE)
    monkeypatch.setenv("MODELSCOPE_DOMAIN", NOWHERE)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return monkeypatch


@pytest.fixture
def serving(online):
    """Both hubs at the address of a server."""

    def point(server):
        online.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        online.setenv("MODELSCOPE_DOMAIN", server.url)
        return server

    return point


@pytest.fixture(params=sorted(IDS))
def name(request):
    return IDS[request.param]


def refusal(name, cache=None, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        hub.fetch(name, cache, **more)
    problem = caught.value
    assert problem.field in ("model", "config.json") and "\n" not in str(problem) and "{" not in str(problem)
    return problem


def test_only_the_config_and_the_headers_are_asked_for(tmp_path, name, serving):
    folder = repository(tmp_path / "repo", shards=3)
    with hubs.hub({"org/model": folder}) as server:
        serving(server)
        model = open_model(name, tmp_path / "cache")
    assert (model.inventory.to_json(), model.notes) == (inventory("llama").to_json(), ())
    assert set(server.ranges) == {"config.json", *(f"model-{n:05}-of-00003.safetensors" for n in (1, 2, 3))}
    listings = [path for path in server.asked if not re.search(r"config\.json|\.safetensors", path)]
    assert len(listings) == 1
    for file, ranges in server.ranges.items():
        if file != "config.json":
            length = int.from_bytes((folder / file).read_bytes()[:8], "little")
            assert ranges == ["bytes=0-7", f"bytes=8-{length + 7}"]
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert server.bytes_served < 0.05 * weights


def test_a_second_ask_needs_no_hub(tmp_path, name, serving, online):
    with hubs.hub({"org/model": repository(tmp_path / "repo")}) as server:
        serving(server)
        first = open_model(name, tmp_path / "cache")
        asked = len(server.asked)
        open_model(name, tmp_path / "cache")
        assert len(server.asked) == asked
    online.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    again = load_model(name, tmp_path / "cache")  # neither the hub nor torch
    assert again.inventory.to_json() == first.inventory.to_json()
    (kept,) = (tmp_path / "cache" / "hub").rglob("*.*")
    assert kept.suffix == ".json"


def test_what_was_kept_goes_stale_and_still_serves_when_the_hub_is_away(tmp_path, name, serving, online):
    folder = repository(tmp_path / "repo")
    with hubs.hub({"org/model": folder}) as server:
        serving(server)
        open_source(name, tmp_path / "cache")
    (kept,) = (tmp_path / "cache" / "hub").rglob("*.json")
    online.setattr("estimator.hub.hub.FRESH_SECONDS", {True: 0.0, False: 0.0})
    assert open_source(name, tmp_path / "cache").config["vocab_size"] == 128
    write_config(folder, CONFIGS["llama"] | {"vocab_size": 256})
    with hubs.hub({"org/model": folder}) as server:
        serving(server)
        assert open_source(name, tmp_path / "cache").config["vocab_size"] == 256
    kept.write_text("{")  # half a file, of another program
    assert refusal(name, tmp_path / "cache").code == "hub.unreachable"


def test_a_mirror_without_ranges_is_left_after_the_header(tmp_path, name, serving):
    tensors = tensors_of("llama") | {"model.filler.weight": tensors_of("llama")["lm_head.weight"].new_zeros(4096, 4096)}
    folder = write_tensors(write_config(tmp_path / "repo", CONFIGS["llama"]), tensors)
    with hubs.hub({"org/model": folder}, ranges=False) as server:
        source = open_source(serving(server) and name)
    assert source.stored.inventory.total_parameters == inventory("llama").total_parameters + 4096 * 4096
    assert server.bytes_served < 0.5 * (folder / "model.safetensors").stat().st_size  # what was on its way is lost


@pytest.mark.parametrize(
    ("repo", "scope", "code"),
    [
        ("gone", False, "hub.not_found"), ("gone", True, "hub.not_found"), ("private", False, "hub.not_found"),
        ("private", True, "hub.private"), ("closed", False, "hub.private"), ("gated", False, "hub.gated"),
        ("broken", False, "hub.unreachable"),
    ],
)  # fmt: skip
def test_a_refusal_is_said_with_close_names(repo, scope, code, serving):
    name = ("modelscope:" if scope else "") + "Qwen/Qwen2.5-7C"
    with hubs.hub({"Qwen/Qwen2.5-7C": repo}) as server:
        problem = refusal(serving(server) and name)
    assert problem.code == code and name in str(problem)
    assert code == "hub.unreachable" or "Qwen/Qwen2.5-7B" in str(problem)


def test_a_gated_model_is_listed_but_its_files_are_not_given(tmp_path, serving):
    with hubs.hub({"org/model": repository(tmp_path)}, gate_files=True) as server:
        assert refusal(serving(server) and "org/model").code == "hub.gated"


def test_no_network_is_said_at_once(name):
    start = time.monotonic()
    problem = refusal(name)
    assert problem.code == "hub.unreachable" and "refused" in str(problem) and time.monotonic() - start < 3


def test_offline_is_said(name, online):
    online.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert refusal(name).code == "hub.offline"


def test_a_silent_hub_is_given_up_in_time(tmp_path, name, serving):
    with hubs.hub({"org/model": repository(tmp_path)}, drip_seconds=0.5) as server:
        serving(server)
        start = time.monotonic()
        assert refusal(name, seconds=2.0).code == "hub.late"
        assert time.monotonic() - start < 3


def test_slow_headers_are_given_up_for_the_configs_sake(tmp_path, name, serving):
    folder = write_tensors(write_config(tmp_path / "repo", CONFIGS["llama"]), tensors_of("llama"))
    with hubs.hub({"org/model": folder}, drip_seconds=0.02) as server:
        source = hub.fetch(serving(server) and name, seconds=3.0)
    assert (
        source.stored is None
        and [note.code for note in source.notes] == ["model.headers_unread"]
        and not source.is_whole
    )


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"model.Q4_K_M.gguf": b"GGUF"}, "hub.no_config", ("model.Q4_K_M.gguf",)),
        ({"config.json": b"{"}, "model.bad_json", ("config.json",)),
        ({"config.json": b"[" * 100_000}, "model.bad_json", ("config.json",)),
        ({"config.json": b'{"a":' * 50 + b"1" + b"}" * 50}, "model.bad_json", ("nested",)),
        ({"config.json": b"[]"}, "model.not_object", ("list",)),
        ({"config.json": b" " * (2**20 + 1)}, "model.config_too_large", ("1,048,576 bytes",)),
        ({"config.json": b"{}"}, "model.missing_key", ("model_type",)),
        (
            {"config.json": json.dumps(CONFIGS["llama"] | {"num_key_value_heads": 3}).encode()},
            "model.contradiction",
            ("num_key_value_heads", "3"),
        ),
        (
            {"config.json": json.dumps(CONFIGS["llama"] | {"hidden_size": 10**9}).encode()},
            "model.bad_value",
            ("hidden_size", "1,000,000,000"),
        ),
        (
            {"config.json": json.dumps(CONFIGS["llama"] | {"vision_config": {"depth": 10**9}}).encode()},
            "model.bad_value",
            ("depth", "8,192"),
        ),
    ],
)
def test_a_bad_config_is_said(files, code, words, tmp_path, name, serving):
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    with hubs.hub({"org/model": tmp_path}) as server:
        problem = refusal(serving(server) and name)
    assert problem.code == code and all(word in str(problem) for word in words)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\xff" * 8,
        (10**9).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        (9).to_bytes(8, "little") + b'{"a": {}}',
    ],
)
def test_a_bad_header_is_a_note_where_the_config_is_enough(start, tmp_path, name, serving):
    write_config(tmp_path, CONFIGS["llama"])
    (tmp_path / "model.safetensors").write_bytes(start)
    with hubs.hub({"org/model": tmp_path}) as server:
        fetched = hub.fetch(serving(server) and name)
    assert [note.code for note in fetched.notes] == ["model.headers_unread"]
    assert server.bytes_served < 4096


def test_pickles_alone_are_counted_from_the_config_and_said(tmp_path, name, serving):
    write_config(tmp_path / "repo", CONFIGS["llama"])
    (tmp_path / "repo" / "pytorch_model.bin").write_bytes(b"pickle")
    with hubs.hub({"org/model": tmp_path / "repo"}) as server:
        model = open_model(serving(server) and name, tmp_path / "cache")
    assert model.inventory.total_parameters == inventory("llama").total_parameters
    assert [note.code for note in model.notes] == ["model.headers_missing"] and "pytorch_model.bin" in str(
        model.notes[0]
    )


def test_code_of_a_repository_is_neither_fetched_nor_run(tmp_path, name, serving):
    folder = repository(tmp_path / "repo", **{key: REMOTE[key] for key in ("model_type", "auto_map")})
    with hubs.hub({"org/model": folder}) as server:
        model = open_model(serving(server) and name, tmp_path / "cache")
    assert not [path for path in server.asked if path.endswith(".py")]
    assert [note.code for note in model.notes] == ["model.from_headers"] and model.spec.ignored == ("auto_map",)
    assert model.inventory.total_parameters == inventory("llama").total_parameters


def test_a_visitor_sends_no_token_and_sees_nothing_fetched_with_one(tmp_path, serving, online):
    online.setattr("huggingface_hub.get_token", lambda: "hf_secret")
    with hubs.hub({"org/model": repository(tmp_path / "repo")}) as server:
        serving(server)
        hub.fetch("org/model", tmp_path / "cache")
        assert all(sent["Authorization"] == "Bearer hf_secret" for sent in server.headers)
        server.headers.clear()
        hub.fetch("org/model", tmp_path / "cache", token=False)
        assert server.headers and not [
            sent for sent in server.headers if "Authorization" in sent or "hf_secret" in str(sent)
        ]


@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        "a/b/c",
        "../x",
        "a/..",
        "org/",
        "/org",
        "a//b",
        "https://x/y",
        "org/na me",
        "org/é",
        "a--b/c",
        "modelscope:x",
        "org/n\n",
        "",
        "a/" + "x" * 200,
    ],
)
def test_what_is_no_id_is_not_asked_for(name):
    assert parse(name) is None
    problem = refusal(name.replace("\n", " "))
    assert problem.code == "model.unknown" and "org/name" in str(problem)


def test_ids_name_their_hub():
    assert parse("Qwen/Qwen2.5-7B") == HuggingFace("Qwen/Qwen2.5-7B")
    assert parse("modelscope:Qwen/Qwen2.5-7B") == ModelScope("Qwen/Qwen2.5-7B")
