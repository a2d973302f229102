"""The other moments of a run on several devices: how each loads, evaluates and saves. All bytes are one device's; no
torch.

Every process calls `from_pretrained` without a device_map, as TRL does where there are several (sft_trainer.py); what
follows is Transformers 5.23's loading (modeling_utils.py, quantizers/quantizer_bnb_4bit.py, integrations/deepspeed.py)
and Accelerate 1.15's wrapping (utils/fsdp_utils.py).
"""

from __future__ import annotations

from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.estimates import disk
from estimator.estimates.parts import Parts
from estimator.estimates.peaks import Peak, Step, evaluation_law, saving_host_bytes
from estimator.parallel.plan import Sharded
from estimator.recipe.batches import eval_shape
from estimator.recipe.recipe import Recipe

CUT = ("fsdp", "zero3")
"""What leaves a device with a part of every weight."""


def run_peaks_of_several(recipe: Recipe, parts: Parts, sharded: Sharded, step: Step) -> tuple[Peak, ...]:
    """The peaks of `peaks.RUN`; an evaluation whose activations are not known has no figure."""
    return (
        _loading(recipe, parts, sharded, step),
        step.peak,
        _evaluation(recipe, parts, sharded, step),
        _saving(recipe, parts, sharded, step),
    )


def loads_whole(recipe: Recipe, parts: Parts, step: Step, usable_bytes: int | None) -> tuple[Problem, ...]:
    """Packed weights that will be cut come whole to each device first; said where that is more than the card has
    (`usable_bytes`, without the context), or, of a card that is not known, more than the step takes."""
    whole = parts.loading_reserved_bytes + step.context_bytes
    limit = step.device_bytes if usable_bytes is None else usable_bytes + step.context_bytes
    if recipe.distributed_type not in CUT or not recipe.is_quantized or whole <= limit:
        return ()
    return (Problem("parallel.loads_whole", field="num_processes", bytes=human_bytes(whole)),)


def _loading(recipe: Recipe, parts: Parts, sharded: Sharded, step: Step) -> Peak:
    """16-bit weights come through host memory: whole in each process, or in the first alone where they are cut (ZeRO-3;
    FSDP2 with `cpu_ram_efficient_loading`, else each process has them), which sends tensor by tensor. Tensor and
    pipeline parallel read their own part.

    Packed weights go straight to each device, whole; of those that are cut this is what they take by way of the host
    (`device_map={"": "cpu"}`), a unit at a time. `loads_whole` says what they take without.
    """
    inventory, rank, kind = parts.model.inventory, sharded.rank, recipe.distributed_type
    mapped = disk.stored_bytes(inventory, recipe.dtype)
    if kind in CUT:
        own = rank.weights + rank.quantization_state + rank.adapters
        return Peak(
            "loading",
            own + sharded.loading_bytes + step.context_bytes,
            sharded.plan.saving_host_bytes,
            "cutting",
            mapped,
        )
    if kind in ("tp", "pp"):
        return Peak("loading", rank.weights + rank.quantization_state + step.context_bytes, 0, "weights", mapped)
    host = 0 if recipe.is_quantized else parts.base.weights_bytes
    return Peak(
        "loading",
        parts.loading_reserved_bytes + step.context_bytes,
        host,
        "quantizing" if recipe.is_quantized else "weights",
        mapped,
    )


def _kept_bytes(sharded: Sharded) -> int:
    rank = sharded.rank
    return rank.weights + rank.quantization_state + rank.adapters + rank.optimizer_states + sharded.workspace_bytes


def _shown_bytes(allocated_bytes: float, sharded: Sharded, step: Step) -> int:
    """With what stays reserved for the gathering stream."""
    return step.shown_bytes(allocated_bytes) + sharded.gathering_bytes + sharded.rank.paged_bytes


def _evaluation(recipe: Recipe, parts: Parts, sharded: Sharded, step: Step) -> Peak:
    """What one device alone would hold, over a rank's own tensors and what it gathers in a forward pass and its loss: a
    bound."""
    if recipe.distributed_type in ("tp", "pp"):
        return Peak("evaluation", None, 0, "forward")
    law, _ = evaluation_law(parts)
    gathered = max(
        sharded.added_bytes.get(moment, 0) - sharded.gathering_added.get(moment, 0) for moment in ("forward", "loss")
    )
    held = _kept_bytes(sharded) + gathered + law.dynamic_bytes(*eval_shape(recipe), recipe.r)
    return Peak("evaluation", _shown_bytes(held, sharded, step), 0, "forward", is_bound=True)


def _saving(recipe: Recipe, parts: Parts, sharded: Sharded, step: Step) -> Peak:
    """The first rank, which gathers one tensor after another where they are cut."""
    held = _kept_bytes(sharded) + sharded.plan.saving_device_bytes
    host = sharded.plan.saving_host_bytes or saving_host_bytes(recipe, parts)
    return Peak("saving", _shown_bytes(held, sharded, step), host, "checkpoint")
