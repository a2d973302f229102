"""What only torch can tell: the tensor inventory of any configuration Transformers can build, without its weights.

The model is built on the meta device (shapes, no storage). Nothing is executed from a model's repository: `auto_map`,
quantization and kernel names in a configuration are dropped before Transformers sees it, and the result says so.
Imported by workers and by `estimator.make.shipped` only.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import transformers
from torch import nn
from transformers.pytorch_utils import Conv1D

from estimator.core.problems import Problem
from estimator.model.inventory import Inventory, Module, Parameter, compress, fold
from estimator.model.spec import check_sizes, without_code

# Tried in this order; the first that knows the configuration builds it.
AUTO_CLASSES = (
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForSeq2SeqLM",
    "AutoModelForMaskedLM",
    "AutoModel",
)


def derive(config: dict[str, Any], class_name: str | None = None) -> Inventory:
    """The inventory of the model that `config` (the content of a config.json) describes.

    `class_name` names one class of transformers; None takes the first of `AUTO_CLASSES` that fits. Raises `Problem`
    where the sizes are absurd (checked before anything is built) or Transformers cannot build the model.
    """
    model_type = check_sizes(config)
    model = build_on_meta(config, class_name)
    return inventory_of(model, model_type, untied=config.get("tie_word_embeddings") is False)


def knows(model_type: str) -> bool:
    """Whether the installed Transformers has this model type; any other needs code from the model's repository."""
    return model_type in transformers.CONFIG_MAPPING


def build_on_meta(config: dict[str, Any], class_name: str | None = None, dtype: torch.dtype | None = None) -> nn.Module:
    """The Transformers model of `config` on the meta device: every shape, no storage (an 8B model in about 0.1 s)."""
    try:
        with torch.device("meta"), quiet():
            made = transformers.AutoConfig.for_model(**without_code(config))
            model = _model_class(made, class_name)._from_config(made, dtype=dtype or torch.float32)
            return model.to("meta")  # `torch.normal` and others make their tensors elsewhere
    except Problem:
        raise
    except Exception as error:  # whatever a foreign configuration breaks inside Transformers is the user's to see
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise Problem("model.unbuildable", field="model", value=config.get("model_type"), reason=reason) from error


def inventory_of(model: nn.Module, model_type: str, untied: bool = False) -> Inventory:
    """Every module of `model` that owns parameters. `untied` counts tied heads apart (T5 checkpoints store them so)."""
    owner: dict[int, str] = {}
    modules = []
    head, source = _embedding(model.get_output_embeddings), _embedding(model.get_input_embeddings)
    kept = _kept_in_fp32(model)
    for name, module in model.named_modules():
        parameters = []
        for short, tensor in module.named_parameters(recurse=False):
            full = f"{name}.{short}" if name else short
            first = owner.setdefault(id(tensor), full)
            tied = first if first != full and not (untied and module is head) else None
            parameters.append(Parameter(short, tuple(tensor.shape), tied))
        if parameters:
            modules.append(
                Module(name, _kind(module), tuple(parameters), _expert_layout(module), kept(name, parameters))
            )
    for name, first in _missed_ties(model, owner, untied):
        modules = [_tie(module, name, first) for module in modules]
    return Inventory(
        model_type=model_type,
        class_name=type(model).__name__,
        groups=compress(modules),
        output_embedding=_name_of(model, head),
        input_embedding=_name_of(model, source),
        not_quantized=tuple(sorted(_not_quantized(model))),
        expert_names=_expert_names(model_type),
        buffer_bytes=sum(buffer.numel() * buffer.element_size() for buffer in model.buffers()),
        bare=fold(name for name, module in model.named_modules() if not any(True for _ in module.parameters())),
        lists=fold(
            name for name, module in model.named_modules() if isinstance(module, (nn.ModuleList, nn.ModuleDict))
        ),
        supports_checkpointing=bool(getattr(model, "supports_gradient_checkpointing", False)),
        versions={"transformers": transformers.__version__},
    )


def _missed_ties(model: nn.Module, owner: dict[int, str], untied: bool) -> list[tuple[str, str]]:
    """Ties declared by the model that the meta build left as two tensors."""
    if untied:
        return []
    declared = getattr(model, "all_tied_weights_keys", None) or {}
    return [(name, first) for name, first in declared.items() if name in owner.values() and first in owner.values()]


def _tie(module: Module, name: str, first: str) -> Module:
    parameters = tuple(
        Parameter(p.name, p.shape, first) if f"{module.name}.{p.name}" == name else p for p in module.parameters
    )
    return replace(module, parameters=parameters)


def _model_class(config: Any, class_name: str | None) -> Any:
    if class_name is not None:
        return getattr(transformers, class_name)
    for auto in AUTO_CLASSES:
        mapping = getattr(transformers, auto)._model_mapping
        if type(config) in mapping:
            found = mapping[type(config)]
            return found[0] if isinstance(found, tuple) else found
    raise Problem("model.unbuildable", field="model", value=config.model_type, reason="no model class for it")


def _kind(module: nn.Module) -> str:
    """As PEFT's and bitsandbytes' dispatch tell layers apart; `Linear+` is a subclass, which bitsandbytes leaves
    alone."""
    if isinstance(module, nn.Linear):
        return "Linear" if type(module) is nn.Linear else "Linear+"
    if isinstance(module, Conv1D):
        return "Conv1D"
    if isinstance(module, nn.Embedding):
        return "Embedding"
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and module.groups == 1:
        return "Conv"
    return "Norm" if "Norm" in type(module).__name__ else "Other"


def _expert_layout(module: nn.Module) -> str | None:
    """How a stacked expert tensor is laid out: PEFT's `ParamWrapper` reads `is_transposed` off the module."""
    if not any(parameter.dim() == 3 for parameter in module.parameters(recurse=False)):
        return None
    return "experts,in,out" if getattr(module, "is_transposed", False) else "experts,out,in"


def _kept_in_fp32(model: nn.Module) -> Callable[[str, list[Parameter]], str | None]:
    """Which modules Transformers loads in fp32 whatever `dtype` says (`_get_dtype_plan`): `half` for float16 only."""
    strict, half = (
        re.compile("|".join(p.replace("*", ".*") for p in patterns)) if patterns else None
        for patterns in (model._keep_in_fp32_modules_strict, model._keep_in_fp32_modules)
    )

    def kept(name: str, parameters: list[Parameter]) -> str | None:
        for word, expression in (("always", strict), ("half", half)):
            if expression and any(expression.search(f"{name}.{p.name}") for p in parameters):
                return word
        return None

    return kept


def _embedding(get: Callable[[], nn.Module | None]) -> nn.Module | None:
    """None where a model has none: some raise (Canine hashes characters)."""
    try:
        return get()
    except NotImplementedError:
        return None


def _name_of(model: nn.Module, wanted: Any) -> str | None:
    """None also for what is no module of the model (Perceiver gives a bare parameter)."""
    return next((name for name, module in model.named_modules() if module is wanted), None)


def _not_quantized(model: nn.Module) -> list[str]:
    """Patterns of modules bitsandbytes skips: `HfQuantizer.get_modules_to_not_convert` of the installed
    Transformers."""
    from transformers.quantizers.base import HfQuantizer

    return HfQuantizer.get_modules_to_not_convert(model, None, model._keep_in_fp32_modules)


def _expert_names(model_type: str) -> dict[str, Any] | None:
    """PEFT's renaming of expert targets (`w1` -> `gate_up_proj`), read off the installed PEFT; None where it has
    none."""
    from peft.utils import transformers_weight_conversion as conversion
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    if get_checkpoint_conversion_mapping(model_type) is None:
        return None
    base = conversion._MODEL_TO_CONVERSION_PATTERN.get(model_type)
    renamed = conversion._MOE_TARGET_MODULE_MAPPING.get(base)
    fused = conversion._MOE_FUSED_TARGETS.get(base)
    if not renamed or not fused:
        return None
    return {"renamed": dict(renamed), "fused": {name: list(old) for name, old in fused.items()}}


@contextlib.contextmanager
def quiet():
    """Transformers and torch warn about what a bare configuration lacks; that is no news to whoever asked for
    shapes."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(before)
