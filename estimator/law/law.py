"""The memory law: peak bytes of a training step as a closed form in batch, sequence length and rank. No torch.

For one structure (model, method, targets, checkpointing, attention, precision, loop) every allocation of a step is the
same whatever the sizes, so the live bytes at each moment k are linear in

    phi = (1, B, S, B*S, B*S^2, B*S*r, r, S^2, min(N, tile), N, B*ceil(S/chunk))

with B rows, S tokens a row, r the rank, N the tokens that train (B*(S-1) where all do), and chunks only where layers
have them. `peak(B, S, r) = max_k <c_k, phi>`; each row c_k keeps its split by component, so the breakdown is the row's
own and sums to the peak. Bytes that do not depend on the batch (weights, adapters, gradients, states) come exact from
`estimator.memory.states`; a row says which share of them is alive at its moment.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import mul
from typing import TYPE_CHECKING, Any

from estimator.recipe.batches import trained_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

PHI = ("1", "B", "S", "BS", "BSS", "BSr", "r", "SS", "tile", "trained", "chunks")
STATIC = ("weights", "quantization_state", "adapters", "gradients", "optimizer_states", "workspace")
DYNAMIC = ("activations", "logits_and_loss", "temporary")
COMPONENTS = (*STATIC[:-1], *DYNAMIC, "workspace")
"""Names and order of the parts of every breakdown."""
WORK = ("flops", "moved_bytes")
FORMAT = 2
TRL_TILE_TOKENS = 4096
"""trl/kernels/chunked_logprob.py TOKEN_CHUNK_SIZE."""


@dataclass(frozen=True)
class Row:
    """One moment of the step that can be the peak.

    `coefficients` gives bytes for each entry of PHI, by component; a static component without them stands whole, or
    with the share of it that `held` names.
    """

    moment: str
    coefficients: dict[str, tuple[float, ...]]
    held: dict[str, float] = field(default_factory=dict)
    holds_step_temporary: bool = False


@dataclass(frozen=True)
class Law:
    """The rows of one structure. `tile_tokens` bounds the tiled loss; `engine` is `analytic` or `traced`.

    `relative_error` is the half width of the error bar on the dynamic bytes, stated by whoever made the rows. `fused`:
    whether the model has fused attention by SDPA. The law holds from `from_tokens` a row on and below `below_tokens`
    (0: for all), the windows of local attention, at which SDPA begins to take a mask. `chunk_tokens`: into what layers
    cut a row (0: they do not). `flops` and `moved_bytes` are coefficients over PHI of what one forward and backward
    computes and moves (`estimator.trace.work`), by phase (forward, backward, recompute), kind (matrix, adapter:
    products with the rank as a side, other: no product) and type; None where the law was made without them.
    """

    rows: tuple[Row, ...]
    tile_tokens: int
    engine: str
    relative_error: float
    versions: dict[str, str] = field(default_factory=dict)
    flops: dict[str, tuple[float, ...]] | None = None
    moved_bytes: dict[str, tuple[float, ...]] | None = None
    fused: bool = True
    from_tokens: int = 0
    below_tokens: int = 0
    chunk_tokens: int = 0

    def phi(self, batch: float, sequence: float, rank: float, trained_share: float = 1.0) -> tuple[float, ...]:
        tokens = batch * sequence
        trained = trained_tokens(batch, sequence, trained_share)
        tiled = min(trained, self.tile_tokens)
        chunks = batch * math.ceil(sequence / self.chunk_tokens) if self.chunk_tokens else 0.0
        return (
            1.0,
            batch,
            sequence,
            tokens,
            tokens * sequence,
            tokens * rank,
            rank,
            sequence * sequence,
            tiled,
            trained,
            chunks,
        )

    def evaluate(
        self,
        batch: int,
        sequence: int,
        rank: int,
        static: dict[str, int],
        step_temporary: int,
        trained_share: float = 1.0,
        adjust: Callable[[Row, dict[str, int]], None] | None = None,
    ) -> tuple[Row, dict[str, int]]:
        """(the row that peaks, bytes by component) at one point (`Point`)."""
        return Point(self, batch, sequence, rank, static, step_temporary, trained_share, adjust).peak

    @functools.cached_property
    def _dynamic(self) -> list[tuple[str, tuple[float, ...]]]:
        """Each row's moment and the sum of its dynamic components' coefficients."""
        none = (0.0,) * len(PHI)
        rows = [(row.moment, [row.coefficients.get(name, none) for name in DYNAMIC]) for row in self.rows]
        return [(moment, tuple(map(sum, zip(*parts)))) for moment, parts in rows]

    @functools.cached_property
    def _totals(self) -> list[tuple[tuple[float, ...], list[tuple[str, float]]]]:
        """Each row's coefficients summed over its components, and which share of a static component is not there beside
        them."""
        none = (0.0,) * len(PHI)
        totals: list[tuple[tuple[float, ...], list[tuple[str, float]]]] = []
        for row in self.rows:
            held = {name: 0.0 if name in row.coefficients else row.held.get(name, 1.0) for name in STATIC}
            given = [(name, 1.0 - share) for name, share in held.items() if share != 1.0]
            totals.append((tuple(map(sum, zip(none, *row.coefficients.values()))), given))
        return totals

    def dynamic_bytes(self, batch: int, sequence: int, rank: int, moment: str | None = None) -> int:
        """Activations, logits and temporaries at their highest, in all rows or in those of one moment (0 if there is
        none)."""
        phi = self.phi(batch, sequence, rank)
        return round(
            max((sum(map(mul, terms, phi)) for name, terms in self._dynamic if moment in (None, name)), default=0)
        )

    def peaks(
        self,
        batch: ArrayLike,
        sequence: ArrayLike,
        rank: ArrayLike,
        static: Mapping[str, ArrayLike],
        step_temporary: ArrayLike = 0,
        trained_share: float = 1.0,
    ) -> NDArray[np.float64]:
        """Peak bytes at many points at once: numpy arrays (broadcast against each other) in, an array out.

        `static` values and `step_temporary` may be arrays over the same points (they depend on the rank).
        """
        import numpy as np

        batch, sequence, rank = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (batch, sequence, rank)))
        tokens = batch * sequence
        trained = np.minimum(tokens * trained_share, tokens - batch)
        tiled = np.minimum(trained, self.tile_tokens)
        chunks = batch * np.ceil(sequence / self.chunk_tokens) if self.chunk_tokens else np.zeros_like(tokens)
        columns = [
            np.ones_like(tokens),
            batch,
            sequence,
            tokens,
            tokens * sequence,
            tokens * rank,
            rank,
            sequence**2,
            tiled,
            trained,
            chunks,
        ]
        phi = np.stack(columns, axis=-1)
        none = (0.0,) * len(PHI)
        table = np.array([np.sum([none, *row.coefficients.values()], axis=0) for row in self.rows])
        totals = phi @ table.T
        for k, row in enumerate(self.rows):
            held = [name for name in STATIC if name not in row.coefficients]
            totals[..., k] += sum(np.asarray(static[name], dtype=float) * row.held.get(name, 1.0) for name in held)
            if row.holds_step_temporary:
                totals[..., k] += np.asarray(step_temporary, dtype=float)
        highest: NDArray[np.float64] = totals.max(axis=-1)
        return highest

    def to_dict(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "rows"}
        return {"format": FORMAT, "phi": PHI, **own, "rows": [vars(row) for row in self.rows]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Law:
        """Raises ValueError for another format or another phi: such a law is derived again."""
        known = len(data["phi"])
        missing = len(PHI) - known  # `trained` and `chunks` came later: laws without train all
        if data["format"] != FORMAT or tuple(data["phi"]) != PHI[:known] or missing > 2:
            raise ValueError(f"law format {data['format']!r}; this program reads {FORMAT}")

        def widened(values: list[float]) -> tuple[float, ...]:
            return (*values, *(0,) * missing)

        rows = [row | {"coefficients": {n: widened(c) for n, c in row["coefficients"].items()}} for row in data["rows"]]
        own = {name: data[name] for name in cls.__dataclass_fields__ if name not in ("rows", *WORK) and name in data}
        for name in WORK:  # laws older than these fields have none
            own[name] = None if data.get(name) is None else {key: widened(values) for key, values in data[name].items()}
        return cls(rows=tuple(Row(**row) for row in rows), **own)


@dataclass(frozen=True)
class Point:
    """A law and all that it is evaluated for. `static` gives bytes of the STATIC components; `adjust` changes a row's
    bytes in place (`estimator.parallel.parallel`)."""

    law: Law
    batch: int
    sequence: int
    rank: int
    static: Mapping[str, int]
    step_temporary_bytes: int
    trained_share: float = 1.0
    adjust: Callable[[Row, dict[str, int]], None] | None = None

    @functools.cached_property
    def phi(self) -> tuple[float, ...]:
        return self.law.phi(self.batch, self.sequence, self.rank, self.trained_share)

    def components(self, row: Row) -> dict[str, int]:
        """Bytes by component at one of the law's moments."""
        parts = {
            name: round(self.static[name] * row.held.get(name, 1.0)) if name in STATIC else 0 for name in COMPONENTS
        }
        for name, coefficients in row.coefficients.items():
            parts[name] = round(sum(c * x for c, x in zip(coefficients, self.phi)))
        if row.holds_step_temporary:
            parts["temporary"] += self.step_temporary_bytes
        if self.adjust:
            self.adjust(row, parts)
        return parts

    @property
    def peak(self) -> tuple[Row, dict[str, int]]:
        """The highest row, of equals the first, with its components."""
        rows = self.law.rows if self.adjust else self._highest
        made = [(row, self.components(row)) for row in rows]
        return max(made, key=lambda one: sum(one[1].values()))

    @property
    def _highest(self) -> list[Row]:
        """The rows that can be the highest, in order: rounding the components of a row moves its sum by less than their
        number."""
        phi, static, temporary = self.phi, self.static, (0, self.step_temporary_bytes)
        everything = sum(static[name] for name in STATIC)
        sums = [
            everything + sum(map(mul, terms, phi)) + temporary[row.holds_step_temporary]
            for row, (terms, _) in zip(self.law.rows, self.law._totals, strict=True)
        ]
        for n, (_, given) in enumerate(self.law._totals):
            for name, share in given:
                sums[n] -= static[name] * share
        least = max(sums) - 2 * len(COMPONENTS)
        return [row for row, total in zip(self.law.rows, sums, strict=True) if total >= least]
