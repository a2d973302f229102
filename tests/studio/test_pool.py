"""One person's slow request, or one that ends its worker, is nobody else's."""

from __future__ import annotations

import concurrent.futures

import pytest

from estimator.core.problems import Problem
from studio.protocol.client import Worker, last
from studio.protocol.pool import Pool
from studio.space import Space

MODULE = "tests.studio.sleepy_worker"


@pytest.fixture
def pool(home):
    made = Pool("sleepy", MODULE, 2, Space.default())
    yield made
    made.stop()


def test_a_request_at_work_does_not_hold_up_another_and_one_base_has_one_worker(pool, tmp_path):
    file = tmp_path / "go"
    slow = pool.stream("preview", model="a", file=str(file))
    first = next(slow)["pid"]
    other = pool.call("echo")["pid"]
    assert other != first == pool.pid
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        same_base = threads.submit(pool.call, "preview", model="a", file=str(file))
        assert pool.call("echo")["pid"] == other
        assert not same_base.done()
        file.touch()
        assert same_base.result(30)["pid"] == first == last(slow)["pid"]


def test_some_methods_have_workers_of_their_own(pool, home, tmp_path):
    file = tmp_path / "go"
    whole = Pool("whole", MODULE, 1, Space.default(), {"echo": pool})
    slow = whole.stream("wait", file=str(file))
    first = next(slow)["pid"]
    assert whole.call("echo")["pid"] == pool.pid != first == whole.pid
    file.touch()
    last(slow)
    whole.stop()
    assert pool.pid is None


def test_a_request_that_waited_at_a_worker_that_died_begins_in_its_successor(home, tmp_path):
    worker, file = Worker("sleepy", MODULE, Space.default()), tmp_path / "go"
    deadly = worker.stream("wait", file=str(file), dies=True)
    first = next(deadly)["pid"]
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(worker.call, "echo", text="mine")
        while len(worker._waiting) < 2:
            pass
        file.touch()
        with pytest.raises(Problem) as caught:
            last(deadly)
        assert caught.value.code == "worker.gone" and caught.value.params["status"] == 3
        answer = waiting.result(30)
    assert answer["text"] == "mine" and answer["pid"] != first
    assert (
        worker.call("echo", text="a\ud800b")["text"] == "a?b"
    )  # half a character neither ends the worker nor reaches a page
    worker.stop()


def test_a_request_that_was_cancelled_while_it_waited_is_not_begun(home, tmp_path):
    worker, file = Worker("sleepy", MODULE, Space.default()), tmp_path / "go"
    slow = worker.stream("wait", file=str(file))
    next(slow)
    with pytest.raises(Problem) as caught:
        worker.call("wait", within_seconds=0.1, file=str(tmp_path / "never"))
    assert caught.value.code == "worker.late"
    file.touch()
    last(slow)
    assert worker.call("echo", text="on")["text"] == "on"
    worker.stop()
