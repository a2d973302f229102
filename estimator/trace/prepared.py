"""The model that a recipe trains, built on the meta device: dtype, packed layers, adapters, checkpointing, depth.

Transformers, PEFT and bitsandbytes build it; imported where torch is, by `estimator.trace.step` and
`estimator.trace.fit` only.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
from typing import Any

import torch
import transformers
from torch import nn

from estimator.memory.stored import storage_of
from estimator.program import program
from estimator.recipe.loop import Loop
from estimator.recipe.recipe import Recipe
from estimator.trace import autocast, packed
from estimator.trace.meta_model import build_on_meta
from estimator.trace.work import recomputing


def prepared(
    recipe: Recipe, config: dict[str, Any], loop: Loop, layers: int | None, class_name: str | None = None
) -> nn.Module:
    """The model as the loop trains it: dtype, quantized layers, adapters, checkpointing."""
    model = _copied(built(json.dumps(config), class_name, program.dtype(recipe)), layers)
    model.config.use_cache = False
    set_attention(model, recipe.attn_implementation)
    if recipe.is_quantized:
        storage = storage_of(config)
        model = packed.quantized(
            model, recipe, list(storage.skipped) if storage and storage.skipped is not None else None
        )
    model.train()
    if recipe.is_quantized and loop.upcasts != "none":
        _upcast(model, program.dtype(recipe), norms_only=loop.upcasts == "norms")
    if recipe.gradient_checkpointing:
        _checkpoint(model, recipe)
    if recipe.has_adapters:
        model = _adapted(model, recipe, loop)
    elif recipe.gradient_checkpointing:
        model.enable_input_require_grads()
    return model


@functools.lru_cache(maxsize=2)
def built(config_json: str, class_name: str | None, dtype: torch.dtype) -> nn.Module:
    """The whole model, built once for the steps of a law and for the laws of a model; to be copied, not changed."""
    return build_on_meta({**json.loads(config_json), "use_cache": False}, class_name, dtype=dtype)


def _copied(model: nn.Module, layers: int | None) -> nn.Module:
    """A model of one's own, with the first `layers` layers (None: all); the configuration keeps its lists, of which
    only the first entries are read."""
    stack = layer_stack(model)
    whole = stack._modules
    try:
        stack._modules = dict(list(whole.items())[:layers])
        copied = copy.deepcopy(model)
    finally:
        stack._modules = whole
    for part in copied.modules() if layers else ():
        if isinstance(part, transformers.PreTrainedModel):
            part.config.get_text_config().num_hidden_layers = layers
    return copied


def _checkpoint(model: nn.Module, recipe: Recipe) -> None:
    """torch's own checkpointing; what it recomputes runs under the autocast it had, which torch restores on CUDA
    alone."""
    if not recipe.use_reentrant:
        contexts = lambda: (contextlib.nullcontext(), recomputing(autocast.around(recipe.mixed_precision)))  # noqa: E731
        model.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False, "context_fn": contexts}
        )
        return
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    for module in model.modules():
        if recipe.mixed_precision != "no" and hasattr(module, "_gradient_checkpointing_func"):
            module._gradient_checkpointing_func = functools.partial(
                _reentered, recipe.mixed_precision, module._gradient_checkpointing_func
            )


def _reentered(mixed_precision: str, checkpoint: Any, function: Any, *inputs: Any) -> Any:
    def run(*given: Any) -> Any:
        again = not torch.is_autocast_enabled("cuda")
        with autocast.around(mixed_precision) if again else contextlib.nullcontext():
            return function(*given)

    return checkpoint(run, *inputs)


def _upcast(model: nn.Module, dtype: torch.dtype, norms_only: bool) -> None:
    """PEFT's preparation; TRL before 0.14 then cast head and embeddings back (`peft_module_casting_to_bf16`)."""
    from peft import prepare_model_for_kbit_training

    for parameter in model.parameters():
        parameter.loaded_bytes = parameter.untyped_storage().nbytes()  # for `packed.statics`
    prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if norms_only:
        for module in (model.get_input_embeddings(), model.get_output_embeddings()):
            module.weight.data = module.weight.data.to(dtype)


def set_attention(model: nn.Module, name: str) -> None:
    """`sdpa` stands for all fused kernels; a part that has none computes eagerly, as Transformers lets it."""
    for part in model.modules():
        if isinstance(part, transformers.PreTrainedModel):
            is_fused = {"sdpa": part._supports_sdpa, "flash_attention_2": part._supports_flash_attn}.get(name, False)
            for config in (part.config, part.config.get_text_config()):
                config._attn_implementation = "sdpa" if is_fused else "eager"


def layer_config(model: nn.Module) -> Any:
    """The configuration of the text model."""
    return next(
        module for module in model.modules() if isinstance(module, transformers.PreTrainedModel)
    ).config.get_text_config()


def layer_stack(model: nn.Module) -> nn.ModuleList:
    """The list of the text model's layers: the one whose length the configuration states, else the longest."""
    config = layer_config(model)
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    stated = [module for module in lists if len(module) == getattr(config, "num_hidden_layers", None)]
    return max(stated or lists, key=lambda module: sum(p.numel() for p in module.parameters()))


def _adapted(model: nn.Module, recipe: Recipe, loop: Loop) -> nn.Module:
    """PEFT's adapters; TRL casts those of a quantized base to bf16 (see `program.keep_adapters_in_float32`)."""
    from peft import get_peft_model

    settings = program.lora_config(recipe)
    settings.init_lora_weights = False  # values are never looked at, and some of them need real weights
    model = get_peft_model(model, settings, low_cpu_mem_usage=True)
    if recipe.init_lora_weights == "mica":  # peft/tuners/lora/layer.py mica_init
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and ".lora_B." not in name)
    if not recipe.autocast_adapter_dtype:
        _follow_the_weights(model, program.dtype(recipe))
    if recipe.gradient_checkpointing:
        model.enable_input_require_grads()
    if recipe.is_quantized and loop.half_adapters and recipe.dtype != "float32":
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_magnitude_vector" not in name:
                parameter.data = parameter.data.to(torch.bfloat16)
    return model


def _follow_the_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """PEFT's adapters without `autocast_adapter_dtype`: of their layer's type, but float32 on packed weights, which are
    integers (`BaseTunerLayer._move_adapter_to_device_of_base_layer`, which leaves the meta device alone); DoRA's
    magnitudes are norms of unpacked weights."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        weight = getattr(module.get_base_layer(), "weight", None) if isinstance(module, BaseTunerLayer) else None
        if weight is None:
            continue
        for name, parameter in module.named_parameters():
            if (
                "lora_magnitude_vector" in name
                or ("lora_" in name or "trainable_tokens_" in name)
                and weight.is_floating_point()
            ):
                parameter.data = parameter.data.to(weight.dtype if weight.is_floating_point() else dtype)


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def base_of(model: nn.Module) -> nn.Module:
    """The model under PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
