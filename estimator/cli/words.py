"""Words and lines that several commands share, in the language spoken (`problems.spoken_in`)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from estimator.core.problems import TEMPLATES, say
from estimator.core.units import human_bytes
from estimator.estimates.estimate import Estimate
from estimator.estimates.peaks import RUN, Peak


def word(name: str) -> str:
    """What a figure, a moment or a cost is called; its own name where no sentence has it."""
    return say(f"word.{name}") if f"word.{name}" in TEMPLATES else name.replace("_", " ")


def padded(text: str, columns: int, right: bool = False) -> str:
    """`text` in so many columns of a terminal, where a Chinese character takes two."""
    blank = " " * max(0, columns - sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text))
    return blank + text if right else text + blank


def row(cells: Sequence[str], columns: Sequence[int]) -> str:
    """A line of a table; a negative width stands to the right."""
    made = (padded(cell, abs(wide), right=wide < 0) for cell, wide in zip(cells, columns, strict=True))
    return "  ".join(made).rstrip()


def cards_of(made: Estimate) -> str:
    """The card, or so many of it and by which strategy."""
    if not made.parallel:
        return made.gpu or ""
    return f"{made.parallel.num_devices} x {made.gpu} ({made.parallel.distributed_type})"


def fits_word(made: Estimate) -> str:
    return say(f"cli.{'fits' if made.fits else 'misses'}{'_close' if made.is_close else ''}")


def verdict_line(made: Estimate) -> str:
    """Whether it fits, on which cards, and what will not afterwards. The memory of the card is known."""
    said = say(
        "cli.verdict_each" if made.parallel else "cli.verdict",
        cards=cards_of(made),
        verdict=fits_word(made),
        edge=human_bytes(made.edge_bytes),
        room=human_bytes(made.headroom_bytes),
    )
    return say("cli.semicolon").join(filter(None, (said, afterwards(made))))


def afterwards(made: Estimate) -> str:
    """What of a run that fits does not fit when it is over, with its size; empty where all does, or nothing is
    known of it."""
    missed = [f"{word(peak.name)} ({human_bytes(peak.device_bytes)})" for peak in missed_afterwards(made)]
    return say("cli.not_afterwards", moments=", ".join(missed)) if missed else ""


def missed_afterwards(made: Estimate) -> list[Peak]:
    if not made.fits:
        return []
    later = (peak for peak in made.peaks if peak.name not in RUN and peak.device_bytes and not peak.is_bound)
    return [peak for peak in later if peak.device_bytes > made.edge_bytes]
