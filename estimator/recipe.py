"""`Recipe`: the one description of a fine-tune.

The same frozen, validated record drives the estimate, the training worker, the run history and the command line. Field
names are PEFT's (`LoraConfig`) and Transformers' / TRL's (`SFTConfig`) own wherever they have one. Each default and each
limit is stated once, here: forms, flags and tests read them through `field_info`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass
from typing import Any

from estimator.problems import Problem

METHODS = ("full", "lora", "qlora")
QUANTIZATIONS = ("nf4", "fp4", "int8")
DTYPES = ("bfloat16", "float16", "float32")
MIXED_PRECISIONS = ("no", "bf16", "fp16")
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
BIASES = ("none", "all", "lora_only")
# Names of transformers.training_args.OptimizerNames that the estimator knows the state bytes of.
OPTIMIZERS = (
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_bnb_8bit",
    "paged_adamw_8bit",
    "paged_adamw_32bit",
    "adafactor",
    "sgd",
    "lion_32bit",
)
SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")
INITIALISATIONS = ("true", "gaussian", "orthogonal")


def _field(default: Any = dataclasses.MISSING, **limits: Any) -> Any:
    """A dataclass field with its limits: `choices`, or `low`/`high` (inclusive; `above` is exclusive), and `unit`."""
    return dataclasses.field(default=default, metadata=limits)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One fine-tune, whole. Raises `Problem` (codes `recipe.*`) naming the field, its value and what is allowed."""

    # What is trained
    model: str = _field()
    """A preset's id, a local folder, or a hub id."""
    method: str = _field("qlora", choices=METHODS)
    """`full` trains every weight, `lora` adapters on 16/32-bit weights, `qlora` adapters on quantized weights."""
    quantization: str = _field("nf4", choices=QUANTIZATIONS)
    """bitsandbytes storage of the frozen weights; read only when `method` is `qlora`."""
    bnb_4bit_use_double_quant: bool = _field(True)
    """Quantize the quantization constants too (nf4 and fp4)."""
    dtype: str = _field("bfloat16", choices=DTYPES)
    """Type of the weights that are not quantized, and compute type of those that are."""

    # Adapters: PEFT's LoraConfig
    r: int = _field(16, low=1, high=4096)
    """Rank: inner dimension of A (r x in) and B (out x r)."""
    lora_alpha: int = _field(32, low=1, high=65536)
    """Scaling numerator: the update is B A x (lora_alpha / r)."""
    lora_dropout: float = _field(0.0, low=0.0, high=0.9)
    """Dropout on the adapter's input; above zero it keeps a mask for each layer."""
    target_modules: str | tuple[str, ...] = _field("all-linear")
    """Names or suffixes of modules, one regular expression, or `all-linear`."""
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
    bias: str = _field("none", choices=BIASES)
    """Which biases train."""
    use_dora: bool = _field(False)
    """Weight-decomposed adapters (arXiv 2402.09353)."""
    use_rslora: bool = _field(False)
    """Scale by lora_alpha / sqrt(r) (arXiv 2312.03732): steadier at high ranks."""
    init_lora_weights: str = _field("true", choices=INITIALISATIONS)
    """How A starts; B starts at zero."""

    # The step: Transformers' TrainingArguments and TRL's SFTConfig
    max_length: int = _field(1024, low=8, high=1_048_576, unit="tokens")
    """Longest row trained, in tokens; longer rows are dropped and counted."""
    per_device_train_batch_size: int = _field(2, low=1, high=4096, unit="rows")
    """Rows in one forward pass."""
    gradient_accumulation_steps: int = _field(1, low=1, high=4096)
    """Forward passes added up before one optimizer step."""
    gradient_checkpointing: bool = _field(True)
    """Keep only each layer's input and recompute the rest: less memory, about a third more time."""
    attn_implementation: str = _field("sdpa", choices=ATTENTIONS)
    """Attention kernel."""
    mixed_precision: str = _field("no", choices=MIXED_PRECISIONS)
    """Autocast of the forward pass (Accelerate's name)."""
    optim: str = _field("adamw_torch", choices=OPTIMIZERS)
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
    seed: int = _field(42, low=0, high=2**32 - 1)
    """Seeds initialisation, data order and dropout."""

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
            object.__setattr__(self, info.name, _checked(info, getattr(self, info.name)))
        _check_together(self)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some fields changed, validated again."""
        return Recipe.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; tuples become lists."""
        return {name: _plain(getattr(self, name)) for name in FIELDS}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """The opposite of `to_dict`; an unknown key is a `Problem`, never ignored."""
        for key, value in data.items():
            if key not in FIELDS:
                raise Problem("recipe.unknown_field", field=key, value=_shown(value), allowed=", ".join(FIELDS))
        if "model" not in data:
            raise Problem("recipe.missing", field="model", allowed="a preset's id, a local folder or a hub id")
        return cls(**data)

    @property
    def is_quantized(self) -> bool:
        return self.method == "qlora"

    @property
    def has_adapters(self) -> bool:
        return self.method != "full"


@dataclass(frozen=True)
class FieldInfo:
    """What a form, a flag or a check needs to know of one field."""

    name: str
    annotation: Any
    default: Any
    limits: dict[str, Any]

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types allowed, a union taken apart: `str | None` gives `(str, NoneType)`."""
        if isinstance(self.annotation, types.UnionType):
            return typing.get_args(self.annotation)
        return (self.annotation,)

    @property
    def allowed(self) -> str:
        """What is allowed, in words for an error."""
        if choices := self.limits.get("choices"):
            return ", ".join(choices)
        low, high, above = (self.limits.get(key) for key in ("low", "high", "above"))
        if high is not None:
            start = f"above {above:g}" if above is not None else f"{low:,}"
            return f"{start} to {high:,}" if above is None else f"{start}, at most {high:,}"
        return " or ".join(_KIND_WORDS[_kind(kind)] for kind in self.kinds)


_KIND_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list",
    dict: "a table of name = number",
    type(None): "nothing",
}


def _kind(annotation: Any) -> type:
    return typing.get_origin(annotation) or annotation


_HINTS = typing.get_type_hints(Recipe)
FIELDS: dict[str, FieldInfo] = {
    f.name: FieldInfo(f.name, _HINTS[f.name], f.default, dict(f.metadata)) for f in dataclasses.fields(Recipe)
}


def _checked(info: FieldInfo, value: Any) -> Any:
    """`value` in its canonical type, or a `Problem`."""
    value = _coerced(info, value)
    choices, low, high, above = (info.limits.get(key) for key in ("choices", "low", "high", "above"))
    if choices and value not in choices:
        raise Problem("recipe.choice", field=info.name, value=_shown(value), allowed=info.allowed)
    if high is not None and not (value <= high and (value > above if above is not None else value >= low)):
        raise Problem("recipe.range", field=info.name, value=_shown(value), allowed=info.allowed)
    if isinstance(value, (str, tuple)) and not value:
        raise Problem("recipe.missing", field=info.name, allowed=info.allowed)
    return value


def _coerced(info: FieldInfo, value: Any) -> Any:
    """Accept what JSON, TOML and forms deliver for a type (16.0 for 16, a list for a tuple) and nothing looser."""
    for kind in info.kinds:
        origin = _kind(kind)
        if origin is type(None) and value is None:
            return None
        if origin is bool and isinstance(value, bool):
            return value
        if origin in (int, float) and isinstance(value, (int, float)) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise Problem("recipe.range", field=info.name, value=_shown(value), allowed=info.allowed)
            if origin is float or value == int(value):
                return origin(value)
        if origin is str and isinstance(value, str):
            return value.strip()
        if origin is tuple and isinstance(value, (list, tuple)):
            item = typing.get_args(kind)[0]
            if all(isinstance(entry, item) and not isinstance(entry, bool) for entry in value):
                return tuple(value)
        if origin is dict and isinstance(value, dict):
            if all(isinstance(k, str) and isinstance(v, int) and not isinstance(v, bool) for k, v in value.items()):
                return dict(value)
    raise Problem("recipe.type", field=info.name, value=_shown(value), allowed=" or ".join(_words(info)))


def _words(info: FieldInfo) -> list[str]:
    return [_KIND_WORDS[_kind(kind)] for kind in info.kinds]


def _check_together(recipe: Recipe) -> None:
    """What no single field can see."""
    if recipe.dtype == "float32" and recipe.attn_implementation == "flash_attention_2" and recipe.mixed_precision == "no":
        raise Problem(
            "recipe.conflict",
            field="attn_implementation",
            value="flash_attention_2",
            other="dtype float32",
            allowed="Use sdpa, or dtype bfloat16 or float16",
        )
    if recipe.method == "full" and recipe.dtype == "float16":
        raise Problem(
            "recipe.conflict",
            field="dtype",
            value="float16",
            other="method full",
            allowed="Use bfloat16, or float32 with mixed_precision fp16",
        )
    for name in ("rank_pattern", "alpha_pattern"):
        for key, value in (getattr(recipe, name) or {}).items():
            limits = FIELDS["r" if name == "rank_pattern" else "lora_alpha"]
            if not limits.limits["low"] <= value <= limits.limits["high"]:
                raise Problem("recipe.range", field=name, value=f"{key} = {value}", allowed=limits.allowed)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    """A value as an error shows it: short, one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split()) or '""'
    return text if len(text) <= 120 else text[:117] + "..."
