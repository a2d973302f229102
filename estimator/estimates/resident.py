"""How much further the resident memory of a run on a CPU grows than its live tensors: `presets/measurements/cpu.csv`.

The table is made by `python -m tests.bench.memory_on_cpu --write`: runs of the studio's own worker, each in a process
of its own, with the predicted bytes of live tensors and the measured growth beside them. What lies between is no
tensor: code of the libraries that runs for the first time and objects of the trainer, the same for every run, and freed
memory that the C allocator keeps. glibc raises its limit for blocks that go back at once to 32 MiB as such blocks are
freed; below it tensors are cut from a heap that shrinks only at its end. How much it keeps depends on the order of
sizes, so it is a range read off the table and no figure.

Beside these stands what is known exactly: pages of the base's own file (`mapped_bytes`).
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass

from estimator.core.units import width_bytes
from estimator.memory.states import base_weights
from estimator.model.catalog import Model, presets_dir
from estimator.recipe.recipe import Recipe

TABLE = "measurements/cpu.csv"
COLUMNS = (
    "model",
    "method",
    "quantization",
    "gradient_checkpointing",
    "per_device_train_batch_size",
    "tokens",
    "predicted_bytes",
    "mapped_bytes",
    "measured_bytes",
)


@dataclass(frozen=True)
class Kept:
    """What is not given back: `fixed_bytes` in every run, and up to `share` of the live peak."""

    fixed_bytes: int
    share: float

    def most(self, peak_bytes: float, mapped_bytes: float = 0) -> float:
        """The upper end for a run whose tensors take `peak_bytes` at once and whose base leaves `mapped_bytes` of its
        file behind."""
        return peak_bytes * (1 + self.share) + self.fixed_bytes + mapped_bytes


def mapped_bytes(recipe: Recipe, model: Model) -> int:
    """Pages of the base's file that may stay resident though no tensor needs them; the system may take them back, so
    they belong to the upper end alone.

    Transformers reads safetensors through a mapping of the file, and copies a tensor only where its type changes.
    Weights that are then quantized leave their pages behind, for tensors that are not (the embedding) hold the mapping
    for the whole run. Seen: a base of 135 million parameters stored in float32 and loaded so in 4 bits took 414 MiB of
    file pages, 405 MiB of them such weights; stored in bfloat16 none.
    """
    config = model.config or {}
    stored = config.get("dtype") or config.get("torch_dtype")
    if not recipe.is_quantized or stored != recipe.dtype or config.get("quantization_config"):
        return 0
    packed = base_weights(model.inventory, recipe.dtype, recipe.quantization, False, "none").quantized_parameters
    return packed * width_bytes(recipe.dtype)


def rows() -> list[dict[str, str]]:
    """The table, a dict a run; sizes in bytes, `tokens` in a row."""
    with (presets_dir() / TABLE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@functools.cache
def kept() -> Kept:
    """Of the table: fixed is what the smallest run takes beyond its tensors, the share the largest that any run takes
    beyond that and beyond the pages of its file."""
    figures = sorted(
        (int(row["predicted_bytes"]), int(row["measured_bytes"]) - int(row["mapped_bytes"])) for row in rows()
    )
    smallest_bytes, measured_bytes = figures[0]
    fixed_bytes = max(0, measured_bytes - smallest_bytes)
    return Kept(fixed_bytes, max(0.0, *((measured - peak - fixed_bytes) / peak for peak, measured in figures)))
