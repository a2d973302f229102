"""The optimizers: one record each, read wherever an optimizer's kind matters. A new one is a record here; `tests/estimator/
test_optimizers.py` walks every place for each. No torch.

Sources: torch 2.13 (torch/optim), bitsandbytes 0.50 (optim/optimizer.py), Transformers 5.23 (optimization.py, trainer_optimizer.py),
torchao (optim/adam.py).
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
class Optimizer:
    """What a recipe's `optim` names."""

    name: str
    states: tuple[State, ...]
    temporary: str = ""
    """What its step holds: "second_moments", the square roots of all at once (torch's multi-tensor loop on CUDA; on a CPU of the
    largest tensor); "fp32_copies", three of the largest tensor; nothing in one kernel."""
    tables: int = 0
    """Tables of 256 fp32 values, for all tensors together."""
    tables_each: int = 0
    """The same, for each tensor that is kept in blocks."""
    paged: bool = False
    """Whether large states lie in memory that host and device share."""
    passes: str = "fused"
    """How its step reads and writes memory (`estimator.cost.roofline`)."""
    on_mps: bool = True
    """Whether Apple's GPUs have its kernels."""
    shards: bool = False
    """Whether it takes the DTensors of FSDP2 and tensor parallel."""
    offloads: bool = False
    """Whether Accelerate puts DeepSpeed's CPU AdamW in its place."""
    milder: tuple[str, ...] = ()
    """Optimizers that need less and do nearly the same, the mildest change first (`estimator.advice.changes`)."""
    package: str = ""
    """What has to be installed beside the train extra."""

    @property
    def moments(self) -> int:
        """States as large as the tensor itself."""
        return sum(state.shape == LIKE for state in self.states)


_OWN, _FP32, _BLOCKS, _COUNT = State(), State(dtype="float32"), State(dtype="uint8"), State(SCALAR, "float32")
_TORCHAO = State(dtype="uint8", small=OWN, whole_blocks=True)


def _bitsandbytes(name: str, moments: int, eight: bool, milder: tuple[str, ...] = ()) -> Optimizer:
    """bitsandbytes has 8-bit kernels for CUDA and CPU; paging needs its native library."""
    paged = name.startswith("paged_")
    state = _BLOCKS if eight else _FP32
    return Optimizer(
        name, (state,) * moments, tables=moments * eight, paged=paged, on_mps=not (eight or paged), milder=milder
    )


_ALL = (
    Optimizer(
        "adamw_torch", (_OWN, _OWN, State(SCALAR, "float32", "cpu")), "second_moments", passes="multi_tensor", shards=True,
        offloads=True, milder=("adamw_torch_fused", "paged_adamw_32bit", "adamw_bnb_8bit", "paged_adamw_8bit", "adafactor"),
    ),
    Optimizer(
        "adamw_torch_fused", (_OWN, _OWN, _COUNT), shards=True, offloads=True,
        milder=("paged_adamw_32bit", "adamw_bnb_8bit", "paged_adamw_8bit", "adafactor"),
    ),
    _bitsandbytes("adamw_bnb_8bit", 2, True, ("paged_adamw_8bit", "adafactor")),
    _bitsandbytes("paged_adamw_8bit", 2, True),
    _bitsandbytes("paged_adamw_32bit", 2, False, ("paged_adamw_8bit", "adafactor")),
    Optimizer("adafactor", (State(FACTORED, "float32"), _COUNT), "fp32_copies", passes="adafactor"),
    Optimizer("sgd", (), passes="sgd", shards=True),
    _bitsandbytes("lion_32bit", 1, False),
    _bitsandbytes("lion_8bit", 1, True),
    _bitsandbytes("paged_lion_32bit", 1, False),
    _bitsandbytes("paged_lion_8bit", 1, True),
    Optimizer(
        # its step is compiled, one tensor after another: at most the fp32 values of both moments and of the update at once
        "adamw_torch_8bit", (_TORCHAO, _TORCHAO, State(SCALAR, "float32", "cpu")), "fp32_copies", tables_each=2, on_mps=False,
        milder=("paged_adamw_8bit", "adafactor"), package="torchao",
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
    "schedule_free_radam": "adamw_torch", "schedule_free_adamw": "adamw_torch", "schedule_free_sgd": "sgd",
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
