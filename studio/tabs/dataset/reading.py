"""Work of a worker that a page waits for: followed, told of, cancelled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from estimator.core.problems import Problem
from studio.tabs.dataset.words import reading

BEAT_SECONDS = 0.25


class Reading:
    """Work that a page waits for: what the worker last said of each, and whether its reader wants it to end."""

    def __init__(self) -> None:
        self._at_work: dict[str | None, dict[str, Any]] = {}

    def begin(self, session: str | None, file: str) -> None:
        self._at_work[session] = {
            "file": file,
            "event": None,
            "cancelled": False,
            "phase": None,
            "since": 0.0,
            "from": 0.0,
        }

    def end(self, session: str | None) -> None:
        self._at_work.pop(session, None)

    def is_at_work(self, session: str | None) -> bool:
        return session in self._at_work

    def cancel(self, session: str | None) -> str | None:
        """The name of what is being ended; None where nothing is at work."""
        one = self._at_work.get(session)
        if one:
            one["cancelled"] = True
        return one and one["file"]

    def html(self, session: str | None, lang: str) -> str:
        one = self._at_work.get(session)
        return reading(lang, one["file"], one["event"], _seconds_left(one)) if one else ""

    def follow(self, session: str | None, stream: Iterator[Any], file: str) -> dict[str, Any]:
        """The worker's answer; closing the stream cancels the reading there. The stream beats (None) where the worker
        is silent, so that cancelling is heard whatever it is at."""
        if session not in self._at_work:  # asked for past the page
            self.begin(session, file)
        one = self._at_work[session]
        while True:
            try:
                event = next(stream)
            except StopIteration as stop:
                return stop.value
            if event:
                _take(one, event)
            if one["cancelled"]:
                stream.close()
                raise Problem("dataset.cancelled", file=file)


def _take(one: dict[str, Any], event: dict[str, Any]) -> None:
    """Keep an event, and when its phase began."""
    if event["phase"] != one["phase"]:
        one |= {"phase": event["phase"], "since": time.monotonic(), "from": event["share"] or 0.0}
    one["event"] = event


def _seconds_left(one: dict[str, Any]) -> float | None:
    """By the pace of the phase so far; None before there is one."""
    share = one["event"] and one["event"]["share"]
    done, seconds = (share or 0.0) - one["from"], time.monotonic() - one["since"]
    return (1 - share) * seconds / done if share and done > 0.02 and seconds > 1 else None
