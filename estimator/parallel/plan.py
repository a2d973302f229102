"""Several devices: what each holds, adds, sends and saves. A `Sharded` answers
per device; `estimator.parallel.parallel` makes it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from estimator.core.problems import Problem
from estimator.hardware.cards import Context, Usable, communicators
from estimator.law.law import Law, Point, Row
from estimator.recipe.batches import shape
from estimator.recipe.distributed import is_zero
from estimator.recipe.recipe import Recipe

MOMENTS = ("forward", "loss", "last_layer_backward", "first_layer_backward", "optimizer_step")
BACKWARD = MOMENTS[2:4]
HALF = {"bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class RankBytes:
    """Bytes one rank holds throughout, by component of the law; `host_bytes` and `disk_bytes` are what it keeps
    elsewhere.

    `paged_bytes` of the states lie in managed memory.
    """

    weights: int = 0
    quantization_state: int = 0
    adapters: int = 0
    gradients: int = 0
    optimizer_states: int = 0
    host_bytes: int = 0
    disk_bytes: int = 0
    paged_bytes: int = 0


@dataclass(frozen=True)
class ParallelPlan:
    """The answer beside the device's own memory. Bytes; those of a rank are the largest rank's.

    `host_bytes` and `disk_bytes` are a rank's offloaded tensors, to be multiplied by the ranks of a machine.
    `communication_bytes_per_step` is what a device sends by collective in one optimizer step, by the ring's count (an
    all-reduce of n bytes over k devices sends 2 n (k-1)/k, a reduce-scatter or an all-gather n (k-1)/k).
    `saving_*_bytes` is what rank 0 needs beside to gather the weights for one file. `gathered_bytes` is the most that
    sharding itself holds at once: gathered weights, buckets, gradients on their way.
    """

    distributed_type: str
    num_devices: int
    largest_rank: int
    host_bytes: int
    disk_bytes: int
    communication_bytes_per_step: dict[str, int]
    saving_device_bytes: int
    saving_host_bytes: int
    gathered_bytes: int
    communicator_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Sharded:
    """One device of several, ready for the law.

    `added_bytes` by moment is what sharding holds for a while; `slack_bytes` how much of it is a bound rather than a
    count. `gradient_share` scales the traced gradients of a moment (None: the rank's own, at every moment);
    `backward_gradients_bytes` replaces them until the optimizer's step.
    """

    law: Law
    rank: RankBytes
    step_temporary_bytes: int
    added_bytes: Mapping[str, int]
    plan: ParallelPlan
    workspace_bytes: int = 0
    trained_share: float = 1.0
    """Share of the batch's tokens that is trained on (`estimator.recipe.batches`)."""
    gradient_share: float | None = 1.0
    backward_gradients_bytes: int | None = None
    slack_bytes: int = 0
    gathering_bytes: int = 0
    """What the allocator reserves for the stream on which weights are gathered: it hands no block of one stream to
    another (c10/cuda/CUDACachingAllocator.cpp), so this comes beside what the step's own stream reserves."""
    gathering_added: Mapping[str, int] = field(default_factory=dict)
    """How much of `added_bytes` lies on that stream."""
    own_components: Mapping[str, int] | None = None
    """The highest moment of the step's own stream, by component (`shard` fills it in); None where there is no other."""
    loading_bytes: int = 0
    """What a rank that gets its part of each weight holds beside these while it does: the largest that comes whole."""
    notes: tuple[Problem, ...] = field(default=())

    @property
    def static(self) -> dict[str, int]:
        """What the rank holds, by component of the law."""
        r = self.rank
        return {
            "weights": r.weights,
            "quantization_state": r.quantization_state,
            "adapters": r.adapters,
            "gradients": r.gradients,
            "optimizer_states": r.optimizer_states,
            "workspace": self.workspace_bytes,
        }

    def at(self, recipe: Recipe) -> Point:
        """The law at the sizes of `recipe`."""
        return Point(
            self.law, *shape(recipe), recipe.r, self.static, self.step_temporary_bytes, self.trained_share, self._adjust
        )

    def evaluate(self, recipe: Recipe) -> tuple[Row, dict[str, int]]:
        return self.at(recipe).peak

    def _adjust(self, row: Row, parts: dict[str, int]) -> None:
        """A row of one device, as this rank sees it."""
        if row.moment != "optimizer_step":
            if self.backward_gradients_bytes is not None:
                parts["gradients"] = self.backward_gradients_bytes
            elif self.gradient_share is None:
                parts["gradients"] = self.rank.gradients
            elif "gradients" in row.coefficients:
                parts["gradients"] = round(parts["gradients"] * self.gradient_share)
        parts["temporary"] += self.added_bytes.get(row.moment, 0)


def on_device(recipe: Recipe) -> Recipe:
    """The recipe as a device computes it. DeepSpeed's engine casts the whole model to its type (`mixed_precision`'s,
    else the weights' own) and runs without autocast; FSDP2 gathers in the mixed type, whatever the shards are stored
    in."""
    if recipe.num_processes == 1 or recipe.mixed_precision == "no":
        return recipe
    half = HALF[recipe.mixed_precision]
    if is_zero(recipe.distributed_type):
        return recipe.replace(dtype=half, mixed_precision="no", bnb_4bit_quant_storage=_storage(recipe, half))
    if recipe.distributed_type == "fsdp" and recipe.mixed_precision == "bf16" and not recipe.is_quantized:
        return recipe.replace(dtype=half)
    return recipe


def _storage(recipe: Recipe, dtype: str) -> str:
    return dtype if recipe.bnb_4bit_quant_storage == recipe.dtype else recipe.bnb_4bit_quant_storage


def with_communicator(recipe: Recipe, context: Context, usable: Usable | None) -> tuple[Context, Usable | None]:
    """The context of a process that also talks to others (`presets/communicators.csv`)."""
    wider = _sum(context, communicators()[recipe.distributed_type == "tp"])
    return wider, replace(usable, context=wider) if usable else None


@functools.lru_cache(maxsize=64)
def _sum(context: Context, other: Context) -> Context:
    return Context(
        context.bytes + other.bytes,
        context.low_bytes + other.low_bytes,
        context.high_bytes + other.high_bytes,
        f"{context.source}; {other.source}",
    )


def ring(nbytes: float, ranks: int, passes: int = 1) -> int:
    """Bytes a device sends: an all-gather or a reduce-scatter is one pass around the ring, an all-reduce two.

    passes x n (ranks - 1) / ranks
    """
    return round(passes * nbytes * (ranks - 1) / ranks)
