"""Words that should not be trained, found in texts and put behind a mask."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from studio.datasets.cleaning.parts import Part, parts, rewritten
from studio.datasets.cleaning.record import Asked, Verdict
from studio.datasets.forms import Row


@dataclass(frozen=True)
class Find:
    """`text[start:end]`, what it is (a reason of `dataset.reason_*`), and the mask for it."""

    start: int
    end: int
    reason: str
    mask: str


Finder = Callable[[str], Sequence[Find]]
"""Finds in the order of the text, none over another. What a mask says is never found again."""
_VALUE_BEFORE, _VALUE_AFTER = re.compile(r'"\s*:\s*$|[\[,]\s*$'), re.compile(r"\s*[,\]}]")
_SHOWN = 4


def judged(row: Row, asked: Asked, finder: Finder, roles: Sequence[str]) -> Verdict | None:
    """`warn`, `mask` or `drop`; a row in which a mask would break something is told and stays."""
    found: dict[str, str] = {}
    for part in parts(row):
        if part.role in roles:
            for one in finder(part.text):
                found.setdefault(one.reason, shortened(part.text[one.start : one.end]))
    if not found:
        return None
    said = [(reason, {"text": text}) for reason, text in found.items()]
    if asked.action == "drop":
        return Verdict(said, ())
    if asked.action != "mask":
        return Verdict(said)
    made = rewritten(row, lambda part: masked(part.text, finder) if _is_of(part, roles) else part.text)
    return Verdict([*said, ("left_alone", {})]) if made is None or made == row else Verdict(said, (made,))


def _is_of(part: Part, roles: Sequence[str]) -> bool:
    return part.role in roles


def masked(text: str, finder: Finder) -> str:
    """The text with a mask for each find. A number that is a value in JSON becomes a text there; where JSON would be
    none any more the text stays."""
    pieces, at = [], 0
    for one in finder(text):
        bare = text[one.start : one.end].isdigit() and _is_value(text, one)
        pieces += [text[at : one.start], f'"{one.mask}"' if bare else one.mask]
        at = one.end
    made = "".join([*pieces, text[at:]])
    return text if _is_json(text) and not _is_json(made) else made


def _is_value(text: str, one: Find) -> bool:
    before = text[max(0, one.start - 40) : one.start]
    return bool(_VALUE_BEFORE.search(before) and _VALUE_AFTER.match(text, one.end))


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def shortened(secret: str) -> str:
    """Its ends: enough to find it, too little to use it."""
    return secret if len(secret) <= 2 * _SHOWN else f"{secret[:_SHOWN]}…{secret[-2:]}"
