"""A worker's stream that can be left at any moment, also while the worker is silent."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any


def with_ticks(stream: Iterator[Any], every_s: float) -> Generator[Any, None, Any]:
    """The events of `stream`, and None whenever none came for `every_s` seconds; returns the stream's result.

    Closing this generator returns at once; the request is cancelled when the worker next speaks. (Closing the worker's
    own stream would wait until then.)
    """
    came: queue.Queue[tuple[str, Any]] = queue.Queue()
    left = threading.Event()
    threading.Thread(target=_listen, args=(stream, came, left), daemon=True).start()
    try:
        while True:
            try:
                kind, value = came.get(timeout=every_s)
            except queue.Empty:
                yield None
                continue
            if kind == "result":
                return value
            if kind == "error":
                raise value
            yield value
    finally:
        left.set()


def _listen(stream: Iterator[Any], came: queue.Queue, left: threading.Event) -> None:
    with contextlib.closing(stream):
        while not left.is_set():
            try:
                came.put(("event", next(stream)))
            except StopIteration as stop:
                return came.put(("result", stop.value))
            except Exception as error:  # handed over: raised where the events are read
                return came.put(("error", error))
