"""A base that cannot be loaded is refused by name; nothing of its repository is executed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from estimator.problems import Problem
from studio.workers.bases import open_base
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
        open_base(str(folder))
    assert caught.value.field == "model" and str(folder) in str(caught.value)
    return caught.value


def test_a_whole_folder_is_opened(base):
    assert open_base(str(base)) == base.resolve()


def test_a_folder_without_a_config_is_missing(base):
    (base / "config.json").unlink()
    assert refusal(base).code == "base.missing"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model_type": 3}'])
def test_a_broken_config_is_said(base, content):
    (base / "config.json").write_text(content)
    assert refusal(base).code in ("base.broken", "base.remote_code")


def test_pickled_weights_are_refused(base):
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    assert refusal(base).code == "base.pickled"


def test_no_weights_at_all(base):
    (base / "model.safetensors").unlink()
    assert refusal(base).code == "base.no_weights"


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
from estimator.problems import Problem
from studio.workers.bases import open_base
try:
    print("opened", *sorted(path.name for path in open_base(sys.argv[1]).iterdir()))
except Problem as problem:
    print(problem.code, problem)
"""


def ask(name: str, endpoint: str, cache) -> str:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(cache)}
    done = subprocess.run([sys.executable, "-c", ASK, name], env=environment, capture_output=True, text=True, timeout=120)
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


@pytest.mark.parametrize(("name", "code"), [("org/gated", "base.gated"), ("org/none", "base.missing"), ("no such name!", "base.missing")])
def test_what_a_hub_refuses_is_said(name, code, tmp_path):
    with hub.serve({"org/gated": "gated"}) as (url, _):
        assert ask(name, url, tmp_path / "hub").startswith(code)


def test_a_hub_out_of_reach_is_said(tmp_path):
    assert ask("org/name", "http://127.0.0.1:9", tmp_path / "hub").startswith("base.offline")
