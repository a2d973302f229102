"""How fast cards of one machine send each other data: `presets/links.csv`, by what joins them. No torch.

Speeds are what each card sends in one direction while all do, GB/s (10^9 bytes): nccl-tests' bus bandwidth. A published
measurement or NCCL's own figure of the link is the central one, its rated speed the highest. What the board between the
cards allows is not known, so the low end is far.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from estimator.core.problems import Problem
from estimator.hardware.cards import Gpu
from estimator.model.catalog import rows

MACHINE_CARDS = 8
"""More are in several machines (but for NVL72's racks), whose network nobody stated."""


@dataclass(frozen=True)
class Link:
    """What joins cards: GB/s that each sends, central, lowest and highest."""

    name: str
    low_gbs: float
    gbs: float
    high_gbs: float
    source: str

    @property
    def why(self) -> Problem:
        return Problem(
            "why.link", link=self.name, low=f"{self.low_gbs:g}", central=f"{self.gbs:g}", high=f"{self.high_gbs:g}"
        )


@functools.cache
def link_of(gpu: Gpu, devices: int) -> Link | None:
    """The link between `devices` of `gpu` in one machine; None where no row says. A bridge between two moves the high
    end only."""
    name, *bridges = gpu.interconnect.split("; ")
    row = _row_for(gpu, name, devices)
    if row is None or (devices > MACHINE_CARDS and "NVL72" not in name):
        return None
    link = Link(name, float(row["low_gbs"]), float(row["gbs"]), float(row["high_gbs"]), row["source"])
    for bridge in bridges:
        if found := _row_for(gpu, bridge, devices):
            link = replace(
                link,
                name=f"{link.name}; {bridge}",
                high_gbs=float(found["high_gbs"]),
                source=f"{link.source}; {found['source']}",
            )
    return link


def _row_for(gpu: Gpu, interconnect: str, devices: int) -> dict[str, str] | None:
    """The most particular row: the card's own, its family's, everybody's."""
    said = {"gpu": gpu.name, "family": gpu.family, "devices": str(devices)}
    fitting = [
        row
        for row in _rows()
        if row["interconnect"] == interconnect and all(row[key] in ("", value) for key, value in said.items())
    ]
    return max(fitting, key=lambda row: [bool(row[key]) for key in said], default=None)


@functools.cache
def _rows() -> list[dict[str, str]]:
    return rows("links.csv")
