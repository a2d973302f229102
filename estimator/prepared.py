"""The model that a recipe trains, built on the meta device: dtype, packed layers, adapters, checkpointing, depth.

Transformers, PEFT and bitsandbytes build it; imported where torch is, by `estimator.step` and `estimator.fit` only.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import transformers
from torch import nn

from estimator import autocast, kernels, packed, program
from estimator.law import Loop
from estimator.recipe import Recipe
from estimator.trace import build_on_meta
from estimator.work import recomputing


def prepared(recipe: Recipe, config: dict[str, Any], loop: Loop, layers: int | None, class_name: str | None = None) -> nn.Module:
    """The model as the loop trains it: dtype, quantized layers, adapters, checkpointing."""
    config = {**config, "use_cache": False}
    model = build_on_meta(config, class_name, dtype=program.dtype(recipe))
    model.config.use_cache = False
    _set_attention(model, "eager" if recipe.attn_implementation == "eager" else kernels.ATTENTION)
    if layers:
        _shorten(model, layers)
    if recipe.is_quantized:
        model = packed.quantized(model, recipe)
    model.train()
    if recipe.is_quantized and loop.upcasts != "none":
        _upcast(model, program.dtype(recipe), norms_only=loop.upcasts == "norms")
    if recipe.gradient_checkpointing:
        contexts = lambda: (contextlib.nullcontext(), recomputing(autocast.around(recipe.mixed_precision)))  # noqa: E731
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False, "context_fn": contexts})
    if recipe.has_adapters:
        model = _adapted(model, recipe, loop)
    elif recipe.gradient_checkpointing:
        model.enable_input_require_grads()
    return model


def _upcast(model: nn.Module, dtype: torch.dtype, norms_only: bool) -> None:
    """PEFT's preparation; TRL before 0.14 then cast head and embeddings back (`peft_module_casting_to_bf16`)."""
    from peft import prepare_model_for_kbit_training

    prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if norms_only:
        for module in (model.get_input_embeddings(), model.get_output_embeddings()):
            module.weight.data = module.weight.data.to(dtype)


def _set_attention(model: nn.Module, name: str) -> None:
    for part in model.modules():
        if isinstance(part, transformers.PreTrainedModel):
            for config in (part.config, part.config.get_text_config()):
                config._attn_implementation = name


def layer_config(model: nn.Module) -> Any:
    """The configuration of the text model."""
    return next(module for module in model.modules() if isinstance(module, transformers.PreTrainedModel)).config.get_text_config()


def layer_stack(model: nn.Module) -> nn.ModuleList:
    """The list of the text model's layers: the one whose length the configuration states, else the longest."""
    config = layer_config(model)
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    stated = [module for module in lists if len(module) == getattr(config, "num_hidden_layers", None)]
    return max(stated or lists, key=lambda module: sum(p.numel() for p in module.parameters()))


def _shorten(model: nn.Module, layers: int) -> None:
    """Keep the first `layers` layers; the configuration keeps its lists, of which only the first entries are read."""
    stack = layer_stack(model)
    del stack[layers:]
    for part in model.modules():
        if isinstance(part, transformers.PreTrainedModel):
            part.config.get_text_config().num_hidden_layers = layers


def _adapted(model: nn.Module, recipe: Recipe, loop: Loop) -> nn.Module:
    """PEFT's adapters; TRL casts those of a quantized base to bf16 (see `program.keep_adapters_in_float32`)."""
    from peft import get_peft_model

    settings = program.lora_config(recipe)
    settings.init_lora_weights = False  # values are never looked at, and some of them need real weights
    model = get_peft_model(model, settings, low_cpu_mem_usage=True)
    if recipe.gradient_checkpointing:
        model.enable_input_require_grads()
    if recipe.is_quantized and loop.half_adapters and recipe.dtype != "float32":
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_magnitude_vector" not in name:
                parameter.data = parameter.data.to(torch.bfloat16)
    return model


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def base_of(model: nn.Module) -> nn.Module:
    """The model under PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
