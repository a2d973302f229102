"""How much further the resident memory of a run on a CPU grows than its live tensors: `presets/measurements/cpu.csv`.

The table is made by `python -m tests.bench.memory_on_cpu --write`: runs of the studio's own worker, each in a process of its own, with the
predicted bytes of live tensors and the measured growth beside them. What lies between is no tensor: code of the libraries that runs for
the first time and objects of the trainer, the same for every run, and freed memory that the C allocator keeps. glibc raises its limit for
blocks that go back at once to 32 MiB as such blocks are freed; below it tensors are cut from a heap that shrinks only at its end. How much
it keeps depends on the order of sizes, so it is a range read off the table and no figure.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass

from estimator.model.catalog import presets_dir

TABLE = "measurements/cpu.csv"
COLUMNS = (
    "model",
    "method",
    "quantization",
    "gradient_checkpointing",
    "per_device_train_batch_size",
    "tokens",
    "predicted_bytes",
    "measured_bytes",
)


@dataclass(frozen=True)
class Kept:
    """What is not given back: `fixed_bytes` in every run, and up to `share` of the live peak."""

    fixed_bytes: int
    share: float

    def most(self, peak_bytes: float) -> float:
        """The upper end for a run whose tensors take `peak_bytes` at once."""
        return peak_bytes * (1 + self.share) + self.fixed_bytes


def rows() -> list[dict[str, str]]:
    """The table, a dict a run; sizes in bytes, `tokens` in a row."""
    with (presets_dir() / TABLE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@functools.cache
def kept() -> Kept:
    """Of the table: fixed is what the smallest run takes beyond its tensors, the share the largest that any run takes beyond that."""
    figures = sorted((int(row["predicted_bytes"]), int(row["measured_bytes"])) for row in rows())
    smallest_bytes, measured_bytes = figures[0]
    fixed_bytes = max(0, measured_bytes - smallest_bytes)
    return Kept(fixed_bytes, max(0.0, *((measured - peak - fixed_bytes) / peak for peak, measured in figures)))
