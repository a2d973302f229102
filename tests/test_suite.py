"""What the suite says of itself: marks that hold, and warm starts that are starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import kinds, spent, warm

COMMAND = [sys.executable, "-m", "tests.warm.command"]
# Reads its standard input, so that it is there until somebody ends it.
WAITS = [*COMMAND, "estimate", "--config", "-"]


def started(words: list[str], **options: object) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, text=True, **pipes, **options)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import json", set()),
        ("def test():\n    import torch.nn", {"torch"}),
        ('torch = pytest.importorskip("torch")', {"torch"}),
        ("from estimator.trace import fit", {"torch"}),
        ("from estimator import trace", {"torch"}),
        ("from studio.inference.sampling import limits", set()),
        ("import subprocess", {"process"}),
        ("from tests.studio.run_helpers import until", {"process"}),
        ("from tests.chromium import launch", {"browser", "process"}),
    ],
)
def test_the_kinds_of_a_file_are_what_it_imports(source, found, tmp_path):
    file = tmp_path / "test_any.py"
    file.write_text(source)
    assert kinds.kinds_of(file) == found


def test_a_fast_test_that_starts_a_process_or_imports_torch_is_noticed():
    with kinds.Watch() as seen:
        import json  # noqa: F401
    assert seen == set()
    with kinds.Watch() as seen:
        subprocess.run([sys.executable, "-I", "-c", ""], check=True)
    assert seen == {"starts a process"}
    with kinds.Watch() as seen:
        import torch  # noqa: F401
    assert seen == {"imports torch"}


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no warm starts here")
def test_a_born_process_has_what_it_was_given_and_its_status_comes_back(tmp_path):
    environment = os.environ | {"LORA_STUDIO_HOME": str(tmp_path / "home")}
    said = []
    for warm_starts in (True, False):
        if not warm_starts:
            del environment["WARM_STARTS"]
        process = started([*COMMAND, "estimate", "--config", "config.json"], cwd=tmp_path, env=environment)
        said.append((*process.communicate(), process.returncode))
    assert said[0] == said[1] and said[0][2] == 2 and "config.json" in said[0][1]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no warm starts here")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_to_who_stands_in_ends_the_born_process(sent):
    """Its end of the pipe closes with it, as every descriptor that it was handed."""
    process = started(WAITS)
    handed_over = Path(f"/proc/{process.pid}/fd/0")
    deadline = time.monotonic() + 120
    while handed_over.readlink() != Path(os.devnull) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None and handed_over.readlink() == Path(os.devnull)
    process.send_signal(sent)
    assert process.wait() == -sent
    assert process.stdout.read() == ""  # nobody holds the other end any more


def test_cold_starts_are_ordinary_ones():
    with warm.cold_starts():
        assert "WARM_STARTS" not in os.environ


def test_what_is_said_of_files_is_said_of_files_that_are_there():
    for name in (*spent.BUDGETS_S, *kinds.HIDDEN):
        file, _, test = name.partition("::")
        source = (kinds.ROOT / file).read_text()
        assert f"def {test}(" in source if test else source, name
