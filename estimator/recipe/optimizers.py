"""The optimizers: one record each, read wherever an optimizer's kind matters. A new one is a record here; `tests/estimator/
test_optimizers.py` walks every place for each. No torch.

Sources: torch 2.13 (torch/optim), bitsandbytes 0.50 (optim/optimizer.py), Transformers 5.23 (optimization.py, trainer_optimizer.py),
torchao (optim/adam.py), schedulefree 1.4 (the package of Transformers' `schedule_free_*`).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

OWN = "own"
"""The type, or the device, of the tensor that trains."""
LIKE, FACTORED, SCALAR = "like", "factored", "scalar"
"""Shapes: as the tensor that trains; means of a matrix's rows and of its columns, of anything else as it is; one number."""


@dataclass(frozen=True)
class State:
    """A tensor kept for each one that trains.

    `dtype` "uint8" is blockwise: codes with one fp32 scale for each block, and fp32 for tensors too small for it.
    """

    shape: str = LIKE
    dtype: str = OWN
    device: str = OWN
    """OWN, or "cpu": on the host whatever trains where."""
    small: str = "float32"
    """What a tensor too small for blocks is kept in."""
    whole_blocks: bool = False
    """Whether tensors that end in the middle of a block are kept as small ones are."""


@dataclass(frozen=True)
class Passes:
    """How often a step reads or writes each tensor (`estimator.cost.roofline`). What it says by itself is one kernel: gradient, weight
    and states read, weight and states written."""

    gradients: int = 3
    """Of tensors of the gradients' size, in their type."""
    decay: int = 0
    """More of these under a weight decay."""
    states: int = 2
    """Of the states, where these are not among the first."""
    fp32: int = 0
    """Of tensors of the gradients' size in fp32, whatever their type."""
    casts_bytes: int = 0
    """Bytes an element in half precision besides."""


@dataclass(frozen=True)
class Optimizer:
    """What a recipe's `optim` names."""

    name: str
    states: tuple[State, ...]
    temporary: str = ""
    """What its step holds: "second_moments", the square roots of all at once (torch's multi-tensor loop); "fp32_copies", three of the
    largest tensor; nothing in one kernel."""
    multi_tensor_on_cpu: bool = False
    """Whether it steps all tensors at once on a CPU too; torch's own take one after another there."""
    tables: int = 0
    """Tables of 256 fp32 values, for all tensors together."""
    tables_each: int = 0
    """The same, for each tensor that is kept in blocks."""
    paged: bool = False
    """Whether large states lie in memory that host and device share."""
    passes: Passes = Passes()
    on_mps: bool = True
    """Whether Apple's GPUs have its kernels."""
    shards: tuple[str, ...] = ()
    """Of `fsdp` and `tp`, those whose DTensors it takes; tensor parallel leaves some tensors plain beside them."""
    offloads: bool = False
    """Whether Accelerate puts DeepSpeed's CPU AdamW in its place."""
    milder: tuple[str, ...] = ()
    """Optimizers that need less and do nearly the same, the mildest change first (`estimator.advice.changes`)."""
    package: str = ""
    """What has to be installed beside the train extra."""
    averages: bool = False
    """Whether an average of its iterates stands in for a schedule of the rate; its `eval()` puts the average into the weights."""
    warmup: str = ""
    """Who takes `warmup_steps`: nothing leaves them to the schedule, "steps" is the optimizer itself, as a number of steps; "none":
    nobody, its own correction warms up."""

    @property
    def moments(self) -> int:
        """States as large as the tensor itself."""
        return sum(state.shape == LIKE for state in self.states)


_OWN, _FP32, _BLOCKS, _COUNT = State(), State(dtype="float32"), State(dtype="uint8"), State(SCALAR, "float32")
_BOTH = ("fsdp", "tp")
_TORCHAO = State(dtype="uint8", small=OWN, whole_blocks=True)


# torch/optim/adam.py _multi_tensor_adam: lerp 3, mul 2, addcmul 3, sqrt 2, div 2, add 2, addcdiv 4
_MULTI_TENSOR = Passes(18, decay=2, states=0)
_SGD = Passes(3, decay=3, states=0)
# transformers/optimization.py Adafactor.step over a tensor in fp32: norm 1, square 2, eps 2, means 2, outer product 1, times the
# gradient 3, norm 1, clip 2, rate 2, negation 2, sum 3; besides gradient and weight to fp32 (2 + 4 each), the weight back (4 + 2)
_ADAFACTOR = Passes(0, states=0, fp32=21, casts_bytes=18)
# schedulefree adamw_schedulefree.py step: mul 2, addcmul 3, div 2, sqrt 2, add 2, div 3; what both have: lerp 3, add 3, sub 3
_SCHEDULE_FREE_ADAMW, _SCHEDULE_FREE_SGD = Passes(23, decay=3, states=0), Passes(9, decay=3, states=0)


def _bitsandbytes(name: str, moments: int, eight: bool, milder: tuple[str, ...] = ()) -> Optimizer:
    """bitsandbytes has 8-bit kernels for CUDA and CPU; paging needs its native library."""
    paged = name.startswith("paged_")
    state = _BLOCKS if eight else _FP32
    return Optimizer(
        name, (state,) * moments, tables=moments * eight, paged=paged, on_mps=not (eight or paged), milder=milder
    )


_ALL = (
    Optimizer(
        "adamw_torch", (_OWN, _OWN, State(SCALAR, "float32", "cpu")), "second_moments", passes=_MULTI_TENSOR, shards=_BOTH,
        offloads=True, milder=("adamw_torch_fused", "paged_adamw_32bit", "adamw_bnb_8bit", "paged_adamw_8bit", "adafactor"),
    ),
    Optimizer(
        "adamw_torch_fused", (_OWN, _OWN, _COUNT), shards=_BOTH, offloads=True,
        milder=("paged_adamw_32bit", "adamw_bnb_8bit", "paged_adamw_8bit", "adafactor"),
    ),
    _bitsandbytes("adamw_bnb_8bit", 2, True, ("paged_adamw_8bit", "adafactor")),
    _bitsandbytes("paged_adamw_8bit", 2, True),
    _bitsandbytes("paged_adamw_32bit", 2, False, ("paged_adamw_8bit", "adafactor")),
    Optimizer("adafactor", (State(FACTORED, "float32"), _COUNT), "fp32_copies", passes=_ADAFACTOR),
    Optimizer("sgd", (), passes=_SGD, shards=_BOTH),
    _bitsandbytes("lion_32bit", 1, False),
    _bitsandbytes("lion_8bit", 1, True),
    _bitsandbytes("paged_lion_32bit", 1, False),
    _bitsandbytes("paged_lion_8bit", 1, True),
    Optimizer(
        # its step is compiled, one tensor after another: at most the fp32 values of both moments and of the update at once
        "adamw_torch_8bit", (_TORCHAO, _TORCHAO, State(SCALAR, "float32", "cpu")), "fp32_copies", tables_each=2, on_mps=False,
        milder=("paged_adamw_8bit", "adafactor"), package="torchao",
    ),
    # states: z, the iterate that the gradient moves, a copy of the weight; and the second moment
    Optimizer(
        "schedule_free_adamw", (_OWN, _OWN), "second_moments", True, passes=_SCHEDULE_FREE_ADAMW, shards=("fsdp",),
        package="schedulefree", averages=True, warmup="steps",
    ),
    Optimizer(
        "schedule_free_radam", (_OWN, _OWN), "second_moments", True, passes=_SCHEDULE_FREE_ADAMW, shards=("fsdp",),
        package="schedulefree", averages=True, warmup="none",
    ),
    Optimizer(
        "schedule_free_sgd", (_OWN,), passes=_SCHEDULE_FREE_SGD, shards=("fsdp",), package="schedulefree", averages=True, warmup="steps",
    ),
)  # fmt: skip
RECORDS: dict[str, Optimizer] = {record.name: record for record in _ALL}
ALIASES = {
    "adamw": "adamw_torch", "adamw_fused": "adamw_torch_fused", "adamw_8bit": "adamw_bnb_8bit", "adamw_bnb": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit", "lion": "lion_32bit", "paged_lion": "paged_lion_32bit",
}  # fmt: skip
"""Other names of the same: of Transformers (`OptimizerNames`), Unsloth and others."""
NEAREST = {
    "adamw_hf": "adamw_torch", "adamw_torch_xla": "adamw_torch_fused", "adamw_torch_npu_fused": "adamw_torch_fused",
    "adamw_apex_fused": "adamw_torch_fused", "adamw_anyprecision": "adamw_torch", "adamw_torch_4bit": "adamw_torch_8bit",
    "ademamix": "adamw_torch", "ademamix_8bit": "adamw_bnb_8bit", "paged_ademamix_32bit": "paged_adamw_32bit",
    "paged_ademamix_8bit": "paged_adamw_8bit", "adagrad": "adamw_torch", "rmsprop": "lion_32bit", "rmsprop_bnb": "lion_32bit",
    "rmsprop_bnb_32bit": "lion_32bit", "rmsprop_bnb_8bit": "lion_8bit", "galore_adamw": "adamw_torch",
    "galore_adamw_8bit": "adamw_bnb_8bit", "galore_adafactor": "adafactor", "galore_adamw_layerwise": "adamw_torch",
    "galore_adamw_8bit_layerwise": "adamw_bnb_8bit", "galore_adafactor_layerwise": "adafactor", "apollo_adamw": "adafactor",
    "apollo_adamw_layerwise": "adafactor", "lomo": "sgd", "adalomo": "adafactor", "grokadamw": "adamw_torch",
    "stable_adamw": "adamw_torch", "muon": "adamw_torch",
}  # fmt: skip
"""Optimizers that are not counted here, and the one whose memory and use are closest."""


def optimizer(name: str) -> Optimizer:
    """The record of a recipe's `optim`. There is no other: an unknown name is refused where a recipe is made."""
    return RECORDS[name]


def nearest(name: str) -> str:
    """The record closest to a name that has none."""
    plain = name.lower().strip()
    if plain in NEAREST:
        return NEAREST[plain]
    known = [*RECORDS, *ALIASES]
    close = difflib.get_close_matches(plain[:80], known, n=1, cutoff=0.0)
    found = close[0] if close else next(iter(RECORDS))
    return ALIASES.get(found, found)
