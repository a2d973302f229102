"""Who answers last shows what all said: requests of one page overtake each other.

Each carries a number that its page counts up (`NUMBERED`), so that the newest is known whatever comes first. Whoever
arrives shows what the newest said; whoever was overtaken while at work shows nothing, for another is at it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

NUMBERED = "(number, ...inputs) => [lsNumber(), ...inputs]"
"""`js` of a listener whose first input is a hidden text box: what this box brings is the number."""
PICTURED = "(number, ...inputs) => [lsPictured(), ...inputs]"
"""The same of one that draws the picture: open panels are asked for at once, by a request of their own."""
PANELS = "(asked, ...inputs) => [lsOpenPanels(), ...inputs]"
"""`js` of that request: its box brings the names of the open panels and the number of the picture they belong to."""
MOST_DIGITS = 15
"""Of a number; a page never comes so far."""
NEWEST = "_newest"
"""In what a session keeps: its `Newest`."""
ANSWERED = "_answered"
"""And the highest number whose picture was answered."""
PATIENCE_SECONDS = 10.0
"""A picture that takes longer, or was never sent: what belongs to it no longer waits."""
MOST_WAITING = 32
"""Threads that wait so at a time, of all that the page has (`studio.web.app.THREADS`): numbers that nobody ever sends a
picture for, from whoever makes them up, do not stop the rest."""
_waiting = threading.BoundedSemaphore(MOST_WAITING)
_lock = threading.Lock()
_answers = threading.Condition(_lock)


@dataclass(frozen=True)
class Newest:
    """The highest number so far, what came with it, and how many have come."""

    number: int
    said: tuple[Any, ...]
    arrivals: int


def number_of(text: Any) -> int | None:
    """What a page counts; anyone may send anything instead (`int` raises for thousands of digits)."""
    return int(text) if str(text).isdecimal() and len(str(text)) <= MOST_DIGITS else None


def arrive(kept: dict[str, Any], number: Any, said: tuple[Any, ...], overtakes: bool = True) -> Newest:
    """Note what a request says; what the newest said is in the answer. One without a number counts as newest.

    With `overtakes=False` those at work go on: the request answers less than they do.
    """
    with _lock:
        last = kept.get(NEWEST) or Newest(0, said, 0)
        own = last.number if (sent := number_of(number)) is None else sent
        newest = (own, said) if own >= last.number else (last.number, last.said)
        kept[NEWEST] = Newest(*newest, last.arrivals + overtakes)
        return kept[NEWEST]


def is_overtaken(kept: dict[str, Any], arrived: Newest) -> bool:
    """Whether another request came since."""
    return kept[NEWEST].arrivals != arrived.arrivals


def answered(kept: dict[str, Any], number: Any) -> None:
    """The picture of this number is on its way to its page."""
    with _answers:
        kept[ANSWERED] = max(kept.get(ANSWERED, 0), number_of(number) or 0)
        _answers.notify_all()


def wait_for_picture(kept: dict[str, Any], number: Any, seconds: float = PATIENCE_SECONDS) -> None:
    """What the picture of this number is drawn of was kept with it, and its page gets it before all else. Where too
    many wait it goes on at once."""
    wanted = number_of(number) or 0
    if not _waiting.acquire(blocking=False):
        return
    try:
        with _answers:
            _answers.wait_for(lambda: kept.get(ANSWERED, 0) >= wanted, seconds)
    finally:
        _waiting.release()
