"""Several workers of one kind, so that one person's slow request does not hold up another's."""

from __future__ import annotations

import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

from studio.protocol.client import Worker, last
from studio.space import Space

IDLE_SECONDS = 60.0
"""How long a worker beyond the first is kept warm."""


class Pool:
    """Asked like a `Worker`. A request goes to a worker at rest; while all are at work, to a new one, up to `size`;
    then it waits at the one that has least to do. Requests about one base wait for each other, so that a base which
    takes its time has one worker.
    """

    def __init__(self, name: str, module: str, size: int, space: Space, others: dict[str, Pool] | None = None) -> None:
        """`others`: pools that some methods go to instead."""
        self._name, self._module, self._size, self.space, self._others = name, module, size, space, others or {}
        self._lock = threading.Lock()
        self._workers = [Worker(name, module, space)]
        self._work: dict[Worker, list[Any]] = {self._workers[0]: []}

    @property
    def log(self) -> Path:
        return self._workers[0].log

    @property
    def pid(self) -> int | None:
        """Process id of the first, while it runs."""
        return self._workers[0].pid

    def start(self) -> None:
        self._workers[0].start()

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()
        for other in self._others.values():
            other.stop()

    def call(self, method: str, *, within_seconds: float | None = None, **params: Any) -> Any:
        return last(self.stream(method, within_seconds=within_seconds, **params))

    def stream(
        self, method: str, *, within_seconds: float | None = None, beat_seconds: float | None = None, **params: Any
    ) -> Generator[Any, None, Any]:
        if other := self._others.get(method):
            return (yield from other.stream(method, within_seconds=within_seconds, beat_seconds=beat_seconds, **params))
        about = params.get("model") if method == "preview" else object()
        worker = self._take(about)
        try:
            return (
                yield from worker.stream(method, within_seconds=within_seconds, beat_seconds=beat_seconds, **params)
            )
        finally:
            self._give(worker, about)

    def _take(self, about: Any) -> Worker:
        with self._lock:
            worker = next((one for one in self._workers if about in self._work[one]), None)
            worker = worker or min(self._workers, key=lambda one: len(self._work[one]))
            if self._work[worker] and about not in self._work[worker] and len(self._workers) < self._size:
                worker = Worker(f"{self._name}-{len(self._workers) + 1}", self._module, self.space)
                self._workers.append(worker)
                self._work[worker] = []
            self._work[worker].append(about)
            return worker

    def _give(self, worker: Worker, about: Any) -> None:
        with self._lock:
            self._work[worker].remove(about)
        if worker is not self._workers[0]:
            timer = threading.Timer(IDLE_SECONDS, self._end_idle, (worker,))
            timer.daemon = True
            timer.start()

    def _end_idle(self, worker: Worker) -> None:
        """Give a worker's memory back; it stays in the list, and starts anew when it is needed."""
        with self._lock:
            idle = not self._work[worker]
        if idle:
            worker.stop()
