"""One prompt on its way: the chat worker's events grow a turn, and a sentence says what is happening meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from estimator.core.problems import Problem
from studio.i18n import t
from studio.inference.conversation import PANES, Turn, grow, new_answer
from studio.protocol.client import Worker
from studio.tabs.streaming import with_ticks
from studio.widgets.panes import short_name

TICK_SECONDS = 0.25


class Answering:
    """`statuses` yields a sentence at every event, after having changed `turn`.

    Once `stop` is set it returns at the next event or tick, and the worker stops at its next token.
    """

    def __init__(self, worker: Worker, params: dict[str, Any], turn: Turn, stop: threading.Event) -> None:
        self._worker, self._params, self._turn, self._stop = worker, params, turn, stop
        self._since = time.monotonic()
        self._loading: dict[str, Any] | None = None
        self._loaded_s = 0.0

    def statuses(self, lang: str) -> Iterator[str]:
        """Raises the worker's `Problem`; what was said before it stays in the turn, as interrupted."""
        with contextlib.closing(with_ticks(self._worker.stream("generate", **self._params), TICK_SECONDS)) as events:
            while not self._stop.is_set():
                try:
                    event = next(events)
                except StopIteration as done:
                    yield self._finish(lang, done.value)
                    return
                except Problem:
                    self._close("interrupted")
                    raise
                self._take(event or {})
                yield self._status(lang)
        self._close("stopped")
        yield ""

    def _take(self, event: dict[str, Any]) -> None:
        if "loading" in event:
            self._loading, self._since = event["loading"], time.monotonic()
        if "loaded" in event:
            self._loading, self._loaded_s = None, event["loaded"]["seconds"]
        if "answering" in event:
            self._turn["mode"] = event["answering"]["mode"]
            self._turn |= {pane: new_answer(label) for pane, label in event["answering"]["panes"].items()}
        for pane, progress in event.get("panes", {}).items():
            grow(self._turn[pane], progress)

    def _status(self, lang: str) -> str:
        seconds = int(time.monotonic() - self._since)
        if self._loading:
            key = "chat.loading_run" if self._loading["run"] else "chat.loading_base"
            return t(lang, key, **{**self._loading, "model": short_name(self._loading["model"])}, seconds=seconds)
        if self._turn["mode"]:
            return self._loaded(lang) + t(lang, "chat.answering")
        return t(lang, "chat.starting", seconds=seconds) if seconds else ""

    def _finish(self, lang: str, result: dict[str, Any]) -> str:
        """The worker's last word on each pane replaces what was put together from events."""
        for pane, answer in result["panes"].items():
            self._turn[pane] |= {key: answer[key] for key in ("text", "tokens", "tokens_per_second", "stop")}
        return self._loaded(lang) + t(lang, f"chat.mode_{result['mode']}")

    def _loaded(self, lang: str) -> str:
        return t(lang, "chat.loaded", seconds=f"{self._loaded_s:.1f}") + " " if self._loaded_s else ""

    def _close(self, reason: str) -> None:
        """End what still grows; an answer that never began is none."""
        for pane in PANES:
            answer = self._turn[pane]
            if answer and not answer["tokens"]:
                self._turn[pane] = None
            elif answer and not answer["stop"]:
                answer["stop"] = reason
