"""The page's half of the conversation with a worker: start it when first asked, restart it when it died.

Knows nothing of torch. The protocol stands in `studio.protocol.serve`.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio import shipped
from studio.space import Space

# Two OpenMP threads that spin on two busy cores run many times slower than two that sleep; threads that sleep at once
# take five times as long for the small products of adapters. A short spin (tens of microseconds) has neither fault.
QUIET_THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000"}


def worker_environment(space: Space) -> dict[str, str]:
    """The environment of every process that will import torch: its data lies in `space`."""
    quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"}
    ours = {"LORA_STUDIO_HOME": str(space.root), "PYTHONPATH": _python_path()}
    return {**QUIET_THREADS, **quiet, **os.environ, **ours}


def _python_path() -> str:
    """Workers find this package from any working directory, installed or not."""
    return os.pathsep.join(filter(None, [str(shipped.PACKAGE.parent), os.environ.get("PYTHONPATH")]))


def last(stream: Iterator[Any]) -> Any:
    """The result of a stream; its events are dropped."""
    while True:
        try:
            next(stream)
        except StopIteration as stop:
            return stop.value


class Worker:
    """One worker process, shared by all pages; requests from several threads are answered in turn.

    `module` is run as `python -m module`. Its stderr goes to `logs/<name>.log` of `space`.
    """

    def __init__(self, name: str, module: str, space: Space) -> None:
        self.name, self.module, self.space = name, module, space
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._waiting: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._ids = itertools.count(1)

    @property
    def log(self) -> Path:
        return self.space.logs / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self) -> None:
        """Start the process if it is not running; returns at once."""
        with self._lock:
            self._ensure()

    def stop(self) -> None:
        """End the process and give its memory back. Requests at work get a `worker.stopped` problem."""
        with self._lock:
            process, self._process = self._process, None
        if process and process.poll() is None:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def call(self, method: str, *, within_seconds: float | None = None, **params: Any) -> Any:
        """The result of a request; events are dropped. Raises the worker's `Problem`, and `worker.late` after so many
        seconds: the worker goes on, and what it keeps is there the next time."""
        return last(self.stream(method, within_seconds=within_seconds, **params))

    def stream(
        self, method: str, *, within_seconds: float | None = None, beat_seconds: float | None = None, **params: Any
    ) -> Generator[Any, None, Any]:
        """Yield a request's events; the generator's return value is the result. Closing it cancels the request.

        With `beat_seconds`, None comes whenever the worker has said nothing for so long: a moment to close it in.
        """
        until = None if within_seconds is None else time.monotonic() + within_seconds
        for last_try in (False, True):
            outcome = yield from self._ask(method, params, until, within_seconds, beat_seconds)
            if "gone" not in outcome or outcome["begun"] or last_try or self._process is None:
                return self._finish(outcome)
            # The worker died over someone else's request, and nobody stopped it: this one begins in its successor.

    def _ask(
        self,
        method: str,
        params: dict[str, Any],
        until: float | None,
        within_seconds: float | None,
        beat_seconds: float | None,
    ) -> Generator[Any, None, dict[str, Any]]:
        """Yield events; return the worker's last message on the request, and whether its turn had come (`begun`)."""
        id = next(self._ids)
        answers: queue.Queue[dict[str, Any]] = queue.Queue()
        process = self._send({"id": id, "method": method, "params": params}, id, answers)
        finished = begun = False
        try:
            while True:
                try:
                    message = answers.get(timeout=beat_seconds if until is None else max(0.0, until - time.monotonic()))
                except queue.Empty:
                    if until is None:
                        yield None
                        continue
                    raise Problem("worker.late", worker=self.name, seconds=round(within_seconds or 0)) from None
                if "event" in message:
                    yield message["event"]
                elif "begun" in message:
                    begun = True
                else:
                    finished = True
                    return {**message, "begun": begun}
        finally:
            self._waiting.pop(id, None)
            if not finished:
                self._cancel(process, id)

    def _finish(self, message: dict[str, Any]) -> Any:
        if "problem" in message:
            raise Problem.from_dict(message["problem"])
        if "crash" in message:
            with self.log.open("a", encoding="utf-8", errors="replace") as log:
                log.write(message["crash"])
            last_line = message["crash"].strip().splitlines()[-1]
            raise Problem("worker.crash", worker=self.name, reason=last_line, log=str(self.log))
        if "gone" in message:
            raise Problem("worker.gone", worker=self.name, status=message["gone"], log=str(self.log))
        return message["result"]

    def _send(self, message: dict[str, Any], id: int, answers: queue.Queue) -> subprocess.Popen[str]:
        with self._lock:
            process = self._ensure()
            self._waiting[id] = answers
            try:
                process.stdin.write(json.dumps(message) + "\n")
                process.stdin.flush()
            except (BrokenPipeError, ValueError):
                answers.put({"gone": process.poll()})
            return process

    def _cancel(self, process: subprocess.Popen[str], id: int) -> None:
        try:
            process.stdin.write(json.dumps({"cancel": id}) + "\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError, OSError):
            pass  # it has ended: nothing is left to cancel

    def _ensure(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self.space.logs.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", self.module],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    # no name of a model is a folder there: whose folders are read is decided by the page
                    cwd=self.space.logs,
                    text=True,
                    encoding="utf-8",
                    env=worker_environment(self.space),
                )
            threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        return self._process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout:
            message = json.loads(line)
            if answers := self._waiting.get(message.get("id")):
                answers.put(message)
        status = process.wait()
        if self._process in (process, None):  # a successor's requests are not ours to fail
            for answers in list(self._waiting.values()):
                answers.put({"gone": status})
