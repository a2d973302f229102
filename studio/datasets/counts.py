"""What became of the rows of a file: one record, from which page, command and run tell their figures, so that they add
up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.datasets.store import DatasetInfo


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Rows. Every row that was read is kept, left out for one reason, or joined to a row that is kept."""

    train: int
    eval: int
    test: int = 0
    reasons: dict[str, int]
    """Rows left out, by reason."""
    joined: int = 0
    """Messages, a row each in the file, that stand in a kept conversation beside the one that gives it its number."""
    exact: bool = True
    """False where the lengths of a sample stand for all."""

    @property
    def kept(self) -> int:
        return self.train + self.eval + self.test

    @property
    def dropped(self) -> int:
        return sum(self.reasons.values())

    @property
    def read(self) -> int:
        return self.kept + self.dropped + self.joined


def of_file(info: DatasetInfo) -> Counts:
    """As the file was read, whatever its rows' lengths."""
    joined = max(0, info.read - info.kept - info.dropped)
    reasons = dict(info.reasons)
    return Counts(train=info.train_rows, eval=info.eval_rows, test=info.test_rows, reasons=reasons, joined=joined)


def of_preview(info: DatasetInfo, seen: dict[str, Any] | None) -> Counts:
    """As a base's template and tokens leave them; `seen` is the data worker's `preview`, with `splits`: for each
    split the rows `of` it, those `measured`, and of these the ones left out by `reasons`."""
    counts = of_file(info)
    if not seen:
        return counts
    reasons, kept, exact = dict(counts.reasons), {}, True
    for name, split in seen["splits"].items():
        lost = scaled(split["reasons"], split["measured"], split["of"])
        kept[name] = split["of"] - sum(lost.values())
        exact &= split["measured"] == split["of"]
        for reason, rows in lost.items():
            reasons[reason] = reasons.get(reason, 0) + rows
    train, held, test = (kept.get(name, 0) for name in ("train", "eval", "test"))
    return Counts(train=train, eval=held, test=test, reasons=reasons, joined=counts.joined, exact=exact)


def scaled(reasons: dict[str, int], measured: int, of: int) -> dict[str, int]:
    """Counts of a sample as counts of all; their sum is that of the sample, scaled and rounded, and never more than
    `of`."""
    if not measured or measured == of:
        return dict(reasons)
    shares = {reason: rows * of / measured for reason, rows in reasons.items()}
    made = {reason: int(share) for reason, share in shares.items()}
    missing = min(of, round(sum(reasons.values()) * of / measured)) - sum(made.values())
    for reason in sorted(shares, key=lambda one: made[one] - shares[one])[:missing]:
        made[reason] += 1
    return made
