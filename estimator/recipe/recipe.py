"""`Recipe`: the one description of a fine-tune.

The same frozen, validated record drives the estimate, the training worker, the run history and the command line. Field
names are PEFT's (`LoraConfig`) and Transformers' / TRL's (`SFTConfig`) own wherever they have one. Each default and
each limit is stated once, here: forms, flags and tests read them through `field_info`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import typing
from dataclasses import dataclass
from typing import Any

from estimator.core.fields import FieldInfo, checked, shown
from estimator.core.problems import Problem
from estimator.recipe import schedules
from estimator.recipe.distributed import DISTRIBUTED_TYPES, OFFLOAD_DEVICES, QUANT_STORAGES, conflicts
from estimator.recipe.optimizers import ALIASES, RECORDS, nearest
from estimator.recipe.tasks import CAUSAL_LM, Task

METHODS = ("full", "lora", "qlora")
QUANTIZATIONS = ("nf4", "fp4", "int8")
DTYPES = ("bfloat16", "float16", "float32")
MIXED_PRECISIONS = ("no", "bf16", "fp16")
SPELLED_PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "none": "no"}
SPELLED_ATTENTIONS = {"fa2": "flash_attention_2", "flash": "flash_attention_2", "flash_attention": "flash_attention_2"}
SPELLED_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
SPELLED_QUANTIZATIONS = {
    "4bit": "nf4", "4-bit": "nf4", "4": "nf4", "int4": "nf4", "8bit": "int8", "8-bit": "int8", "8": "int8",
}  # fmt: skip
"""Other names of the same choices, as people type them."""
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
BIASES = ("none", "all", "lora_only")
OPTIMIZERS = tuple(RECORDS)
"""Names of transformers.training_args.OptimizerNames that the estimator knows the states of."""
EXCESS_LENGTH_STRATEGIES = ("drop", "truncate", "split")
CHAT_TEMPLATES = ("own", "plain", "chatml", "gemma", "llama3", "phi3", "qwen2_5", "qwen3")
"""The base's own; two that any base can write; and others' by TRL's names, for bases that have their tokens."""
PACKING_STRATEGIES = ("bfd", "bfd_split", "wrapped")
SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")
# Of PEFT's values, those that need nothing but the weights. Left out: `eva`, `corda` and `lora_ga` run data through the
# model before the adapters are made, and `loftq` quantizes 16-bit weights itself by a loftq_config of its own.
INITIALISATIONS = ("true", "false", "gaussian", "orthogonal", "olora", "pissa", "pissa_niter_N", "mica")
PISSA_NITER = r"pissa_niter_\d{1,2}"


def _field(default: object = dataclasses.MISSING, **limits: object) -> Any:
    """A dataclass field with its limits: `choices` (a `pattern` for more, `aliases` for other names of them, `nearest`
    to name one), or `low`/`high` (inclusive; `above` is exclusive), and `unit`."""
    return dataclasses.field(default=default, metadata=limits)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One fine-tune, whole. Raises `Problem` (codes `recipe.*`) naming the field, its value and what is allowed."""

    # What is trained
    model: str = _field()
    """A preset's id, a local folder, a hub id, or a name that people use for one (`qwen2.5 7b`)."""
    method: str = _field("qlora", choices=METHODS)
    """`full` trains every weight, `lora` adapters on 16/32-bit weights, `qlora` adapters on quantized weights."""
    quantization: str = _field("nf4", choices=QUANTIZATIONS, aliases=SPELLED_QUANTIZATIONS)
    """bitsandbytes storage of the frozen weights; read only when `method` is `qlora`."""
    bnb_4bit_use_double_quant: bool = _field(True)
    """Quantize the quantization constants too (nf4 and fp4)."""
    dtype: str = _field("bfloat16", choices=DTYPES, aliases=SPELLED_DTYPES)
    """Type of the weights that are not quantized, and compute type of those that are."""

    # Adapters: PEFT's LoraConfig
    r: int = _field(16, low=1, high=4096)
    """Rank: inner dimension of A (r x in) and B (out x r)."""
    lora_alpha: int = _field(32, low=1, high=65536)
    """Scaling numerator: the update is B A x (lora_alpha / r)."""
    lora_dropout: float = _field(0.0, low=0.0, high=0.9)
    """Dropout on the adapter's input; above zero it keeps a mask for each layer."""
    target_modules: str | tuple[str, ...] | None = _field("all-linear", may_be_empty=True)
    """Names or suffixes of modules, one regular expression, or `all-linear`. Nothing, or the word `default`: PEFT's
    table by architecture. An empty list: no module, where `target_parameters` says what is adapted."""
    target_parameters: tuple[str, ...] | None = _field(None)
    """Names or suffixes of single tensors, such as `experts.gate_up_proj`: stacked experts get a pair of matrices
    each."""
    exclude_modules: str | tuple[str, ...] | None = _field(None)
    """Names, suffixes or a regular expression of modules left out."""
    layers_to_transform: tuple[int, ...] | None = _field(None)
    """Indices of the layers that get adapters; none means all."""
    layers_pattern: str | tuple[str, ...] | None = _field(None)
    """Name of the layer list, when it is not one PEFT knows."""
    rank_pattern: dict[str, int] | None = _field(None)
    """Rank by module name or regular expression, over `r`."""
    alpha_pattern: dict[str, int] | None = _field(None)
    """`lora_alpha` by module name or regular expression."""
    modules_to_save: tuple[str, ...] | None = _field(None)
    """Modules trained in full beside the adapters."""
    trainable_token_indices: tuple[int, ...] | dict[str, tuple[int, ...]] | None = _field(None)
    """Rows of the input embedding that train; or by name of the embedding, `{"embed_tokens": [0, 1]}`."""
    bias: str = _field("none", choices=BIASES)
    """Which biases train."""
    lora_bias: bool = _field(False)
    """A bias on each B, trained."""
    use_dora: bool = _field(False)
    """Weight-decomposed adapters (arXiv 2402.09353)."""
    use_rslora: bool = _field(False)
    """Scale by lora_alpha / sqrt(r) (arXiv 2312.03732): steadier at high ranks."""
    autocast_adapter_dtype: bool = _field(True)
    """Keep adapters in float32 on half-precision weights (argument of PEFT's get_peft_model)."""
    init_lora_weights: str = _field("true", choices=INITIALISATIONS, pattern=PISSA_NITER)
    """How A and B start. `true`: A random, B zero. `pissa` and `olora` take their start out of the base's weights;
    `mica` trains A only."""

    # The step: Transformers' TrainingArguments and TRL's SFTConfig
    max_length: int = _field(1024, low=8, high=1_048_576, unit="tokens")
    """Longest row trained, in tokens; longer rows are dropped and counted."""
    packing: bool = _field(False)
    """Fill rows of `max_length` with several examples each."""
    packing_strategy: str = _field("bfd", choices=PACKING_STRATEGIES)
    """How they are filled; read only with `packing`. `bfd` and `bfd_split` also lay a batch out as one row, and keep
    its examples apart by their positions; `wrapped` cuts wherever a row is full, and leaves the last one shorter."""
    per_device_train_batch_size: int = _field(2, low=1, high=4096, unit="rows")
    """Rows in one forward pass."""
    per_device_eval_batch_size: int | None = _field(None, low=1, high=4096, unit="rows")
    """Rows in one forward pass of an evaluation; none means as many as in training."""
    gradient_accumulation_steps: int = _field(1, low=1, high=4096)
    """Forward passes added up before one optimizer step."""
    gradient_checkpointing: bool = _field(True)
    """Keep only each layer's input and recompute the rest: less memory, about a third more time."""
    use_reentrant: bool = _field(False)
    """Checkpoint by torch's older, reentrant way (in TrainingArguments' gradient_checkpointing_kwargs)."""
    attn_implementation: str = _field("sdpa", choices=ATTENTIONS, aliases=SPELLED_ATTENTIONS)
    """Attention kernel."""
    mixed_precision: str = _field("no", choices=MIXED_PRECISIONS, aliases=SPELLED_PRECISIONS)
    """Autocast of the forward pass (Accelerate's name)."""
    optim: str = _field("adamw_torch", choices=OPTIMIZERS, aliases=ALIASES, nearest=nearest)
    """Optimizer, by Transformers' name."""
    learning_rate: float = _field(2e-4, above=0.0, high=1.0)
    """Peak learning rate."""
    lr_scheduler_type: str = _field("linear", choices=SCHEDULERS)
    """Course of the learning rate."""
    warmup_steps: float = _field(0.0, low=0.0, high=1_000_000)
    """Steps of warm-up; below 1 a share of all steps."""
    weight_decay: float = _field(0.0, low=0.0, high=1.0)
    """Decay of the trained weights."""
    max_grad_norm: float = _field(1.0, low=0.0, high=1000.0)
    """Gradient clipping by norm; 0 switches it off."""
    num_train_epochs: float = _field(3.0, above=0.0, high=1000.0)
    """Passes over the data."""
    max_steps: int = _field(-1, low=-1, high=100_000_000)
    """Optimizer steps; -1 leaves it to `num_train_epochs`."""
    assistant_only_loss: bool = _field(True)
    """Train on the assistant's turns only; rows of plain text train whole."""
    excess_length_strategy: str = _field("drop", choices=EXCESS_LENGTH_STRATEGIES)
    """What becomes of rows longer than `max_length` (Axolotl's name): left out, cut at their end, or split into several
    examples."""
    chat_template: str = _field("own", choices=CHAT_TEMPLATES)
    """How conversations are written as text. `own` is the base's; a base without one gets `plain`."""
    seed: int = _field(42, low=0, high=2**32 - 1)
    """Seeds initialisation, data order and dropout."""

    # Many devices: Accelerate's, DeepSpeed's and FSDP's names; all but the first are read only where it is above one
    num_processes: int = _field(1, low=1, high=1024, unit="devices")
    """Devices, one process each, on one machine."""
    distributed_type: str = _field("ddp", choices=DISTRIBUTED_TYPES)
    """What they share. `ddp`: nothing; `zero1`, `zero2`, `zero3` (DeepSpeed) and `fsdp` (FSDP2): more and more of the
    states, gradients and weights; `tp`: each layer; `pp`: the layers."""
    offload_optimizer_device: str = _field("none", choices=OFFLOAD_DEVICES)
    """Where DeepSpeed keeps the optimizer's states and steps them."""
    offload_param_device: str = _field("none", choices=OFFLOAD_DEVICES)
    """Where the shards of the weights wait (`zero3`, `fsdp`); under `fsdp` gradients and states too."""
    fsdp_reshard_after_forward: bool = _field(True)
    """Give a layer's gathered weights back between forward and backward."""
    ddp_gradient_as_bucket_view: bool = _field(False)
    """Gradients lie in DDP's buckets (DistributedDataParallelKwargs.gradient_as_bucket_view), not beside them."""
    bnb_4bit_quant_storage: str = _field("uint8", choices=QUANT_STORAGES, aliases=SPELLED_DTYPES)
    """Type that packed 4-bit weights are stored as. FSDP2 and ZeRO-3 cut them only if it is that of the other
    weights."""

    # What is written down
    logging_steps: int = _field(1, low=1, high=1_000_000)
    """Optimizer steps between two points of the curve."""
    eval_steps: int = _field(50, low=0, high=1_000_000)
    """Optimizer steps between two evaluations; 0 evaluates only at the end."""
    save_steps: int = _field(50, low=0, high=1_000_000)
    """Optimizer steps between two checkpoints; 0 saves only at the end."""
    save_total_limit: int = _field(2, low=1, high=1000)
    """Checkpoints kept."""

    def __post_init__(self) -> None:
        for info in FIELDS.values():
            object.__setattr__(self, info.name, checked(info, getattr(self, info.name)))
        _check_together(self)

    def replace(self, **changes: object) -> Recipe:
        """A copy with some fields changed; these, and what all fields say together, are validated again."""
        _check_names(changes)
        made = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(made, name, checked(FIELDS[name], value))
        _check_together(made)
        return made

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; tuples become lists."""
        return {name: _plain(getattr(self, name)) for name in FIELDS}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """The opposite of `to_dict`; an unknown key is a `Problem`, never ignored."""
        _check_names(data)
        if "model" not in data:
            raise Problem("recipe.missing", field="model", allowed="a preset's id, a local folder or a hub id")
        return cls(**data)

    @property
    def eval_batch_size(self) -> int:
        return self.per_device_eval_batch_size or self.per_device_train_batch_size

    @property
    def scaling(self) -> float:
        """What the update B A is multiplied by (PEFT's `LoraLayer.scaling`), patterns by name apart."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    @property
    def task(self) -> Task:
        """What it trains the model to do."""
        return CAUSAL_LM

    @property
    def is_quantized(self) -> bool:
        return self.method == "qlora"

    @property
    def has_adapters(self) -> bool:
        return self.method != "full"


_HINTS = typing.get_type_hints(Recipe)
FIELDS: dict[str, FieldInfo] = {
    f.name: FieldInfo(f.name, _HINTS[f.name], f.default, dict(f.metadata)) for f in dataclasses.fields(Recipe)
}


def _check_names(data: dict[str, Any]) -> None:
    for key, value in data.items():
        if key not in FIELDS:
            raise Problem("recipe.unknown_field", field=key, value=shown(value), allowed=", ".join(FIELDS))


def _check_together(recipe: Recipe) -> None:
    """What no single field can see."""
    half, adapters, qlora = recipe.dtype != "float32", recipe.has_adapters, recipe.is_quantized
    initial = recipe.init_lora_weights
    reads_weights = initial.startswith("pissa") or initial in ("orthogonal", "mica")
    refusals = (
        (
            recipe.attn_implementation == "flash_attention_2" and not half and recipe.mixed_precision == "no",
            ("attn_implementation", "dtype float32", "Use sdpa, or dtype bfloat16 or float16"),
        ),
        (
            recipe.method == "full" and recipe.dtype == "float16",
            ("dtype", "method full", "Use bfloat16, or float32 with mixed_precision fp16"),
        ),
        # LoraConfig.__post_init__
        (adapters and recipe.lora_bias and recipe.use_dora, ("lora_bias", "use_dora", "Use one of them")),
        (
            adapters and recipe.lora_bias and initial not in ("true", "false"),
            ("lora_bias", f"init_lora_weights {initial}", "Use init_lora_weights true"),
        ),
        # LoraLayer.resolve_lora_variant knows each alone
        (adapters and initial == "mica" and recipe.use_dora, ("init_lora_weights", "use_dora", "Use one of them")),
        # LoraLayer.pissa_init, mica_init and orthogonal_init take the type of the stored weight, an integer here
        (qlora and reads_weights, ("init_lora_weights", "method qlora", "Use true, gaussian or olora; or method lora")),
    )
    for refused, (field, other, allowed) in (*refusals, *conflicts(recipe), *schedules.conflicts(recipe)):
        if refused:
            raise Problem(
                "recipe.conflict", field=field, value=shown(getattr(recipe, field)), other=other, allowed=allowed
            )
    _check_tables(recipe)


def _check_tables(recipe: Recipe) -> None:
    """The values inside tables and lists of numbers."""
    for name, like in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha")):
        limits = FIELDS[like]
        for key, value in (getattr(recipe, name) or {}).items():
            if not limits.limits["low"] <= value <= limits.limits["high"]:
                raise Problem("recipe.range", field=name, value=f"{key} = {value}", allowed=limits.allowed)
    rows = recipe.trainable_token_indices
    for key, indices in (rows if isinstance(rows, dict) else {"": rows or (0,)}).items():
        name = f"{key} = " if key else ""
        if not indices or min(indices) < 0:
            raise Problem(
                "recipe.range",
                field="trainable_token_indices",
                value=name + shown(indices),
                allowed="row numbers from 0",
            )
        if len(set(indices)) < len(indices):  # PEFT would write one row twice, in no defined order
            raise Problem(
                "recipe.range", field="trainable_token_indices", value=name + shown(indices), allowed="each row once"
            )


def _plain(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value
