"""What a recorded step is: allocations and frees in order. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field

Place = tuple[str, int]
"""Where the step is: (`forward`, layer), (`loss`, 0), (`backward`, layer); layer -1 is before the first."""
HEAD = 1_000_000
"""The layer number of everything after the last layer."""


@dataclass
class Events:
    """The step as a sequence: +bytes or -bytes of a storage, where that was, and what the storage is for."""

    storage: list[int] = field(default_factory=list)
    delta_bytes: list[int] = field(default_factory=list)
    place: list[Place] = field(default_factory=list)
    component: dict[int, str] = field(default_factory=dict)
    """By storage; one that is not named was made in a place whose `default` says what it is."""

    def add(self, storage: int, delta_bytes: int, place: Place) -> None:
        self.storage.append(storage)
        self.delta_bytes.append(delta_bytes)
        self.place.append(place)

    def peak(self) -> tuple[dict[str, int], Place]:
        """Live bytes by component at the highest moment, and where that is."""
        live: dict[str, int] = {}
        total = best = 0
        snapshot, where = {}, ("forward", -1)
        for storage, delta, place in zip(self.storage, self.delta_bytes, self.place, strict=True):
            name = self.component[storage]
            live[name] = live.get(name, 0) + delta
            total += delta
            if total > best:
                best, snapshot, where = total, dict(live), place
        return snapshot, where
