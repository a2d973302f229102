"""The worker's half of the conversation with the page: JSON lines in on stdin, JSON lines out on stdout.

Request:  {"id": 7, "method": "preview", "params": {...}}      or  {"cancel": 7}
Answers:  {"id": 7, "begun": true} when its turn has come, {"id": 7, "event": {...}} any number of times, then one of
          {"id": 7, "result": ...}  {"id": 7, "problem": {"code", "params"}}  {"id": 7, "crash": "traceback"}

Requests are answered one after another in the main thread (models are not thread-safe); a reader thread sets the
`cancelled` flag of the request at work. When stdin closes, the page has gone and the worker exits: no memory stays
taken. Whatever libraries print goes to stderr, which the client keeps as the worker's log.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from estimator.core.problems import Problem
from studio.protocol.bounds import end_when_stuck

Handler = Callable[..., Any]


class Request:
    """One request at work; handlers that take long look at `cancelled` now and then, and may `tell` how far they
    are."""

    def __init__(self, id: int, tell: Callable[[dict[str, Any]], None] = lambda event: None) -> None:
        self.id, self.tell = id, tell
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        self._cancelled.set()


def serve(handlers: dict[str, Handler], ready: Callable[[], None] | None = None) -> None:
    """Answer until stdin closes.

    A handler is called as `handler(params, request)`; it returns a JSON-able result, or is a generator that yields
    events and returns the result. `ready` runs first (heavy imports, say), after which `{"ready": true}` is sent.
    """
    out = _claim_stdout()
    send = _sender(out)
    pending: queue.Queue[dict[str, Any] | None] = queue.Queue()
    open_requests: dict[int, Request] = {}
    threading.Thread(target=_read, args=(pending, open_requests), daemon=True).start()
    end_when_stuck()
    if ready:
        ready()
    send({"ready": True})
    while (message := pending.get()) is not None:
        request = open_requests[message["id"]]
        request.tell = functools.partial(_tell, send, request.id)
        send({"id": request.id, "begun": True})
        send({"id": request.id, **_answer(handlers, message, request)})
        open_requests.pop(request.id, None)
    os._exit(0)  # threads of torch or of a streamer must not keep a worker alive whose page has gone


def _tell(send: Callable[[dict[str, Any]], None], id: int, event: dict[str, Any]) -> None:
    send({"id": id, "event": event})


def _claim_stdout() -> Any:
    """Keep the real stdout for the protocol and send everyone else's printing to stderr."""
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return protocol


def _sender(out: Any) -> Callable[[dict[str, Any]], None]:
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with lock:
            out.write(json.dumps(message, ensure_ascii=False) + "\n")
            out.flush()

    return send


def _read(pending: queue.Queue[dict[str, Any] | None], open_requests: dict[int, Request]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "cancel" in message:
            if request := open_requests.get(message["cancel"]):
                request.cancel()
            continue
        open_requests[message["id"]] = Request(message["id"])
        pending.put(message)
    for request in list(open_requests.values()):
        request.cancel()
    pending.put(None)


def _answer(handlers: dict[str, Handler], message: dict[str, Any], request: Request) -> dict[str, Any]:
    try:
        if request.cancelled:  # while others were answered
            raise Problem("worker.cancelled")
        answer = handlers[message["method"]](message.get("params") or {}, request)
        if inspect.isgenerator(answer):
            answer = _drain(answer, request.tell)
        return {"result": answer}
    except Problem as problem:
        return {"problem": problem.to_dict()}
    except Exception:
        return {"crash": traceback.format_exc()}


def _drain(events: Iterator[Any], send_event: Callable[[Any], None]) -> Any:
    """Send every event of a generator; its return value is the result."""
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            return stop.value
        send_event(event)
