"""Ask every estimator for every measured row, and print the table of the README.

The peers live in an environment of their own beside this one, made at the first call. They ask a hub for configs and
headers; a hub on loopback answers them from `presets/`, so a row's answer never depends on the network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from estimator.model.catalog import load_preset
from tests import hub
from tests.estimator.measured import SERIES, Row, rows
from tests.estimator.peers import shelf
from tests.estimator.peers.asking import CALLS
from tests.estimator.peers.table import Estimator, Said, markdown

ROOT = Path(__file__).parents[3]
ENVIRONMENT = ROOT / ".venv-peers"
# requirement (None: this project's own environment has it), script, what to know beside the figures
PEERS = {
    "fitcheck-llm": (
        "fitcheck-llm==0.3.1",
        "ask_fitcheck",
        "its terms for tensors, without overhead; the fitcheck-t4 runs are its own; timed with the config read",
    ),
    "accelerate estimate-memory": (
        None,
        "ask_accelerate",
        "its column for Adam, float16, whatever batch and sequence; timed with hub and meta build, which it repeats",
    ),
    "hf-mem": ("hf-mem==0.5.6", "ask_hf_mem", "timed with hub, which it repeats"),
}


def main() -> None:
    measured = rows()
    print(
        f"Peak allocated memory of {len(measured)} published runs (`presets/measurements/published.csv`); error is "
        f"estimate / measurement - 1:\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        repositories, about = shelf.fill(Path(folder), {row.recipe.model for row in measured})
        estimators = [ourselves(measured)]
        for name, (requirement, script, note) in PEERS.items():
            with hub.serve(repositories, about) as (url, asked):
                found = peer(name, requirement, script, measured, url)
                kinds = ", ".join(sorted({_kind(path, repositories) for path in asked}))
                estimators.append(replace(found, note=f"{note}; asks the hub for {kinds}"))
    print(markdown(estimators, SERIES))


def _kind(path: str, repositories: dict[str, Any]) -> str:
    model = next((id for id in repositories if id in path), "")
    return f"`{path.replace(model, '{model}')}`".replace(hub.COMMIT, "main")


def ourselves(measured: list[Row]) -> Estimator:
    """This project, timed as the peers are: the fastest of a few calls, so the model's inventory is read."""
    said = []
    for row in measured:
        seconds = []
        for _ in range(CALLS):
            start = time.perf_counter()
            allocated_bytes = row.estimate().peak_allocated_bytes
            seconds.append(time.perf_counter() - start)
        said.append(Said(row.id, 1000 * min(seconds), allocated_bytes / row.measured_bytes - 1))
    return Estimator(f"LoRA Studio {version('lora-studio')}", tuple(said), note="timed with the inventory read")


def peer(name: str, requirement: str | None, script: str, measured: list[Row], url: str) -> Estimator:
    try:
        python = environment(requirement) if requirement else Path(sys.executable)
        answers = ask(python, script, measured, url)
    except subprocess.CalledProcessError as failed:
        return Estimator(name, absent=(failed.stderr.strip().splitlines() or [f"exit code {failed.returncode}"])[-1])
    return Estimator(f"{name} {answers['version']}", tuple(_said(row, answers["answers"][row.id]) for row in measured))


def _said(row: Row, answer: dict[str, Any]) -> Said:
    allocated = answer.get("allocated_bytes")
    error = None if allocated is None else allocated / row.measured_bytes - 1
    return Said(row.id, answer["milliseconds"], error, answer.get("does_not_say", ""))


def environment(requirement: str) -> Path:
    """The interpreter of the peers' environment with `requirement` installed. Raises CalledProcessError with pip's
    words."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
    _run(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-c",
            "constraints.txt",
            requirement,
        ]
    )
    return python


def ask(python: Path, script: str, measured: list[Row], url: str) -> dict[str, Any]:
    """The answers of one peer. It sees the loopback hub only, an empty cache and nobody's token."""
    question = json.dumps({"rows": [_question(row) for row in measured]})
    with tempfile.TemporaryDirectory() as cache:
        hidden = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "PYTHONPATH")
        env = {key: value for key, value in os.environ.items() if key not in hidden}
        env |= {
            "HF_ENDPOINT": url,
            "HF_HOME": cache,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        return json.loads(_run([str(python), "-m", f"tests.estimator.peers.{script}"], input=question, env=env))


def _question(row: Row) -> dict[str, Any]:
    """The row's recipe, without targets that the model does not have: PEFT passes over them, a peer may refuse them."""
    fields = {"id": row.id} | row.recipe.to_dict()
    own = load_preset(row.recipe.model).inventory.leaf_names()
    if not isinstance(row.recipe.target_modules, str):
        fields["target_modules"] = [name for name in row.recipe.target_modules if name in own]
    return fields


def _run(command: list[str], **options: Any) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, **options).stdout


if __name__ == "__main__":
    main()
