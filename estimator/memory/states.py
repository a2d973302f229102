"""Bytes that do not depend on the batch: weights, quantization state, gradients, optimizer states.

Every form restates a documented layout and is tested byte for byte against the real thing on the CPU
(tests/estimator/test_states.py): bitsandbytes 0.50 `Linear4bit` / `Linear8bitLt`, torch and bitsandbytes optimizers.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from estimator.adapters.adapters import Tensors, Trainables
from estimator.core.units import width_bytes
from estimator.model.inventory import Inventory, Module, converted
from estimator.recipe.optimizers import FACTORED, OWN, SCALAR, Optimizer, State, optimizer
from estimator.recipe.recipe import Recipe

BLOCK_4BIT = 64
"""Elements that share one scale (bitsandbytes functional.quantize_4bit)."""
BLOCK_NESTED = 256
"""Scales that share one scale under double quantization (functional.quantize_blockwise)."""
CODE_4BIT_BYTES = 16 * 4
"""The table of the 16 values, one for each layer."""
CODE_NESTED_BYTES = 256 * 4
"""The table of the 256 values of quantized scales, a copy for each layer (functional.quantize_blockwise)."""
BLOCK_8BIT = 256
CHUNK_FOREACH = 65536
"""Elements that one block of a multi-tensor kernel reads (ATen/native/cuda/MultiTensorApply.cuh kChunkSize)."""
MIN_8BIT_ELEMENTS = 4096
"""Smaller tensors keep fp32 states (optim.GlobalOptimManager, min_8bit_size)."""
MIN_PAGED_ELEMENTS = 100_000
QMAP_8BIT_BYTES = 256 * 4
"""The table of a moment's 256 values, one for all tensors (optim.optimizer.Optimizer8bit.fill_qmap)."""


@dataclass(frozen=True)
class Weights:
    """Bytes of the base model as stored for training.

    `largest_linear` is the size in elements of the largest quantized layer: what a dequantized copy takes.
    """

    weights_bytes: int
    quantization_state_bytes: int
    quantized_parameters: int
    largest_linear: int = 0


@functools.lru_cache(maxsize=512)
def base_weights(
    inventory: Inventory, dtype: str, quantization: str | None, double_quant: bool, upcast: str
) -> Weights:
    """Bytes of the base model. `upcast` says what becomes fp32 before training on quantized weights
    (`Loop.upcasts`)."""
    weights = state = quantized = largest = 0
    for group in inventory.groups:
        weight = group.parameter("weight")
        for parameter in group.parameters:
            if parameter.tied is not None:
                continue
            count = group.count
            if parameter is weight and quantization:
                packed = _packed_count(group, inventory)
                packed_bytes, state_bytes = quantized_bytes(weight.shape, quantization, double_quant, group.kind)
                weights, state = weights + packed * packed_bytes, state + packed * state_bytes
                quantized += packed * weight.numel
                largest = max(largest, weight.numel if packed else 0)
                count -= packed
            weights += count * parameter.numel * width_bytes(parameter_dtype(group, dtype, bool(quantization), upcast))
    return Weights(weights + inventory.buffer_bytes, state, quantized, largest)


def quantized_bytes(
    shape: tuple[int, ...], quantization: str, double_quant: bool, kind: str = "Linear"
) -> tuple[int, int]:
    """(weight, state) bytes of one quantized layer's weight.

    nf4/fp4: two elements a byte, fp32 scale per 64, or with double quantization a byte per scale, fp32 per 256 scales
    and an fp32 mean; and the tables. int8: a byte an element, fp32 scale for each output (Conv1D stores in x out).
    """
    packed, *state = quantized_parts(shape, quantization, double_quant, kind)
    return packed, sum(state)


def quantized_parts(
    shape: tuple[int, ...], quantization: str, double_quant: bool, kind: str = "Linear"
) -> tuple[int, ...]:
    """Bytes of each tensor that stores one layer's weight: the packed weight, its scales, their scales, mean and
    tables.

    Of n elements, in 4 bits: ceil(n / 2), then 4 s of s = ceil(n / 64) scales and the table; with double quantization
    s, the table, 4 for the mean, 4 ceil(s / 256), and the nested table. int8: n, and 4 for each output.
    """
    numel = math.prod(shape)
    if quantization == "int8":
        return numel, 4 * (shape[1] if kind == "Conv1D" else shape[0])
    scales = -(-numel // BLOCK_4BIT)
    packed = (numel + 1) // 2
    if not double_quant:
        return packed, 4 * scales, CODE_4BIT_BYTES
    return packed, scales, CODE_4BIT_BYTES, 4, 4 * -(-scales // BLOCK_NESTED), CODE_NESTED_BYTES


def _packed_count(group: Module, inventory: Inventory) -> int:
    """How many layers of a group bitsandbytes replaces: exactly `nn.Linear` and `Conv1D` that no skip pattern meets."""
    return sum(is_packed(group, name, inventory) for name in group.names)


def is_packed(group: Module, name: str, inventory: Inventory) -> bool:
    return group.kind in ("Linear", "Conv1D") and converted(name, inventory.not_quantized)


def stored_dtype(group: Module, dtype: str) -> str:
    """The type in which Transformers loads a group's tensors that are not quantized."""
    return "float32" if group.fp32 == "always" or (group.fp32 == "half" and dtype == "float16") else dtype


def parameter_dtype(group: Module, dtype: str, is_quantized: bool, upcast: str) -> str:
    """The type in which they train: `upcast` raises some beside quantized weights (`Loop.upcasts`)."""
    raised = is_quantized and (upcast == "all" or (upcast == "norms" and group.kind == "Norm"))
    return "float32" if raised else stored_dtype(group, dtype)


@dataclass(frozen=True)
class Training:
    """Bytes that come with the trained tensors. `paged_bytes` of the states lie in managed memory, outside torch's
    view."""

    adapters_bytes: int
    gradients_bytes: int
    optimizer_states_bytes: int
    paged_bytes: int
    step_temporary_bytes: int
    largest_gradient_bytes: int


def training_bytes(recipe: Recipe, trained: Trainables, *, adapter_dtype: str, device: str = "cuda") -> Training:
    """Bytes of the adapters (with the copies of modules_to_save), their gradients and the optimizer's states.

    `adapter_dtype` is that of A, B and the trained rows (peft `cast_adapter_dtype`); on a quantized base TRL gives it
    to everything that trains but DoRA's magnitudes. PEFT keeps the rows' first values too, in the type that it made
    them in.
    """
    own_dtype = adapter_dtype if recipe.is_quantized else recipe.dtype
    kept_dtype = "float32" if recipe.autocast_adapter_dtype else recipe.dtype
    clips = bool(recipe.max_grad_norm)
    return _training_bytes(trained, recipe.optim, clips, adapter_dtype, own_dtype, kept_dtype, device)


@functools.lru_cache(maxsize=2048)
def _training_bytes(
    trained: Trainables, optim: str, clips: bool, adapter_dtype: str, own_dtype: str, kept_dtype: str, device: str
) -> Training:
    parts = [
        (trained.lora, adapter_dtype),
        (trained.token_rows, adapter_dtype),
        (trained.magnitudes, kept_dtype),
        (trained.copies, own_dtype),
        (trained.unfrozen, own_dtype),
    ]
    new_bytes = sum(width_bytes(dtype) * _numel(tensors) for tensors, dtype in parts[:4])
    new_bytes += width_bytes(kept_dtype) * (_numel(trained.frozen) + _numel(trained.token_rows))
    gradients = sum(width_bytes(dtype) * _numel(tensors) for tensors, dtype in parts)
    states = paged = temporary = largest = 0
    for tensors, dtype in parts:
        for shape, count in tensors:
            resident, managed = optimizer_bytes(optim, shape, dtype, device)
            states, paged = states + count * resident, paged + count * managed
            largest = max(largest, math.prod(shape) * width_bytes(dtype))
        temporary += _foreach_bytes(optim, tensors, dtype, device)
    if states + paged:
        states += qmap_bytes(optim)
    temporary = max(temporary or _single_temporary(optim, parts), _clip_bytes(clips, parts, device))
    return Training(new_bytes, gradients, states, paged, temporary, largest)


def optimizer_bytes(optim: str, shape: tuple[int, ...], dtype: str, device: str = "cuda") -> tuple[int, int]:
    """(resident, paged) bytes of one tensor's states under Transformers' optimizer `optim`
    (`estimator.recipe.optimizers`).

    What lies on the host beside a device is not counted: on the CPU it is. Of paged states the large tensors' values
    are paged, their scales never.
    """
    record, numel = optimizer(optim), math.prod(shape)
    resident = paged = 0
    for state in record.states:
        if state.device == "cpu" and device != "cpu":
            continue
        values, scales = _state_bytes(record, state, shape, dtype)
        if record.paged and numel >= MIN_PAGED_ELEMENTS and device != "cpu":
            paged, resident = paged + values, resident + scales
        else:
            resident += values + scales
    return resident, paged


def _state_bytes(record: Optimizer, state: State, shape: tuple[int, ...], dtype: str) -> tuple[int, int]:
    """(values, scales and tables) of one state: n x width and 0; blockwise n and 4 ceil(n / 256) of fp32 scales;
    factored (n / columns + n / rows) x width, which are the means of a matrix's rows and of its columns."""
    numel = math.prod(shape)
    if state.shape == SCALAR:
        return width_bytes(state.dtype), 0
    if state.shape == FACTORED:
        elements = numel // shape[-1] + numel // shape[-2] if len(shape) >= 2 else numel
        return elements * width_bytes(state.dtype), 0
    kept = state.dtype
    if kept == "uint8":
        if numel >= MIN_8BIT_ELEMENTS and not (state.whole_blocks and numel % BLOCK_8BIT):
            return numel, 4 * -(-numel // BLOCK_8BIT) + record.tables_each // record.moments * QMAP_8BIT_BYTES
        kept = state.small
    return numel * width_bytes(dtype if kept == OWN else kept), 0


def qmap_bytes(optim: str) -> int:
    """bitsandbytes' tables of 256 values, once for each moment of an 8-bit optimizer."""
    return optimizer(optim).tables * QMAP_8BIT_BYTES


def temporary_of_all(optim: str, device: str = "cuda") -> bool:
    """Whether its step holds something beside every trained tensor at once: a multi-tensor AdamW the square roots of
    all second moments (torch.optim.adam, CUDA's default)."""
    record = optimizer(optim)
    return record.temporary == "second_moments" and (device != "cpu" or record.multi_tensor_on_cpu)


def _clip_bytes(clips: bool, parts: list[tuple[Tensors, str]], device: str) -> int:
    """What clipping holds before the optimizer's step: `torch._foreach_norm` a partial sum in fp32 for each chunk of
    the longest tensor, for every tensor (ATen/native/cuda/ForeachReduceOp.cu foreach_tensor_norm_cuda); the gradients
    are scaled in place."""
    if not clips or device == "cpu":
        return 0
    shapes = [(math.prod(shape), count) for tensors, _ in parts for shape, count in tensors]
    return 4 * sum(count for _, count in shapes) * -(-max((numel for numel, _ in shapes), default=0) // CHUNK_FOREACH)


def _foreach_bytes(optim: str, tensors: Tensors, dtype: str, device: str) -> int:
    return width_bytes(dtype) * _numel(tensors) if temporary_of_all(optim, device) else 0


def _single_temporary(optim: str, parts: list[tuple[Tensors, str]]) -> int:
    """Per-tensor optimizers hold temporaries of one tensor: AdamW's loop the denominator, Adafactor fp32 copies."""
    largest = max(
        (math.prod(shape) * width_bytes(dtype) for tensors, dtype in parts for shape, _ in tensors), default=0
    )
    elements = max((math.prod(shape) for tensors, _ in parts for shape, _ in tensors), default=0)
    # Adafactor.step: the update, and fp32 copies of gradient and weight where those are half precision.
    return {"second_moments": largest, "fp32_copies": 3 * 4 * elements, "": 0}[optimizer(optim).temporary]


def _numel(tensors: Tensors) -> int:
    return sum(math.prod(shape) * count for shape, count in tensors)
