"""How long a card would take at its rated arithmetic and memory speed: operations and bytes of a law, in seconds. No
torch.

Kernels of a step run one after another. Those that multiply matrices wait for whichever is slower, arithmetic or
memory; the rest wait for memory. Products with the rank as a side are a group of their own, and so is each type. What a
real run takes is this over an efficiency (`estimator.cost.efficiency`), which the table of measured runs states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from estimator.core.problems import Problem
from estimator.core.units import width_bytes
from estimator.estimates.parts import Parts
from estimator.hardware.cards import Gpu
from estimator.law.law import Law
from estimator.recipe.optimizers import optimizer
from estimator.recipe.recipe import Recipe

GIGA, TERA = 1e9, 1e12
INT8_CAPABILITY = 7.5
CLIP_PASSES = 3
"""torch.nn.utils.clip_grad_norm_: the norm reads, the scaling reads and writes."""


@dataclass(frozen=True)
class Group:
    """Products of one kind and type: operations and the bytes they move."""

    dtype: str
    flops: float
    moved_bytes: float


@dataclass(frozen=True)
class Amounts:
    """What forward and backward passes do altogether; `other_bytes` is moved by what multiplies no matrices."""

    groups: tuple[Group, ...]
    other_bytes: float
    recompute_flops: float

    @property
    def flops(self) -> float:
        return sum(group.flops for group in self.groups)

    @property
    def moved_bytes(self) -> float:
        return sum(group.moved_bytes for group in self.groups) + self.other_bytes


def amounts(law: Law, phi: Sequence[float]) -> Amounts | None:
    """`law`'s work at `phi`, or, since it is linear, at a sum of several; None where the law knows none."""
    if law.flops is None or law.moved_bytes is None:
        return None
    tables = [
        {key: sum(c * x for c, x in zip(row, phi)) for key, row in table.items()}
        for table in (law.flops, law.moved_bytes)
    ]
    grouped: dict[tuple[str, str], list[float]] = {}
    for place, table in enumerate(tables):
        for key, value in table.items():
            kind, _, dtype = key.partition(".")[2].partition(".")
            grouped.setdefault((kind, dtype), [0.0, 0.0])[place] += value
    _, other = grouped.pop(("other", ""), (0.0, 0.0))
    recompute = sum(value for key, value in tables[0].items() if key.startswith("recompute"))
    return Amounts(tuple(Group(dtype, *values) for (_, dtype), values in grouped.items()), other, recompute)


def step_bytes(recipe: Recipe, parts: Parts) -> float:
    """Bytes that one optimizer step moves: gradients clipped, weights and states read and written
    (`recipe.optimizers.Passes`)."""
    training, numel = parts.training, parts.trained.parameters
    gradients = training.gradients_bytes  # of the type of the weights that train
    states = training.optimizer_states_bytes + training.paged_bytes
    clipped = CLIP_PASSES * gradients if recipe.max_grad_norm else 0
    passes = optimizer(recipe.optim).passes
    own = (passes.gradients + passes.decay * (recipe.weight_decay > 0)) * gradients + passes.states * states
    casts = passes.casts_bytes if recipe.dtype != "float32" else 0
    return clipped + own + (width_bytes("float32") * passes.fp32 + casts) * numel


def unrated(gpu: Gpu, dtypes: Sequence[str]) -> Problem | None:
    """Why no time can be stated for `gpu`; None where all it takes is known."""
    if gpu.bandwidth_gbs is None:
        return Problem("time.no_bandwidth", field="gpu", value=gpu.name)
    for dtype in dtypes:
        if dtype == "bfloat16" and gpu.bf16_supported is False:
            return Problem("time.no_bf16", field="gpu", value=gpu.name)
        if _tflops(gpu, dtype) is None:
            return Problem("time.no_tflops", field="gpu", value=gpu.name, dtype=dtype)
    return None


def seconds(work: Amounts, gpu: Gpu, share_bytes: float = 0.0) -> tuple[float, float]:
    """(seconds at the rated speed, those of them that wait for arithmetic); `share_bytes` is moved beside. Ask
    `unrated` first.

    t = sum over groups g of max(F_g / P_g, M_g / W)  +  (M_other + share) / W

    F operations at the card's rate P for their type, M bytes moved at its bandwidth W: a group of operators waits for
    the slower of the two, and groups run one after another."""
    bandwidth = gpu.bandwidth_gbs * GIGA
    waits = [(group.flops / (_tflops(gpu, group.dtype) * TERA), group.moved_bytes / bandwidth) for group in work.groups]
    arithmetic = sum(compute for compute, memory in waits if compute >= memory)
    memory = sum(memory for compute, memory in waits if compute < memory)
    return arithmetic + memory + (work.other_bytes + share_bytes) / bandwidth, arithmetic


def _tflops(gpu: Gpu, dtype: str) -> float | None:
    """torch multiplies fp32 without the tensor cores' TF32 unless asked to (torch.backends.cuda.matmul.allow_tf32).

    LLM.int8's products count as fast as those in 16 bits: the units are faster (NVIDIA's from Turing on, which
    bitsandbytes asks for), but the method was measured 15 to 23 % slower than 16 bits as a whole
    (huggingface.co/blog/hf-bitsandbytes-integration).
    """
    if dtype == "int8":
        return (
            gpu.fp16_bf16_dense_tflops
            if gpu.vendor == "NVIDIA" and float(gpu.compute_capability) >= INT8_CAPABILITY
            else None
        )
    return {
        "float32": gpu.fp32_tflops,
        "bfloat16": gpu.fp16_bf16_dense_tflops,
        "float16": gpu.fp16_bf16_dense_tflops,
    }.get(dtype)
