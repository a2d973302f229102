"""ZeRO 1 to 3: what DeepSpeed's engine partitions, keeps elsewhere, holds for a while and sends.

deepspeed/runtime/zero (0.19): stage_1_and_2.py, stage3.py, config.py, offload_config.py, with their own defaults, which
Accelerate keeps where no DeepSpeed file says otherwise (utils/dataclasses.py DeepSpeedPlugin).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from estimator.core.units import width_bytes
from estimator.memory.states import optimizer_bytes, qmap_bytes, temporary_of_all
from estimator.parallel.data_parallel import all_tensors, by_unit, data_plan, largest_layer
from estimator.parallel.plan import BACKWARD, MOMENTS, RankBytes, Sharded, on_device, ring
from estimator.parallel.sharding import TAIL, Tensor, flat_numel
from estimator.recipe.recipe import Recipe

REDUCE_BUCKET = 500_000_000
"""Elements of DeepSpeed's gradient buffer, allocated whole (runtime/zero/config.py reduce_bucket_size)."""
PERSISTENT = 100_000
"""ZeRO-3 keeps smaller tensors whole beside their partition (stage3_param_persistence_threshold)."""
MAX_LIVE = 1_000_000_000
"""Elements ZeRO-3 may hold gathered (stage3_max_live_parameters); it keeps those used again within as many."""
PREFETCH = 50_000_000
"""Elements ZeRO-3 gathers ahead (stage3_prefetch_bucket_size)."""
SUB_GROUP = 1_000_000_000
"""Elements ZeRO-3 steps at once (sub_group_size)."""
SWAP_BUFFERS, PARAM_BUFFERS, PARAM_BUFFER = 4, 5, 100_000_000
"""Host buffers of NVMe offload (runtime/zero/offload_config.py: buffer_count of the optimizer; count and elements of
the weights')."""
ALIGNMENT = 2
"""nccl_start_alignment_factor of the flat groups of stages 1 and 2."""


@dataclass(frozen=True)
class Zero:
    """How DeepSpeed partitions one recipe's tensors (as `parallel.on_device` says it) at one stage."""

    recipe: Recipe
    all: tuple[Tensor, ...]

    @property
    def width(self) -> int:
        return width_bytes(self.recipe.dtype)

    @property
    def stage(self) -> int:
        return int(self.recipe.distributed_type[-1])

    def share(self, tensor: Tensor) -> int:
        """Elements of ZeRO-3's partition of one tensor."""
        return -(-tensor.numel // self.recipe.num_processes)

    def element_bytes(self, tensor: Tensor) -> int:
        """The engine casts every floating tensor; whole bytes and int8 stay."""
        return width_bytes(tensor.dtype) if tensor.dtype in ("uint8", "int8") else self.width

    def groups(self) -> list[int]:
        """Elements a rank steps of each of Trainer's two groups of parameters, with decay and without."""
        n, made = self.recipe.num_processes, []
        for decays in (True, False):
            group = [t for t in self.all if t.trains and t.decays == decays]
            if group:
                sizes = [t.count * (self.share(t) if self.stage == 3 else t.numel) for t in group]
                made.append(sum(sizes) if self.stage == 3 else flat_numel(sizes, n, ALIGNMENT) // n)
        return made

    def weights(self, is_new: bool) -> int:
        """Bytes on the device of the model's tensors, or of PEFT's; stage 3 without what is offloaded."""
        total = padding = 0
        for tensor in self.all:
            if tensor.is_new != is_new:
                continue
            each = tensor.numel * self.element_bytes(tensor)
            if self.stage == 3 and not tensor.is_buffer:
                part = (
                    0 if self.recipe.offload_param_device != "none" else self.share(tensor) * self.element_bytes(tensor)
                )
                each = part + (each if tensor.numel <= PERSISTENT else 0)
            total += tensor.count * each
        if self.stage < 3 and is_new == any(t.is_new and t.trains for t in self.all):  # the flat groups' padding
            padding = sum(self.groups()) * self.recipe.num_processes - sum(
                t.count * t.numel for t in self.all if t.trains
            )
        return total + padding * self.width

    def rank(self, device: str) -> RankBytes:
        """What each rank holds: partitions are equal."""
        r = self.recipe
        groups, optimizer, partitions = self.groups(), r.offload_optimizer_device, r.offload_param_device
        stepped = sum(groups)
        states = [
            optimizer_bytes(r.optim, (numel,), "float32", "cpu" if optimizer != "none" else device) for numel in groups
        ]
        master = 4 * stepped + sum(resident for resident, _ in states) + qmap_bytes(r.optim)
        host = disk = 0
        if optimizer == "cpu":  # fp32 gradients; and a 16-bit copy (stages 1 and 2) or stage 3's gradient buffer
            host += master + 4 * stepped + self.width * stepped
        if optimizer == "nvme":
            disk += master + 4 * stepped
            host += SWAP_BUFFERS * 4 * min(stepped, SUB_GROUP) + self.width * stepped
        own = sum(t.count * self.share(t) * self.element_bytes(t) for t in self.all if not t.is_buffer)
        if partitions == "cpu":
            host += own
        if partitions == "nvme":
            disk, host = disk + own, host + PARAM_BUFFERS * PARAM_BUFFER * self.width
        kept = optimizer == "none"
        return RankBytes(
            self.weights(False),
            sum(t.count * t.state_bytes for t in self.all),
            self.weights(True),
            self.width * stepped if kept else 0,
            master if kept else 0,
            host,
            disk,
            sum(paged for _, paged in states) if kept else 0,
        )


def zero(recipe: Recipe, parts: Any, loop_name: str, device: str) -> Sharded:
    """DeepSpeed. Its gradient buffer is allocated whole, however little trains: for the backward pass at stages 1 and
    2."""
    recipe = on_device(recipe)
    made = Zero(recipe, all_tensors(recipe, parts, loop_name))
    rank, n, w = made.rank(device), recipe.num_processes, made.width
    trained = [t for t in made.all if t.trains]
    gradients, stepped = w * sum(t.count * t.numel for t in trained), sum(made.groups())
    offloads, passes = recipe.offload_optimizer_device != "none", recipe.gradient_accumulation_steps
    # the partition's gradients in fp32, and the square roots of torch's multi-tensor AdamW
    at_once = min(stepped, SUB_GROUP) if made.stage == 3 else stepped
    step = 0 if offloads else 4 * at_once * (2 if temporary_of_all(recipe.optim) else 1)
    if made.stage == 3:
        return _stage_3(made, parts, rank, step, gradients)
    added = dict.fromkeys(("loss", *BACKWARD), w * REDUCE_BUCKET)
    if offloads:  # temp_grad_buffer_for_gpu_offload
        largest = w * max((t.numel for t in trained), default=0)
        added = {moment: added.get(moment, 0) + largest for moment in MOMENTS}
    sent = {
        "all_reduce": ring(gradients * (passes if made.stage == 2 else 1), n, 2),
        "all_gather": ring(w * stepped * n, n),
    }
    return Sharded(
        parts.law,
        rank,
        step,
        added,
        data_plan(recipe, rank, sent),
        gradient_share=rank.gradients / max(1, parts.training.gradients_bytes),
        # stage 1 reduces at the end of an accumulation only, and until then has them whole
        backward_gradients_bytes=gradients if made.stage == 1 and passes > 1 else None,
    )


def _stage_3(made: Zero, parts: Any, rank: RankBytes, step: int, gradients: int) -> Sharded:
    """Buffers of the whole run, and gathered weights: at most MAX_LIVE elements, at least a unit and what is gathered
    ahead; between the two lies the slack."""
    recipe, w, n = made.recipe, made.width, made.recipe.num_processes
    passes = recipe.gradient_accumulation_steps
    cut = [t for t in made.all if not t.is_buffer]
    units = by_unit((t for t in cut if t.numel > PERSISTENT), lambda t: t.numel * made.element_bytes(t))
    everything = sum(units.values())
    least = min(everything, max(largest_layer(units), units[TAIL]) + PREFETCH * w)
    gathered = max(least, min(everything, MAX_LIVE * w))
    added = dict.fromkeys(MOMENTS[:-1], w * REDUCE_BUCKET + gathered) | {MOMENTS[-1]: w * REDUCE_BUCKET}
    small = w * sum(t.count * t.numel for t in cut if t.trains and t.numel <= PERSISTENT)
    sent = {"all_gather": ring(2 * passes * everything + small, n), "reduce_scatter": ring(passes * gradients, n)}
    sizes = [(t.count, t.numel * made.element_bytes(t)) for t in cut]
    saving = (max(size for _, size in sizes), sum(count * size for count, size in sizes))
    plan = data_plan(recipe, rank, sent, saving)
    return Sharded(
        parts.law, rank, step, added, plan, gradient_share=None, slack_bytes=gathered - least, loading_bytes=saving[0]
    )
