"""bitsandbytes' layers with packed weights that take no memory, and what a prepared model keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from estimator.core.units import width_bytes
from estimator.memory.load_events import FULL_BYTES, HALF_BYTES, Static
from estimator.memory.states import BLOCK_4BIT, BLOCK_NESTED
from estimator.program import program
from estimator.recipe.recipe import Recipe


def quantized(model: nn.Module, recipe: Recipe, left: list[str] | None = None) -> nn.Module:
    """bitsandbytes' own layers with packed weights of the right size, as Transformers puts them in; `left` are those
    that a repository's own record leaves alone."""
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import HfQuantizer

    settings = program.quantization_config(recipe)
    skipped = HfQuantizer.get_modules_to_not_convert(model, left, model._keep_in_fp32_modules)
    model = replace_with_bnb_linear(model, modules_to_not_convert=skipped, quantization_config=settings)
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            _pack_4bit(module, recipe)
        elif type(module).__name__ == "Linear8bitLt":
            _pack_8bit(module)
    model.is_loaded_in_4bit = recipe.quantization != "int8"
    model.is_loaded_in_8bit = recipe.quantization == "int8"
    model.is_quantized = True
    return model


def _pack_4bit(module: nn.Module, recipe: Recipe) -> None:
    from bitsandbytes.functional import QuantState

    shape, dtype = module.weight.shape, program.dtype(recipe)
    blocks = -(-shape.numel() // BLOCK_4BIT)
    fresh = {"device": module.weight.device, "dtype": torch.float32}
    nested = QuantState(
        torch.empty(-(-blocks // BLOCK_NESTED), **fresh),
        blocksize=BLOCK_NESTED,
        code=torch.empty(256, **fresh),
        dtype=torch.float32,
    )
    double = recipe.bnb_4bit_use_double_quant
    state = QuantState(
        torch.empty(blocks, device=module.weight.device, dtype=torch.uint8 if double else torch.float32),
        shape=shape,
        code=torch.empty(16, **fresh),
        blocksize=BLOCK_4BIT,
        quant_type=recipe.quantization,
        dtype=dtype,
        offset=torch.empty((), **fresh) if double else None,
        state2=nested if double else None,
    )
    module.weight.data = torch.empty((shape.numel() // 2, 1), dtype=torch.uint8, device=module.weight.device)
    module.weight.quant_state, module.weight.bnb_quantized, module.quant_state = state, True, state
    if module.bias is not None:
        module.bias.data = module.bias.data.to(dtype)


def _pack_8bit(module: nn.Module) -> None:
    weight = module.weight
    weight.data = weight.data.to(torch.int8)
    weight.CB, weight.SCB = weight.data, torch.empty(weight.shape[0], device=weight.device, dtype=torch.float32)


def packed_state(model: nn.Module) -> Iterator[torch.Tensor]:
    """Tensors of quantization, which are neither parameters nor buffers."""
    for module in model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            parts = [state.absmax, state.code, state.offset]
            parts += [state.state2.absmax, state.state2.code] if state.state2 else []
            yield from (tensor for tensor in parts if tensor is not None)
        if getattr(getattr(module, "weight", None), "SCB", None) is not None:
            yield module.weight.SCB


def statics(model: nn.Module, recipe: Recipe) -> list[Static]:
    """The parameters of a prepared model under their names in the checkpoint, in the order in which they come to be."""
    made = []
    for name, parameter in model.named_parameters():
        name = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
        state = getattr(parameter, "quant_state", None)
        parts = [parameter.untyped_storage().nbytes()]
        if state is not None:
            parts += [t.numel() * t.element_size() for t in (state.absmax, state.code, state.offset) if t is not None]
            parts += (
                [t.numel() * t.element_size() for t in (state.state2.absmax, state.state2.code)] if state.state2 else []
            )
        if getattr(parameter, "SCB", None) is not None:
            parts.append(parameter.SCB.numel() * 4)
        shape = tuple(state.shape if state is not None else parameter.shape)
        is_new = "lora_" in name or "modules_to_save" in name
        dtype = str(parameter.dtype).removeprefix("torch.")
        loaded = HALF_BYTES * math.prod(shape) if len(parts) > 1 else _loaded_bytes(name, parameter, recipe)
        made.append(Static(name, tuple(parts), loaded, parameter.requires_grad, is_new, shape, dtype))
    return sorted(made, key=lambda static: static.is_new)


def _loaded_bytes(name: str, parameter: nn.Parameter, recipe: Recipe) -> int:
    """Before it was cast. PEFT makes A and B in the type of the weight they adapt, in fp32 on a packed one
    (tuners_utils `_move_adapter_to_device_of_base_layer`), and casts all of them afterwards (`cast_adapter_dtype`)."""
    if "lora_A" in name or "lora_B" in name:
        return parameter.numel() * (FULL_BYTES if recipe.is_quantized else width_bytes(recipe.dtype))
    return getattr(parameter, "loaded_bytes", parameter.untyped_storage().nbytes())
