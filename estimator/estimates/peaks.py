"""Every other moment at which memory may be the highest: loading, evaluation, saving, and what comes after the run.

All bytes are derived: loading from the allocator's replay, evaluation from a law of its own, saving and merging from
what the libraries hold, chat and samples from the model's cache. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from estimator.core.problems import Problem
from estimator.core.units import width_bytes
from estimator.estimates import disk
from estimator.estimates.parts import Parts
from estimator.law.law import Law
from estimator.memory.kv_cache import KvCache
from estimator.memory.states import base_weights
from estimator.memory.stored import storage_of
from estimator.model.catalog import Model
from estimator.recipe.batches import eval_shape
from estimator.recipe.recipe import Recipe
from estimator.shelf import caches

RUN = ("loading", "training_step", "evaluation", "saving")
"""Peaks of the run itself, which decide whether it fits; the others are judged apart."""
CHAT_ROWS = 2
"""The base's pane and the adapter's: one batch of two rows (studio/inference/mixing.py)."""


@dataclass(frozen=True)
class Peak:
    """One moment. `device_bytes` is what the device shows then, context included; None where it is not known.

    `host_bytes` is host memory beyond what the process's libraries take; `mapped_bytes` are pages of files, which the
    system takes back when it needs them. `when` says in a word what happens, and with `is_bound` the device's figure is
    at most right.
    """

    name: str
    device_bytes: int | None
    host_bytes: int
    when: str
    mapped_bytes: int = 0
    is_bound: bool = False


@dataclass(frozen=True)
class Step:
    """The training step's own peak, and how its figure was made from allocated bytes."""

    device_bytes: int
    moment: str
    reserved_over_allocated: float
    context_bytes: int

    @property
    def peak(self) -> Peak:
        return Peak("training_step", self.device_bytes, 0, self.moment)

    def shown_bytes(self, allocated_bytes: float) -> int:
        return round(allocated_bytes * self.reserved_over_allocated) + self.context_bytes


def run_peaks(recipe: Recipe, parts: Parts, step: Step) -> tuple[Peak, ...]:
    """The peaks of RUN, in that order."""
    law, is_bound = evaluation_law(parts)
    kept, paged = _kept_bytes(parts), parts.training.paged_bytes
    dynamic = law.dynamic_bytes(*eval_shape(recipe), recipe.r)
    return (
        _loading(recipe, parts, step),
        step.peak,
        Peak("evaluation", step.shown_bytes(kept + dynamic) + paged, 0, "forward", is_bound=is_bound),
        Peak("saving", step.shown_bytes(kept) + paged, saving_host_bytes(recipe, parts), "checkpoint"),
    )


def later_peaks(recipe: Recipe, parts: Parts, step: Step, derive: bool) -> tuple[Peak, ...]:
    """Samples drawn while the run's states are there (the studio draws none; of several devices it is not known),
    merging, and the chat, on one device."""
    law, _ = evaluation_law(parts)
    cache = _cache_of(parts.model, derive)
    sampled = cache if recipe.num_processes == 1 else None
    return (
        _generating(
            "generation", parts, step, law, sampled, _kept_bytes(parts) + parts.training.paged_bytes, recipe, 1
        ),
        _merging(recipe, parts, step),
        _chat(recipe, parts, step, law, cache),
    )


def _kept_bytes(parts: Parts) -> int:
    """What stands between two steps: the Trainer sets gradients to None before it evaluates and saves."""
    static = parts.static
    return sum(static.values()) - static["gradients"]


def largest(peaks: tuple[Peak, ...]) -> Peak:
    """The largest of a run's peaks on the device, of those that are known."""
    return max(
        (peak for peak in peaks if peak.name in RUN and peak.device_bytes is not None),
        key=lambda peak: peak.device_bytes,
    )


def evaluation_law(parts: Parts) -> tuple[Law, bool]:
    """The evaluation's own law; without one the step's, which holds all that an evaluation holds and more: a bound."""
    return (parts.evaluation, False) if parts.evaluation else (parts.law, True)


def _cache_of(model: Model, derive: bool) -> KvCache | None:
    try:
        return caches.of(model) if derive else caches.find(model)
    except Problem:
        return None


def _loading(recipe: Recipe, parts: Parts, step: Step) -> Peak:
    """Transformers' loader: see `load_events.loading`. LLM.int8 goes by the host, one tensor at a time
    (integrations/bitsandbytes.py).

    Every shard stays mapped until the last tensor is read; its pages are the system's to drop. FP8 and MXFP4 weights
    wait on the host, unpacked, before they are quantized (`estimator.program.loading`); those in bitsandbytes' form are
    mapped as they are.
    """
    inventory, quantization = parts.model.inventory, recipe.quantization if recipe.is_quantized else None
    storage, whole = storage_of(parts.model.config or {}), disk.stored_bytes(inventory, recipe.dtype)
    host = disk.largest_tensor_bytes(inventory, recipe.dtype) if quantization == "int8" else 0
    if storage and storage.is_dequantized and quantization:
        host = whole
    when = "quantizing" if quantization else "weights"
    mapped = (
        parts.base.weights_bytes + parts.base.quantization_state_bytes if storage and storage.is_bitsandbytes else whole
    )
    return Peak("loading", parts.loading_reserved_bytes + step.context_bytes, host, when, mapped)


def saving_host_bytes(recipe: Recipe, parts: Parts) -> int:
    """safetensors copies the tensors of one file to the host before it writes (`_flatten_as_ptr`); `torch.save` one by
    one."""
    saved = parts.training.adapters_bytes if recipe.has_adapters else parts.base.weights_bytes
    return max(min(saved, disk.MAX_SHARD_BYTES), parts.training.largest_gradient_bytes)


def _generating(
    name: str,
    parts: Parts,
    step: Step,
    law: Law,
    cache: KvCache | None,
    kept_bytes: int,
    recipe: Recipe,
    rows: int,
) -> Peak:
    """`generate` while it reads prompts of `max_length` tokens: the cache of all layers, the layer at work, and the
    logits of the last position, in the model's type and copied to fp32 (transformers generation/utils.py `_sample`)."""
    if cache is None:
        return Peak(name, None, 0, "prompt")
    dynamic = reading_bytes(law, rows, recipe.max_length, recipe.r)
    logits = rows * parts.model.spec.vocab_size * (width_bytes(recipe.dtype) + 4)
    held = cache.bytes(rows, recipe.max_length, recipe.dtype, while_reading=True)
    return Peak(
        name, step.shown_bytes(kept_bytes + dynamic + logits + held), 0, "prompt", is_bound=law.engine != "traced"
    )


def reading_bytes(law: Law, rows: int, tokens: int, rank: int) -> int:
    """What a layer holds beside the cache while prompts are read: the layers' rows of an evaluation's law, without the
    loss."""
    return law.dynamic_bytes(rows, tokens, rank, "forward") or law.dynamic_bytes(rows, tokens, rank)


def inference_adapters_bytes(parameters: int) -> int:
    """PEFT loads an adapter in fp32 (`load_adapter(autocast_adapter_dtype=True)`)."""
    return 4 * parameters


def _chat(recipe: Recipe, parts: Parts, step: Step, law: Law, cache: KvCache | None) -> Peak:
    """The two panes: the base once with the adapter on it, or beside it a whole model that was trained in full."""
    static = parts.static
    weights = static["weights"] + static["quantization_state"]
    own = inference_adapters_bytes(parts.trained.parameters) if recipe.has_adapters else weights
    return _generating("chat", parts, step, law, cache, weights + own + parts.workspace_bytes, recipe, CHAT_ROWS)


def _merging(recipe: Recipe, parts: Parts, step: Step) -> Peak:
    """PEFT's `merge_and_unload` on the base in `dtype` (a quantized base would round what is merged): the adapters, and
    of the largest adapted layer B A and the same scaled (peft/tuners/lora/layer.py `get_delta_weight`). On the CPU the
    same bytes are the host's. What DoRA's magnitudes take beside that is not known."""
    if not recipe.has_adapters or recipe.use_dora:
        return Peak("merging", 0 if not recipe.has_adapters else None, 0, "largest_layer")
    whole = base_weights(parts.model.inventory, recipe.dtype, None, False, "none").weights_bytes
    deltas = max(
        (2 * 4 * group.experts * group.in_features * group.out_features for group in parts.trained.adapters), default=0
    )
    allocated = whole + inference_adapters_bytes(parts.trained.parameters) + deltas + parts.workspace_bytes // 2
    host = min(disk.model_bytes(parts.model.inventory, recipe.dtype), disk.MAX_SHARD_BYTES)
    return Peak(
        "merging",
        step.shown_bytes(allocated),
        host,
        "largest_layer",
        disk.stored_bytes(parts.model.inventory, recipe.dtype),
    )
