"""Bytes as sums over the law's terms, read off one trace.

Batch, length, rank and tile are traced at large primes, so that a storage's bytes factor into them in one way; what
does not factor is refused. Imported where torch is, by `estimator.trace.fit` only.
"""

from __future__ import annotations

import numpy as np

from estimator.law.law import COMPONENTS, PHI
from estimator.law.untraced import NotLinear
from estimator.memory.recorded import Events
from estimator.trace.step import Sizes

SIZES = Sizes(batch=101, sequence=10007, rank=211, tile=7919, trained=1000003)
"""Primes, of which none divides a width of the presets; 10006 = 2 x 5003 stands for S - 1, 10008 = 8 x 9 x 139 for S +
1."""
NEAR = (-1, 1, 3)
"""Tokens by which a tensor may be longer than the row: labels, sinks, what a convolution over four tokens is given."""


def live_bytes(events: Events, sizes: Sizes) -> np.ndarray:
    """Live bytes after each event: (events, components, PHI) coefficients."""
    terms = {}
    table = np.zeros((len(events.storage), len(COMPONENTS), len(PHI)))
    for n, (storage, delta) in enumerate(zip(events.storage, events.delta_bytes, strict=True)):
        if abs(delta) not in terms:
            terms[abs(delta)] = coefficients(abs(delta), sizes)
        component = COMPONENTS.index(events.component[storage])
        table[n, component] = terms[abs(delta)] if delta > 0 else -terms[abs(delta)]
    return table.cumsum(axis=0)


def coefficients(size_bytes: int, sizes: Sizes) -> np.ndarray:
    """`size_bytes` as a sum over PHI. Raises `NotLinear`."""
    rest, names = size_bytes, ""
    primes = (
        ("B", sizes.batch),
        ("S", sizes.sequence),
        ("S", sizes.sequence),
        ("r", sizes.rank),
        ("t", sizes.tile),
        ("N", sizes.trained),
    )
    for name, prime in primes:
        if prime > 1 and rest % prime == 0:
            rest, names = rest // prime, names + name
    by = next((by for by in NEAR if rest % (sizes.sequence + by) == 0), 0) if names.count("S") < 2 else 0
    if by:
        rest //= sizes.sequence + by
    if sizes.batch == 1:
        names = {"S": "BS", "SS": "BSS", "Sr": "BSr"}.get(names, names)
    made = np.zeros(len(PHI))
    if by:
        higher, lower = {"": ("BS", "B"), "B": ("BS", "B"), "BS": ("BSS", "BS")}.get(names, (None, None))
        if higher is None or (names == "" and sizes.batch > 1):
            raise NotLinear(f"{size_bytes} bytes: (S {by:+}) times {names}")
        made[PHI.index(higher)], made[PHI.index(lower)] = rest, by * rest
        return made
    place = {"": "1", "t": "tile", "N": "trained"}.get(names, names)
    if place not in PHI:
        raise NotLinear(f"{size_bytes} bytes are {rest} times {names}")
    made[PHI.index(place)] = rest
    return made


def summed(amounts: dict[int, float], sizes: Sizes) -> np.ndarray:
    return sum((times * coefficients(amount, sizes) for amount, times in amounts.items()), np.zeros(len(PHI)))
