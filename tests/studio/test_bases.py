"""A base that cannot be loaded is refused by name; nothing of its repository is executed."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from estimator.core.problems import Problem
from studio.models.bases import open_base
from studio.space import Space
from tests import hub
from tests.studio.chat_models import make_base


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("bases") / "whole")


@pytest.fixture
def base(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "base")


def refusal(folder) -> Problem:
    with pytest.raises(Problem) as caught:
        open_base(Space.default(), str(folder))
    assert caught.value.field == "model" and str(folder) in str(caught.value)
    return caught.value


def test_a_whole_folder_is_opened(base):
    assert open_base(Space.default(), str(base)) == base.resolve()


def test_a_folder_without_a_config_is_missing(base):
    (base / "config.json").unlink()
    assert refusal(base).code == "base.missing"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"model_type": 3}', '{"a": ' * 100 + "1" + "}" * 100, "[" * 50_000]
)
def test_a_broken_config_is_said(base, content):
    (base / "config.json").write_text(content)
    assert refusal(base).code in ("base.broken", "base.remote_code")


def test_pickled_weights_are_refused(base):
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    assert refusal(base).code == "base.pickled"


def test_no_weights_at_all(base):
    (base / "model.safetensors").unlink()
    assert refusal(base).code == "base.no_weights"


@pytest.mark.parametrize("file", ["tokenizer_config.json", "generation_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("content", ["[" * 50_000, '{"a": ' * 100 + "1" + "}" * 100, "[1]", "{"])
def test_what_the_libraries_would_stumble_over_is_said_before(base, file, content):
    (base / file).write_text(content)
    problem = refusal(base)
    assert problem.code == "base.broken" and file in str(problem)


def lying_header(content: bytes) -> bytes:
    """A header whose last tensor claims a megabyte more than the file holds."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    last = max(
        (entry for name, entry in header.items() if name != "__metadata__"), key=lambda entry: entry["data_offsets"][1]
    )
    last["data_offsets"][1] += 2**20
    last["shape"][0] += 2**20 // (4 * math.prod(last["shape"][1:]))
    made = json.dumps(header).encode()
    return len(made).to_bytes(8, "little") + made + content[8 + length :]


TORN = {
    "cut": lambda content: content[:-100],
    "cut in its header": lambda content: content[:100],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"x",
    "lies": lying_header,
    "huge header": lambda content: (2**40).to_bytes(8, "little") + content[8:],
    "pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
}


@pytest.mark.parametrize("how", TORN)
def test_a_torn_file_is_named(base, how):
    weights = base / "model.safetensors"
    weights.write_bytes(TORN[how](weights.read_bytes()))
    problem = refusal(base)
    assert problem.code == "base.torn" and "model.safetensors" in str(problem)
    assert ("git lfs pull" in str(problem)) == (how == "pointer")


@pytest.fixture
def sharded(base) -> Path:
    """The same weights in several files with an index, as large models are published."""
    model = AutoModelForCausalLM.from_pretrained(base)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="60KB")
    assert open_base(Space.default(), str(base)) == base.resolve() and len(list(base.glob("*.safetensors"))) > 3
    return base


def test_missing_shards_are_counted_and_named(sharded):
    files = sorted(sharded.glob("*.safetensors"))
    for gone in files[-2:]:
        gone.unlink()
    problem = refusal(sharded)
    assert problem.code == "base.shards_missing" and files[-1].name in str(problem)
    assert (problem.params["missing"], problem.params["count"]) == (2, len(files))


def test_a_torn_shard_is_named(sharded):
    last = sorted(sharded.glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-1])
    assert refusal(sharded).code == "base.torn" and last.name in str(refusal(sharded))


def test_shards_without_their_index(sharded):
    (sharded / "model.safetensors.index.json").unlink()
    problem = refusal(sharded)
    assert problem.code == "base.no_index" and "model.safetensors.index.json" in str(problem)


@pytest.mark.parametrize(
    "places",
    [
        None,
        [],
        {},
        {"a": 1},
        {"a": "../other/model.safetensors"},
        {"a": "/etc/hosts"},
        {"a": "pytorch_model.bin"},
        {"nowhere.weight": "model-00001"},
    ],
)
def test_an_index_that_points_elsewhere(sharded, places):
    index = sharded / "model.safetensors.index.json"
    if places == {"nowhere.weight": "model-00001"}:
        places = {"nowhere.weight": sorted(file.name for file in sharded.glob("*.safetensors"))[0]}
    index.write_text(json.dumps({"weight_map": places}))
    problem = refusal(sharded)
    assert problem.code == "base.broken" and index.name in str(problem)


def test_weights_under_another_name_are_not_found_by_transformers(base):
    (base / "model.safetensors").rename(base / "consolidated.safetensors")
    problem = refusal(base)
    assert problem.code == "base.no_index" and "consolidated.safetensors" in str(problem)


def test_an_adapter_is_no_base(base):
    (base / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/other"}))
    problem = refusal(base)
    assert problem.code == "base.is_adapter" and "org/other" in str(problem)


def test_no_tokenizer(base):
    (base / "tokenizer.json").unlink()
    assert refusal(base).code == "base.no_tokenizer"


def test_code_of_a_repository_is_neither_needed_nor_run(base, tmp_path):
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}}
    (base / "config.json").write_text(json.dumps(config))
    (base / "evil.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    problem = refusal(base)
    assert problem.code == "base.remote_code" and "evil.py" in str(problem)
    assert not (tmp_path / "executed").exists()


# The hub is asked by a process of its own: huggingface_hub reads its address when it is imported.
ASK = """
import sys
from estimator.core.problems import Problem
from studio.models.bases import open_base
from studio.space import Space
try:
    print("opened", *sorted(path.name for path in open_base(Space.default(), sys.argv[1]).iterdir()))
except Problem as problem:
    print(problem.code, problem)
"""


def ask(name: str, endpoint: str, cache) -> str:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", ASK, name], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_a_hub_only_safe_files_are_fetched(base, tmp_path):
    (base / "pytorch_model.bin").write_bytes(b"pickle")
    (base / "evil.py").write_text("raise SystemExit")
    with hub.serve({"org/whole": base}) as (url, asked):
        assert ask("org/whole", url, tmp_path / "hub").startswith("opened")
        assert not [path for path in asked if path.endswith((".bin", ".py"))]
    with hub.serve({}) as (url, asked):  # once here, it is opened without a hub
        offline = ask("org/whole", "http://127.0.0.1:9", tmp_path / "hub")
    assert offline.startswith("opened")


@pytest.mark.parametrize(
    ("name", "code"), [("org/gated", "base.gated"), ("org/none", "base.missing"), ("no such name!", "base.missing")]
)
def test_what_a_hub_refuses_is_said(name, code, tmp_path):
    with hub.serve({"org/gated": "gated"}) as (url, _):
        assert ask(name, url, tmp_path / "hub").startswith(code)


def test_a_hub_out_of_reach_is_said(tmp_path):
    assert ask("org/name", "http://127.0.0.1:9", tmp_path / "hub").startswith("base.offline")
