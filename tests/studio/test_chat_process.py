"""The chat worker as a process of its own, spoken to as the page does."""

from __future__ import annotations

import time

import psutil
import pytest

from estimator.core.problems import Problem
from studio.protocol.client import Worker
from studio.space import Space
from tests.studio.chat_models import make_base, make_run

ASKED = {f"messages_{pane}": [{"role": "user", "content": "who are you"}] for pane in ("base", "adapter")}


@pytest.fixture
def worker(tmp_path):
    make_run(Space.default().runs, "run-1", make_base(tmp_path / "base"), name="keeper")
    worker = Worker("chat", "studio.workers.chat", Space.default())
    yield worker
    worker.stop()


def test_a_conversation_with_the_process(cold, worker):
    """One process for all of it: importing torch takes longer than everything that is tested here."""
    events = list(worker.stream("generate", run_id="run-1", max_new_tokens=24, **ASKED))
    kinds = [next(iter(event)) for event in events]
    assert kinds[:3] == ["loading", "loaded", "answering"] and set(kinds[3:]) == {"panes"}
    assert set(events[3]["panes"]) == {"base", "adapter"}  # both from the first event on

    stream = worker.stream("generate", run_id="run-1", max_new_tokens=480, **ASKED)
    while "panes" not in next(stream):
        pass
    stream.close()
    started = time.monotonic()
    result = worker.call("generate", run_id="run-1", max_new_tokens=4, **ASKED)  # waits for the one that was left
    assert time.monotonic() - started < 10 and result["panes"]["adapter"]["tokens"] == 4
    assert result["load_seconds"] == 0

    with pytest.raises(Problem) as caught:
        worker.call("generate", run_id="run-1", max_new_tokens=4000, **ASKED)
    assert caught.value.code == "chat.context" and caught.value.params["allowed"] < 512
    assert worker.call("status")["adapters"] == ["run-1"]
    assert worker.call("unload") == {"loaded": False}

    pid = worker.pid
    worker.stop()
    assert not psutil.pid_exists(pid)  # the memory is given back with the process
