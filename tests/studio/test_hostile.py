"""One page, many people, some of them hostile: whatever is sent to any function, and however long others wait, the rest
answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import anyio
import gradio as gr
import httpx
import pytest
from gradio.state_holder import SessionState
from starlette.requests import Request

from estimator.core.problems import Problem
from studio import services
from studio.space import Space
from studio.tabs import LONG
from studio.web import app
from tests.serving import free_port

PAYLOADS = {
    "nothing": None, "a whole number": 7, "a truth value": True, "a word": "x", "a large text": "x" * 200_000,
    "a list": [], "lists in lists": [[[[[[]]]]]], "an object": {"a": 1}, "no number": float("nan"),
    "below nothing": -1, "a huge number": 10**400, "a large number": 1e308, "half a pair": "a\ud800b",
    "half a pair, quoted": '"\\ud800"', "a way out": "../../../etc/passwd", "a path": "/etc/passwd",
    "markup": "<img src=x onerror=alert(1)>", "a file elsewhere": {"path": "/etc/passwd",
        "meta": {"_type": "gradio.FileData"}}, "an update": {"__type__": "update", "value": 1},
}  # fmt: skip


class GoneWorker:
    """A worker that is not there; it keeps what it was asked."""

    pid = None

    def __init__(self, name: str, module: str, space: Space) -> None:
        self.name = name
        self.asked: list[dict] = []

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def call(self, method: str, **params) -> None:
        self.asked.append(params)
        raise Problem("worker.gone", worker=self.name, status=1, log="log")

    def stream(self, method: str, **params) -> Iterator[None]:
        self.call(method, **params)
        yield


@pytest.fixture(scope="module")
def built() -> SimpleNamespace:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "Worker", GoneWorker)
        page, shared = app.build(Space.default())
    return SimpleNamespace(page=page, shared=shared)


def request() -> gr.Request:
    headers = [(b"host", b"localhost:7860")]
    return gr.Request(
        Request(
            {
                "type": "http",
                "method": "POST",
                "path": "/",
                "headers": headers,
                "query_string": b"",
                "client": ("127.0.0.1", 1),
            }
        ),
        session_hash="s",
    )


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_every_function_answers_or_refuses_whatever_it_is_given(built, payload):
    """A crash is neither: only `gr.Error` is a refusal. What is answered can be encoded, and holds nothing of a file
    outside."""
    state, same, crashes = SessionState(built.page), {}, []

    async def ask(function) -> None:
        try:
            inputs = [payload] * len(function.inputs)
            said = await built.page.process_api(
                function,
                inputs,
                state=state,
                request=request(),
                session_hash="s",
                event_data=gr.EventData(None, payload),
            )
            assert (
                "root:" not in json.dumps(said["data"], ensure_ascii=False, default=str).encode().decode()
            )  # of /etc/passwd
        except gr.Error as refusal:
            f"{refusal.message}{refusal.title}".encode()
        except Exception as crash:  # noqa: BLE001
            crashes.append(f"{function.name}: {type(crash).__name__}: {crash}")

    async def ask_all() -> None:
        for function in built.page.fns.values():
            key = (
                getattr(function.fn, "__code__", None),
                len(function.inputs),
            )  # listeners that differ only in what they listen to
            if function.fn and same.setdefault(key, function) is function:
                await ask(function)

    anyio.run(ask_all)
    assert not crashes


def test_too_few_values_are_refused_in_the_pages_language(built):
    function = next(one for one in built.page.fns.values() if len(one.inputs) > 3)
    chinese = request()
    chinese.request.scope["query_string"] = b"lang=zh-CN"
    with pytest.raises(gr.Error, match="与对应的控件不符"):
        anyio.run(lambda: built.page.process_api(function, [], state=SessionState(built.page), request=chinese))


def test_every_kind_of_long_call_is_limited_far_below_all_threads(built):
    found = {one.concurrency_id: one.concurrency_limit for one in built.page.fns.values() if one.concurrency_id in LONG}
    assert found == LONG and sum(LONG.values()) < app.THREADS / 2


def test_only_the_estimate_is_asked_for_at_each_load_of_the_page(built):
    """Other tabs ask when they are come to: what runs at the load is waited for, and slows each later event."""
    asked = [one for one in built.page.fns.values() if one.fn and any(event == "load" for _, event in one.targets)]
    form = {part._id for part in built.page.blocks.values() if str(part.elem_id).startswith("estimate-")}
    of_others = [one for one in asked if not form & {part._id for part in one.outputs}]
    assert [one.name for one in of_others] == ["open_run"]


def test_a_handler_that_shows_no_progress_names_no_component_for_it(built):
    quiet = [one for one in built.page.fns.values() if one.show_progress == "hidden"]
    assert len(quiet) > 50 and all(one.show_progress_on == [] for one in quiet)


@pytest.fixture
def served() -> Iterator[SimpleNamespace]:
    """A page on a port of this process whose long calls wait until `release` is set."""
    release = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "Worker", GoneWorker)
        page, _ = app.build(Space.default())
    for function in page.fns.values():
        if function.concurrency_id in LONG:
            function.fn = _waiting_for(release, len(function.outputs))
    port = free_port()
    app.serve(page, "127.0.0.1", port, prevent_thread_lock=True)
    with httpx.Client(timeout=60) as client:
        yield SimpleNamespace(page=page, url=f"http://127.0.0.1:{port}/gradio_api", release=release, client=client)
    release.set()
    page.close()


def _waiting_for(release: threading.Event, outputs: int):
    def wait(*_):
        release.wait(120)
        return [gr.skip()] * outputs if outputs > 1 else gr.skip()

    return wait


def join(served: SimpleNamespace, session: str, number: int, data: list) -> str:
    body = json.dumps({"data": data, "fn_index": number, "session_hash": session})
    return (
        served.client.post(f"{served.url}/queue/join", content=body, headers={"content-type": "application/json"})
        .raise_for_status()
        .json()["event_id"]
    )


def completed(served: SimpleNamespace, session: str, wanted: set[str]) -> dict[str, dict]:
    """The last message of each event, from the session's own stream."""
    done: dict[str, dict] = {}
    with served.client.stream("GET", f"{served.url}/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line else {}
            if message.get("msg") == "process_completed":
                done[message["event_id"]] = message
            if wanted <= set(done):
                return done
    raise AssertionError(f"the stream ended; without an answer: {wanted - set(done)}")


def test_while_long_calls_of_every_kind_wait_everything_else_answers(served):
    slow = [(number, one) for number, one in served.page.fns.items() if one.concurrency_id in LONG]
    for n in range(app.THREADS + 8):  # without limits they would take every thread
        number, function = slow[n % len(slow)]
        join(served, f"slow{n % 3}", number, [None] * len(function.inputs))
    quick = {
        number: one
        for number, one in served.page.fns.items()
        if one.fn and one.queue and one.concurrency_id not in LONG
    }
    events = {join(served, "quick", number, [None] * len(one.inputs)) for number, one in quick.items()}
    assert len(completed(served, "quick", events)) == len(quick) > 20
    assert not served.release.is_set()


def test_half_a_pair_does_not_end_the_stream_of_events(served):
    number, look = next(
        (n, one)
        for n, one in served.page.fns.items()
        if one.queue and one.fn and one.concurrency_id not in LONG and one.inputs
    )
    first = join(served, "one", number, ["\ud800"] * len(look.inputs))
    look.fn = lambda *_: "\ud800" if len(look.outputs) == 1 else ["\ud800"] * len(look.outputs)  # as of a file's row
    second = join(served, "one", number, [None] * len(look.inputs))
    assert set(completed(served, "one", {first, second})) == {first, second}
