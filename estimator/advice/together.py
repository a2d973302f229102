"""A recipe on several cards of one machine: by which strategy, what each holds, how long they take. Each way is worked
out once for cards with the same kernels. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.cost.rows import Epoch
from estimator.cost.several import loads_of, throughput_together
from estimator.cost.throughput import Load, Throughput
from estimator.estimates.estimate import Estimate, check, composed
from estimator.estimates.parts import Parts, parts_of
from estimator.hardware.cards import Gpu
from estimator.hardware.machines import Machine
from estimator.hardware.platforms import Platform
from estimator.law.law import Law, Row
from estimator.law.question import Question
from estimator.model.catalog import Model
from estimator.parallel import parallel
from estimator.parallel.plan import Sharded, on_device
from estimator.recipe.batches import Batches
from estimator.recipe.recipe import Recipe

CUTTING = ("fsdp", "zero3", "pp")
"""What divides a model that one card does not hold, the best known first; tensor parallel needs a plan for the model
and divides its heads."""


@dataclass(frozen=True)
class Kernels:
    """Cards with the same kernels: what one of them alone does with the recipe, and the law without gradient
    accumulation."""

    platform: Platform
    parts: Parts
    single: Law | None

    @property
    def key(self) -> tuple[Any, int]:
        return self.platform.kernels, self.platform.workspace_bytes


def spread(recipe: Recipe, count: int, kind: str) -> Recipe:
    """`recipe` on `count` devices; packed weights are cut only where they are stored in a floating type. Raises
    `Problem`."""
    packed = recipe.is_quantized and recipe.quantization != "int8" and kind in ("fsdp", "zero3")
    stored = {"bnb_4bit_quant_storage": recipe.dtype} if packed else {}
    return recipe.replace(num_processes=count, distributed_type=kind, **stored)


class Together:
    """`recipe` is of one device; the others of this class are ways to spread it."""

    def __init__(
        self, recipe: Recipe, model: Model, loop: str, epoch: Epoch | None, cache_dir: Path | None = None,
        batches: Batches = Batches(), derive: bool = False,
    ) -> None:  # fmt: skip
        self.recipe, self.model, self.loop, self.epoch = recipe, model, loop, epoch
        self._question = Question(recipe, model, loop, batches=batches, derive=derive, cache_dir=cache_dir)
        self._made: dict[tuple[Any, int, str], tuple[Parts, Sharded, Row, dict[str, int]]] = {}
        self._loads: dict[tuple[Any, int, str], tuple[Load, ...]] = {}

    def ways(self, count: int) -> list[Recipe]:
        """Every device with the whole model, and the first of CUTTING that the recipe takes. Raises the last's
        `Problem` where neither can be."""
        made, problem = [], None
        for kinds in (("ddp",), CUTTING):
            for kind in kinds:
                try:
                    made.append(self._checked(count, kind))
                    break
                except Problem as found:
                    problem = found
        if not made:
            raise problem
        return made

    def _checked(self, count: int, kind: str) -> Recipe:
        made = spread(self.recipe, count, kind)
        for problem in check(made, model=self.model):
            raise problem
        return made

    def estimate(self, recipe: Recipe, where: Machine, kernels: Kernels) -> Estimate:
        """Of the device that holds most. Raises `Problem` where the model cannot be split so."""
        parts, sharded, row, components = self._of(recipe, kernels)
        return composed(recipe, where, parts, row, components, sharded=sharded)

    def least_bytes(self, recipe: Recipe, kernels: Kernels) -> int:
        """What its device allocates at least, by the law alone."""
        return sum(self._of(recipe, kernels)[3].values())

    def throughput(self, recipe: Recipe, gpu: Gpu, kernels: Kernels) -> Throughput:
        _, sharded, *_ = self._of(recipe, kernels)
        at = kernels.key, recipe.num_processes, recipe.distributed_type
        if at not in self._loads:
            self._loads[at] = loads_of(recipe, kernels.parts, sharded, self.epoch, kernels.single)
        return throughput_together(recipe, gpu, self._loads[at], sharded, self.model.spec.num_hidden_layers)

    def _of(self, recipe: Recipe, kernels: Kernels) -> tuple[Parts, Sharded, Row, dict[str, int]]:
        at = kernels.key, recipe.num_processes, recipe.distributed_type
        if at not in self._made:
            parts = self._parts(on_device(recipe), kernels)
            sharded = parallel.shard(recipe, parts, self.loop)
            self._made[at] = parts, sharded, *sharded.evaluate(recipe)
        return self._made[at]

    def _parts(self, alone: Recipe, kernels: Kernels) -> Parts:
        """Those of one device alone where each computes what it does (not under another type)."""
        one = self.recipe
        beside: dict[str, Any] = {
            name: getattr(one, name) for name in ("num_processes", "distributed_type", "bnb_4bit_quant_storage")
        }
        if alone.replace(**beside) == one:
            return kernels.parts
        return parts_of(self._question.but(recipe=alone, platform=kernels.platform))


def goes_together(where: Machine) -> bool:
    """Whether machines have several of it: a card with memory of its own, and NCCL or RCCL, which there are for Linux
    alone."""
    gpu = where.gpu
    if (where.system or "").startswith("windows") or " MIG " in gpu.name:
        return False
    return gpu.vendor in ("NVIDIA", "AMD") and gpu.mem_type.startswith(("HBM", "GDDR")) and not gpu.is_laptop
