"""What the scripts that question a peer share. They run in the peer's environment: standard library only.

A script reads `{"rows": [{"id": ..., every Recipe field}]}` and writes `{"version": ..., "answers": {id: Answer}}`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Hashable
from importlib.metadata import version
from typing import Any

CALLS = 3
Row = dict[str, Any]


class DoesNotSay(Exception):
    """The peer has no figure for a row, for the reason given in few words."""


def answer(package: str, ask: Callable[[Row], float], depends_on: Callable[[Row], Hashable]) -> None:
    """Put every row to `ask` (bytes of peak allocated memory, or DoesNotSay) and write the answers to standard output.

    Rows equal in `depends_on` are the same question to the peer and are asked once: `CALLS` times over, and the fastest
    counts, for which imports and caches are warm and other programs least in the way.
    """
    rows = json.load(sys.stdin)["rows"]
    asked: dict[Hashable, dict[str, Any]] = {}
    with contextlib.redirect_stdout(sys.stderr):  # peers print
        for row in rows:
            if depends_on(row) not in asked:
                said = [_timed(ask, row) for _ in range(CALLS)]
                asked[depends_on(row)] = min(said, key=lambda one: one["milliseconds"])
    answers = {row["id"]: asked[depends_on(row)] for row in rows}
    json.dump({"version": version(package), "answers": answers}, sys.stdout)


def _timed(ask: Callable[[Row], float], row: Row) -> dict[str, Any]:
    """An Answer: `allocated_bytes` or `does_not_say`, and `milliseconds`."""
    start = time.perf_counter()
    try:
        said = {"allocated_bytes": ask(row)}
    except DoesNotSay as reason:
        said = {"does_not_say": str(reason)}
    return said | {"milliseconds": 1000 * (time.perf_counter() - start)}
