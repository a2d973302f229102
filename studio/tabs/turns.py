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
NEWEST = "_newest"
"""In what a session keeps: its `Newest`."""
_lock = threading.Lock()


@dataclass(frozen=True)
class Newest:
    """The highest number so far, what came with it, and how many have come."""

    number: int
    said: tuple[Any, ...]
    arrivals: int


def arrive(kept: dict[str, Any], number: Any, said: tuple[Any, ...], overtakes: bool = True) -> Newest:
    """Note what a request says; what the newest said is in the answer. One without a number counts as newest.

    With `overtakes=False` those at work go on: the request answers less than they do.
    """
    with _lock:
        last = kept.get(NEWEST) or Newest(0, said, 0)
        own = int(number) if str(number).isdecimal() else last.number
        newest = (own, said) if own >= last.number else (last.number, last.said)
        kept[NEWEST] = Newest(*newest, last.arrivals + overtakes)
        return kept[NEWEST]


def is_overtaken(kept: dict[str, Any], arrived: Newest) -> bool:
    """Whether another request came since."""
    return kept[NEWEST].arrivals != arrived.arrivals
