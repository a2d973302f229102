"""Each question answered once: what several pictures ask about one recipe is estimated for the first of them.

An answer follows from its question, from the laws at hand and from what was measured, and the last two change: so
answers are shared for as long as one look at a recipe takes, not for good.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any

MOST, SECONDS = 2048, 30.0


class Answers:
    """Of the last `seconds`, at most `most`; the oldest go first."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self.most, self.seconds = most, seconds
        self._made: dict[Hashable, tuple[float, Any]] = {}

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Within it `estimator.estimates.estimate` gives an answer again that is among these."""
        token = _shared.set(self)
        try:
            yield
        finally:
            _shared.reset(token)

    def clear(self) -> None:
        """Ask anew: a law came."""
        self._made.clear()

    def of(self, key: Hashable, make: Callable[[], Any]) -> Any:
        now, known = time.monotonic(), self._made.get(key)
        if known and now - known[0] < self.seconds:
            return known[1]
        made = make()
        self._made.pop(key, None)
        self._made[key] = now, made
        while len(self._made) > self.most:
            with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread does the same
                del self._made[next(iter(self._made))]
        return made


_shared: ContextVar[Answers | None] = ContextVar("answers", default=None)


def once(key: Callable[[], Hashable], make: Callable[[], Any]) -> Any:
    """What `make` gives, or gave before to the same `key` where answers are shared. Raises what it raises, each
    time."""
    answers = _shared.get()
    return answers.of(key(), make) if answers else make()
