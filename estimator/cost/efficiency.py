"""Which share of its rated speed a card reaches in real fine-tunes: `presets/efficiency.csv`, made by `python -m
estimator.make.efficiency`.

Every row is a published or a measured run with its source. The command traces that run's step, lets it run at the
card's rated speed (`estimator.cost.roofline`) and divides by what was measured. Nothing is fitted: the figure used is
the median of the card's own rows, else of its family's, else of all; the range is the lowest and highest of its family
where one of the rows is its own, else of all. Shares above 1 are real: large caches spare traffic that is counted, and
some makers rate their cards below what they reach. Runs of `make gpu-proof` join the table by the same rule. Only the
command imports torch.
"""

from __future__ import annotations

import csv
import functools
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.hardware.cards import Gpu, find_gpu
from estimator.model.catalog import presets_dir
from estimator.recipe.recipe import FIELDS, Recipe

WHOLE_NUMBERS = ("r", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length")


BASES = ("card", "family", "rated")
"""What the likely speed stands on: runs on this card; on cards of its family; on other cards alone, beside its rated
speed."""


@dataclass(frozen=True)
class Efficiency:
    """Share of the rated speed: central, lowest and highest of `runs` runs on `cards`.

    `basis` says of which of them the central share is the median (BASES), `basis_runs` of how many and `basis_cards` on
    which cards; `slowest` and `fastest` name the cards of the two ends."""

    low: float
    central: float
    high: float
    runs: int
    cards: str
    basis: str = "rated"
    basis_runs: int = 0
    basis_cards: str = ""
    slowest: str = ""
    fastest: str = ""

    @property
    def place(self) -> Problem:
        """Where in the range of times the likely one lies (0 % the shortest, 100 % the longest), and of what runs it is
        the median.

        Time goes with 1 / efficiency e: place = (1/e_central - 1/e_high) / (1/e_low - 1/e_high)."""
        span = 1 / self.low - 1 / self.high
        share = (1 / self.central - 1 / self.high) / span if span else 0.0
        shares = {name: f"{getattr(self, name):.0%}" for name in ("central", "low", "high")}
        ends = {"slowest": self.slowest, "fastest": self.fastest, "place": f"{share:.0%}"}
        return Problem(f"why.place_{self.basis}", runs=self.basis_runs, cards=self.basis_cards, **shares, **ends)

    @property
    def why(self) -> Problem:
        shares = {name: f"{getattr(self, name):.0%}" for name in ("central", "low", "high")}
        return Problem("why.efficiency", runs=self.runs, cards=self.cards, **shares)


@functools.cache
def efficiency_of(gpu: Gpu) -> Efficiency:
    """What the table says of `gpu`."""
    shares = [(find_gpu(line["gpu"]), float(line["efficiency"])) for line in table_lines()]
    own = [(card, share) for card, share in shares if card.name == gpu.name]
    like = [(card, share) for card, share in shares if card.family == gpu.family]
    around = like if own else shares
    basis, of = next((name, runs) for name, runs in zip(BASES, (own, like, shares), strict=True) if runs)
    values = [share for _, share in around]
    cards = ", ".join(sorted({card.name for card, _ in around}))
    by_share = sorted(around, key=lambda line: line[1])
    return Efficiency(
        min(values), statistics.median(share for _, share in of), max(values), len(values), cards,
        basis, len(of), ", ".join(sorted({card.name for card, _ in of})), by_share[0][0].name, by_share[-1][0].name,
    )  # fmt: skip


def table() -> Path:
    """The file."""
    return presets_dir() / "efficiency.csv"


def table_lines() -> list[dict[str, str]]:
    """Every run, a cell by column."""
    with table().open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def recipe_of(line: dict[str, str]) -> Recipe:
    """The recipe that a line of the table states."""
    names = [name for name in FIELDS if line.get(name)]
    fields: dict[str, Any] = {name: line[name] for name in names}
    fields |= {name: int(line[name]) for name in WHOLE_NUMBERS if line.get(name)}
    fields |= {"gradient_checkpointing": line["gradient_checkpointing"] == "true"}
    if line["target_modules"]:
        names = line["target_modules"].split(",")
        fields["target_modules"] = names[0] if names == ["all-linear"] else tuple(names)
    if line["double_quant"]:
        fields["bnb_4bit_use_double_quant"] = line["double_quant"] == "true"
    return Recipe(**fields)
