"""The command on models that are no preset: folders, hub ids, pasted configs; bad input is one line and exit code 2."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from estimator import model_from_config
from estimator.cli.cli import main
from tests import hub as hubs
from tests import processors
from tests.estimator.repositories import REMOTE, repository, tensors_of, write_config, write_tensors
from tests.estimator.small import CONFIGS, inventory

SMALL = ["--max-length", "32", "--json"]
ROOT = Path(__file__).parents[2]


def answer(capsys, *words) -> dict:
    assert main([*words, *SMALL]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def said(capsys, *words) -> str:
    """What a refusal says: one line on stderr, nothing on stdout, exit code 2."""
    assert main([*words, *SMALL]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.rstrip("\n").isprintable()
    return captured.err


def codes(data: dict) -> list[str]:
    return [note["code"] for note in data["warnings"]]


def test_a_folder_is_counted_and_compared_with_its_headers(tmp_path, capsys):
    folder = repository(tmp_path / "model")
    data = answer(capsys, "--model", str(folder))
    assert data["total_parameters"] == inventory("llama").total_parameters and codes(data) == []
    write_tensors(folder, tensors_of("llama") | {"extra.weight": tensors_of("llama")["lm_head.weight"]})
    assert codes(answer(capsys, "--model", str(folder))) == ["model.stored_differs"]
    (folder / "model.safetensors").write_bytes(b"no header")
    assert codes(answer(capsys, "--model", str(folder))) == ["model.headers_unread"]


def test_a_folder_that_needs_code_is_counted_from_its_headers(tmp_path, capsys):
    folder = repository(tmp_path / "model", **{key: REMOTE[key] for key in ("model_type", "auto_map")})
    data = answer(capsys, "--model", str(folder))
    assert data["total_parameters"] == inventory("llama").total_parameters
    assert codes(data) == ["model.from_headers", "model.code_ignored", "model.unbuildable", "estimator.approximate"]


def test_a_pasted_config_needs_no_name(tmp_path, capsys, monkeypatch):
    folder = write_config(tmp_path, CONFIGS["llama"])
    from_file = answer(capsys, "--config", str(folder / "config.json"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(CONFIGS["llama"]).encode())))
    from_stdin = answer(capsys, "--config", "-", "--model", "my/own")
    assert from_file == from_stdin and from_file["total_parameters"] == inventory("llama").total_parameters
    assert model_from_config(CONFIGS["llama"], "my/own").id == "my/own"


@pytest.mark.parametrize(
    ("changed", "code", "value"),
    [
        ({"auto_map": {"AutoModel": "evil.Evil"}}, "model.code_ignored", "auto_map"),
        ({"attn_implementation": "org/kernel"}, "model.code_ignored", "attn_implementation"),
        ({"kernel_config": {"kernel": "org/kernel"}}, "model.code_ignored", "kernel_config"),
    ],
)
def test_what_asks_for_code_or_kernels_is_ignored_and_said(changed, code, value, tmp_path, capsys):
    data = answer(capsys, "--config", str(write_config(tmp_path, CONFIGS["llama"] | changed)))
    assert data["total_parameters"] == inventory("llama").total_parameters
    assert [(note["code"], note["params"]["value"]) for note in data["warnings"]] == [(code, value)]


def test_kernels_named_inside_a_part_are_ignored_too():
    from estimator.model.spec import without_code

    config = {
        "model_type": "x",
        "text_config": {"hidden_size": 8, "_attn_implementation": "org/kernel", "auto_map": {}},
        "parts": [{"auto_map": 1}],
    }
    assert without_code(config) == {"model_type": "x", "text_config": {"hidden_size": 8}, "parts": [{}]}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", ("model:", "config.json", "not valid JSON")),
        ("[1]", ("config.json:", "list")),
        ("{}", ("config.json:", "model_type")),
        ('{"model_type": "llama"}', ("hidden_size",)),
        (CONFIGS["llama"] | {"hidden_size": "6\n4\x1b[31m"}, ("hidden_size", "a whole number")),
        (CONFIGS["llama"] | {"hidden_size": -1}, ("hidden_size", "-1", "1 to 262,144")),
        (CONFIGS["llama"] | {"num_hidden_layers": 10**12}, ("num_hidden_layers", "1,000,000,000,000", "1 to 2,048")),
        (CONFIGS["llama"] | {"hidden_size": 1e999}, ("hidden_size", "a whole number")),
        (
            CONFIGS["llama"] | {"head_dim": None, "num_attention_heads": 7, "num_key_value_heads": 7},
            ("hidden_size", "64", "num_attention_heads 7"),
        ),
        (CONFIGS["llama"] | {"qk_rope_head_dim": "x", "head_dim": None}, ("qk_rope_head_dim", "x")),
        (
            CONFIGS["llama"] | {"vision_config": {"num_hidden_layers": 10**9}},
            ("num_hidden_layers", "1000000000", "8,192"),
        ),
        (CONFIGS["llama"] | {"rope_parameters": "none"}, ("llama",)),
        (CONFIGS["llama"] | {"model_type": "no\nsuch"}, ("no such", "safetensors")),
        (REMOTE, ("homemade", "safetensors")),
    ],
)
def test_a_bad_config_is_one_line(config, words, tmp_path, capsys):
    line = said(capsys, "--config", str(write_config(tmp_path, config)))
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    "words",
    [
        ("--config", "nowhere.json"),
        ("--config", "/"),
        ("--config", ""),
        ("--model", "~nobody-here/x"),
        ("--model", "x" * 5000),
        ("--model", "a\0b"),
        ("--model", "./org/name"),
    ],
)
def test_what_is_not_there_is_one_line(words, capsys):
    assert "model:" in said(capsys, *words)


def test_a_folder_without_a_config_is_one_line(tmp_path, capsys):
    assert "config.json" in said(capsys, "--model", str(tmp_path))


def test_packed_weights_of_a_model_that_needs_code_are_refused(tmp_path, capsys):
    import torch

    folder = write_tensors(
        write_config(tmp_path, REMOTE),
        {"model.layers.0.mlp.up_proj.qweight": torch.zeros(96, 64, dtype=torch.int32), **tensors_of("llama")},
    )
    line = said(capsys, "--model", str(folder))
    assert "homemade" in line and "I32" in line


# The rest asks in a process of its own: huggingface_hub reads its switch and its address when it is imported.
def environment(home: Path, url: str) -> dict[str, str]:
    hub = {"HF_ENDPOINT": url, "MODELSCOPE_DOMAIN": url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home / "hf")}
    return os.environ | hub | {"LORA_STUDIO_HOME": str(home)}


def ended(command: list[str], home: Path, url: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    pipes = {"input": stdin, "capture_output": True, "text": True}
    return subprocess.run([sys.executable, *command], env=environment(home, url), **pipes, cwd=ROOT, timeout=120)


def command(home: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    return ended(["-m", "tests.warm.command", "estimate", *words, *SMALL], home, url)


def light(home: Path, url: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Where torch is not installed."""
    run = "import sys; sys.modules['torch'] = None; from estimator.cli.cli import main; sys.exit(main(sys.argv[1:]))"
    return ended(["-c", run, *words, *SMALL], home, url, stdin)


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
def test_a_hub_id_is_fetched_and_known_from_then_on(prefix, tmp_path):
    with hubs.hub({"org/model": repository(tmp_path / "repo")}) as server:
        first = command(tmp_path / "home", server.url, "--model", f"{prefix}org/model")
    assert first.returncode == 0, first.stderr
    again = light(tmp_path / "home", "http://127.0.0.1:9", "--model", f"{prefix}org/model")
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")
    assert json.loads(first.stdout)["total_parameters"] == inventory("llama").total_parameters


def test_without_torch_it_says_what_to_install(tmp_path):
    with hubs.hub({"org/model": repository(tmp_path / "repo")}) as server:
        done = light(tmp_path / "home", server.url, "--model", "org/model")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "org/model" in done.stderr and "train extra" in done.stderr
    done = light(tmp_path / "home", server.url, "--config", "-", stdin=json.dumps(CONFIGS["llama"]))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "train extra" in done.stderr


BOTH = """
import json, sys
from pathlib import Path
from tests import processors
processors.in_this_process(sys.argv[1])
from estimator.cli.cli import main
for config, wanted in zip(sys.argv[2:4], (2, 0), strict=True):
    status = main(["--config", config, *sys.argv[4:]])
    print("", file=sys.stderr)  # an empty line between what either says
    assert status == wanted, status
"""


@pytest.mark.parametrize("processor", processors.KINDS)
def test_warnings_of_transformers_add_no_lines(processor, tmp_path):
    """A refusal is one line and an answer none, in a process that imports all of it meanwhile."""
    files, config = [], CONFIGS["llama"] | {"eos_token_id": 10**6, "intermediate_size": 1}
    for name, changed in (("refused", {"rope_parameters": "none"}), ("answered", {})):
        files.append(str(write_config(tmp_path / name, config | changed) / "config.json"))
    done = ended(["-c", BOTH, processor, *files, *SMALL], tmp_path / "home", "http://127.0.0.1:9")
    assert done.returncode == 0 and json.loads(done.stdout), done.stderr
    refusal, *empty = done.stderr.split("\n")
    assert refusal.startswith("lora-studio estimate: ") and empty == ["", "", ""], done.stderr


@pytest.mark.parametrize(
    "name", ["org/gone", "org/gated", "org/private", "org/gguf", "modelscope:org/gone", "modelscope:org/gguf"]
)
def test_what_a_hub_refuses_is_one_line(name, tmp_path):
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "model.gguf").write_bytes(b"GGUF")
    with hubs.hub({"org/gated": "gated", "org/private": "private", "org/gguf": tmp_path / "gguf"}) as server:
        done = command(tmp_path / "home", server.url, "--model", name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("lora-studio estimate: model: " + name)


def test_no_network_and_offline_are_one_line(tmp_path, capsys):
    done = command(tmp_path / "home", "http://127.0.0.1:9", "--model", "org/model")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "cannot be asked" in done.stderr
    assert "HF_HUB_OFFLINE" in said(capsys, "--model", "org/model")
