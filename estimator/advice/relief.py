"""Giving back what is lost most of: a set of changes that fits, made milder at its worst by changes that cost less.

An RTX 3060 may take 1,024 tokens of 8,192 with the batch as it is, or a batch of one and 4,224 tokens: who reads loses
less by the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from estimator.advice import changes
from estimator.advice.changes import COSTS, Change
from estimator.advice.proposals import Proposal

if TYPE_CHECKING:
    from estimator.advice.advise import Judge

SCALES = {
    "batch": changes.smaller_batches,
    "length": changes.shorter_lengths,
    "rank": changes.lower_ranks,
    "devices": changes.more_devices,
}
"""Levers with many steps, each taking less memory than the one before."""
KEPT: dict[str, Callable[[dict[str, Any]], float]] = {
    "length": lambda values: values["max_length"],
    "rank": lambda values: values["r"],
    "devices": lambda values: 1 / values["num_processes"],
}
"""How much of what the reader wants a step keeps; of a batch nothing is lost, its rows are only taken in turns."""
WORTH = 1.1
"""A further change must give back a tenth at least: for less it is one change more to read."""


def mildest(judge: Judge, steps: Sequence[Change], beside: tuple[Change, ...] = ()) -> Change:
    """The first step that fits, `steps` taking ever less memory; the last where none does."""
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        proposal = judge.propose(*beside, steps[middle])
        low, high = (low, middle) if proposal and judge.is_enough(proposal.estimate) else (middle + 1, high)
    return steps[low]


def go_together(made: Sequence[Change]) -> bool:
    """Whether no two of them set the same field."""
    names = [name for change in made for name in change.values]
    return len(set(names)) == len(names)


def relieved(judge: Judge, found: Proposal, levers: Sequence[Change]) -> Proposal:
    """`found` with its worst change as mild as `levers` of milder kinds allow, those that give back most first; as
    it is where none
    gives back enough. Each change of the answer is needed."""
    worst = max(found.changes, key=lambda change: COSTS.index(change.cost))
    if worst.kind not in KEPT:
        return found
    beside, steps = [change for change in found.changes if change is not worst], SCALES[worst.kind](judge.recipe)
    for cost in COSTS[: COSTS.index(worst.cost)]:
        better = [_with(judge, lever, beside, worst, steps) for lever in levers if lever.cost == cost]
        for made in sorted(filter(None, better), key=lambda made: -_kept(made[-1])):
            again = _with(judge, made[0], beside, worst, steps)  # beside what was taken since
            if again:
                beside, worst = [*beside, again[0]], again[1]
    return _needed(judge, judge.propose(*beside, worst) or found)


def _with(
    judge: Judge, lever: Change, beside: list[Change], worst: Change, steps: Sequence[Change]
) -> tuple[Change, Change] | None:
    """(the lever, the worst change beside it), where that keeps enough more; None where it does not, or they set
    one field."""
    if not go_together([*beside, lever, worst]):
        return None
    milder = mildest(judge, steps, (*beside, lever))
    proposal = judge.propose(*beside, lever, milder)
    if not proposal or not judge.is_enough(proposal.estimate) or _kept(milder) < WORTH * _kept(worst):
        return None
    return lever, milder


def _kept(change: Change) -> float:
    return KEPT[change.kind](change.values)


def _needed(judge: Judge, found: Proposal) -> Proposal:
    """Without the changes that it fits without, and each batch as large as the others allow."""
    for change in sorted(found.changes, key=lambda change: -COSTS.index(change.cost)):
        others = tuple(other for other in found.changes if other is not change)
        fewer = judge.propose(*others) if others else None
        if fewer and judge.is_enough(fewer.estimate):
            found = fewer
        elif change.kind == "batch":
            larger = judge.propose(*others, mildest(judge, SCALES["batch"](judge.recipe), others))
            found = larger if larger and judge.is_enough(larger.estimate) else found
    return found
