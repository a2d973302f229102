"""Tensor and pipeline parallel: a device runs a part of each layer, or some of the layers.

The traced law knows neither, so activations come from the closed form of the part that a device runs. No published run
says how far that is off, hence the widest bar (`analytic.ERROR_OTHER`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from estimator.adapters.adapters import AdapterGroup, Trainables
from estimator.core.problems import Problem
from estimator.core.units import width_bytes
from estimator.law.analytic import ERROR_OTHER, analytic_law
from estimator.law.layer_bytes import stream_widths
from estimator.memory.states import optimizer_bytes, temporary_of_all
from estimator.model.catalog import tp_plans
from estimator.model.inventory import Inventory
from estimator.model.spec import ModelSpec
from estimator.parallel.plan import ParallelPlan, RankBytes, Sharded, ring
from estimator.parallel.sharding import EMBEDDING, TAIL, Tensor, local, tensors
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe

OUTPUTS = ("colwise", "colwise_gather_output", "packed_colwise")
INPUTS = ("rowwise", "rowwise_split_input", "packed_rowwise")


def tp(recipe: Recipe, parts: Any, loop_name: str, device: str) -> Sharded:
    """Transformers' plan (`base_model_tp_plan`, the embedding and the head): column-wise layers give each device some
    outputs, row-wise ones take its share of the inputs. Norms and the stream between layers stay whole on every device;
    heads and the MLP's width are divided.

    Raises `Problem` where Transformers has no plan for the model, or the heads cannot be divided.
    """
    inventory, spec, n = parts.model.inventory, parts.model.spec, recipe.num_processes
    plan = tp_plans().get(inventory.model_type)
    if plan is None:
        raise _refusal(
            recipe,
            "distributed_type",
            f"model_type {inventory.model_type}, which Transformers has no plan for",
            "Use fsdp, zero3 or pp",
        )
    if spec.num_attention_heads % n or spec.num_key_value_heads % n:
        heads = f"{spec.num_attention_heads} heads and {spec.num_key_value_heads} key heads"
        raise _refusal(
            recipe,
            "num_processes",
            heads,
            f"Use a divisor of {math.gcd(spec.num_attention_heads, spec.num_key_value_heads)}",
        )
    all = tensors(recipe, inventory, parts.trained, LOOPS[loop_name])
    rank = tp_rank(recipe, all, inventory, 0, device)
    law = analytic_law(
        recipe,
        inventory,
        _narrow(spec, n),
        _narrow_adapters(parts.trained, plan, n),
        LOOPS[loop_name],
        device=device,
        largest_linear=0,
        batches=parts.batches,
    )
    # an all-reduce after each half of a layer, one for its input's gradient, and the first once more where it is
    # computed again
    stream = (
        recipe.per_device_train_batch_size
        * recipe.max_length
        * spec.hidden_size
        * stream_widths(recipe, LOOPS[loop_name]).e
    )
    passes = spec.num_hidden_layers * (4 + 2 * recipe.gradient_checkpointing) * recipe.gradient_accumulation_steps
    full = [(t.count, t.nbytes) for t in all if not t.is_buffer]
    made = ParallelPlan(
        "tp",
        n,
        0,
        0,
        0,
        {"all_reduce": ring(passes * stream, n, 2)},
        max(size for _, size in full),
        sum(c * size for c, size in full),
        0,
    )
    step = rank.gradients if temporary_of_all(recipe.optim) else 0
    return Sharded(replace(law, relative_error=ERROR_OTHER), rank, step, {}, made)


def _refusal(recipe: Recipe, field: str, other: str, allowed: str) -> Problem:
    return Problem("recipe.conflict", field=field, value=getattr(recipe, field), other=other, allowed=allowed)


def tp_rank(recipe: Recipe, all: Iterable[Tensor], inventory: Inventory, rank: int, device: str) -> RankBytes:
    """What `rank` holds: DTensor's own rows, without padding. Raises `Problem` where PEFT has no adapter for a split
    layer."""
    plan, n = tp_plans()[inventory.model_type], recipe.num_processes
    sizes = {"weights": 0, "adapters": 0, "gradients": 0, "optimizer_states": 0}
    for tensor in all:
        dim = _split(plan, tensor)
        shape = tensor.shape if dim is None else local(tensor.shape, n, rank, dim)
        size = tensor.count * math.prod(shape) * width_bytes(tensor.dtype)
        sizes["adapters" if tensor.is_new else "weights"] += size
        if tensor.trains:
            # the backward pass of a lookup leaves the table's gradient whole, a sum still to be made (DTensor's
            # Partial)
            whole = not tensor.is_new and _style(plan, tensor.name.rpartition(".")[0]) == "embedding_rowwise"
            sizes["gradients"] += tensor.count * tensor.nbytes if whole else size
            sizes["optimizer_states"] += tensor.count * sum(optimizer_bytes(recipe.optim, shape, tensor.dtype, device))
    return RankBytes(**sizes)


def _style(plan: dict[str, str], name: str) -> str | None:
    return next((style for suffix, style in plan.items() if name == suffix or name.endswith(f".{suffix}")), None)


def _split(plan: dict[str, str], tensor: Tensor) -> int | None:
    """The axis a tensor is cut along; None where every device holds it whole
    (transformers/distributed/tensor_parallel.py shard_param; peft/tuners/lora/model.py add_lora_tp_hooks_dtensor: B
    under a column-wise layer, A under a row-wise one)."""
    module, _, last = tensor.name.rpartition(".")
    if tensor.is_new:
        style, is_b = _style(plan, module.removesuffix(".lora_B")), "lora_B" in tensor.name
        if style in ("colwise", "rowwise") and (is_b if style == "colwise" else last == "lora_A"):
            return 0 if is_b else 1
        if style in OUTPUTS + INPUTS and style not in ("colwise", "rowwise"):
            raise Problem(
                "estimator.not_adaptable",
                field="target_modules",
                value=module,
                kind=f"{style} layer under tp",
                allowed=", ".join(k for k, v in plan.items() if v in ("colwise", "rowwise")),
            )
        return None
    style, rank = _style(plan, tensor.name) or _style(plan, module), len(tensor.shape)
    if style in OUTPUTS:
        return max(0, rank - 2)
    if style in INPUTS and last != "bias":
        return rank - 1
    return 0 if style == "embedding_rowwise" else None


def _narrow(spec: ModelSpec, n: int) -> ModelSpec:
    """The model a device computes: its heads, its share of the MLP's width; the stream and the gathered logits
    whole."""
    return replace(
        spec,
        num_attention_heads=spec.num_attention_heads // n,
        num_key_value_heads=spec.num_key_value_heads // n,
        intermediate_size=spec.intermediate_size and -(-spec.intermediate_size // n),
        moe_intermediate_size=spec.moe_intermediate_size and -(-spec.moe_intermediate_size // n),
    )


def _narrow_adapters(trained: Trainables, plan: dict[str, str], n: int) -> Trainables:
    def narrow(group: AdapterGroup) -> AdapterGroup:
        style = _style(plan, group.names[0])
        if style == "colwise":
            return replace(group, out_features=-(-group.out_features // n))
        return replace(group, in_features=-(-group.in_features // n)) if style == "rowwise" else group

    return replace(trained, adapters=tuple(map(narrow, trained.adapters)))


def pp(recipe: Recipe, parts: Any, loop_name: str, device: str) -> Sharded:
    """Contiguous layers, the embedding on the first stage, the head on the last, which also takes the layers left over
    (transformers/distributed/pipeline_parallel.py). Under one-forward-one-backward (torch.distributed.pipelining) stage
    i holds up to stages - i micro-batches, of which `gradient_accumulation_steps` make a step. The answer is of the
    stage that needs most.
    """
    inventory, spec, n = parts.model.inventory, parts.model.spec, recipe.num_processes
    if n > spec.num_hidden_layers:
        raise _refusal(
            recipe, "num_processes", f"{spec.num_hidden_layers} layers", f"Use at most {spec.num_hidden_layers}"
        )
    all = tensors(recipe, inventory, parts.trained, LOOPS[loop_name])
    stages = [_stage(recipe, parts, loop_name, device, all, stage) for stage in range(n)]
    sizes = [sum(made.evaluate(recipe)[1].values()) for made in stages]
    return stages[sizes.index(max(sizes))]


def stage_layers(layers: int, stages: int) -> list[int]:
    """Layers of each stage: as many for each, and the rest for the last."""
    each = layers // stages
    return [each] * (stages - 1) + [layers - each * (stages - 1)]


def _stage(recipe: Recipe, parts: Any, loop_name: str, device: str, all: tuple[Tensor, ...], stage: int) -> Sharded:
    spec, n, loop = parts.model.spec, recipe.num_processes, LOOPS[loop_name]
    layers = stage_layers(spec.num_hidden_layers, n)[stage]
    under_way = min(n - stage, recipe.gradient_accumulation_steps)
    rank = pp_rank(recipe, all, parts.model.inventory, stage, device)
    law = analytic_law(
        recipe,
        parts.model.inventory,
        spec,
        parts.trained,
        loop,
        device=device,
        largest_linear=parts.base.largest_linear,
        batches=parts.batches,
        layers_kept=layers * under_way,
        has_loss=stage == n - 1,
    )
    stream = recipe.per_device_train_batch_size * recipe.max_length * spec.hidden_size * stream_widths(recipe, loop).e
    neighbours = (stage > 0) + (stage < n - 1)
    made = ParallelPlan(
        "pp", n, stage, 0, 0, {"send": neighbours * stream * recipe.gradient_accumulation_steps}, 0, 0, 0
    )
    return Sharded(
        replace(law, relative_error=ERROR_OTHER),
        rank,
        rank.gradients if temporary_of_all(recipe.optim) else 0,
        {},
        made,
    )


def pp_rank(recipe: Recipe, all: Iterable[Tensor], inventory: Inventory, stage: int, device: str) -> RankBytes:
    """What a stage holds: its layers whole. A tied embedding stands on the first stage and, as the head, on the
    last."""
    n = recipe.num_processes
    all = tuple(all)
    numbered = list(dict.fromkeys(unit for t in all for unit, _ in t.units if unit not in (EMBEDDING, TAIL)))
    bounds = [0]
    for layers in stage_layers(len(numbered), n):
        bounds.append(bounds[-1] + layers)
    mine = set(numbered[bounds[stage] : bounds[stage + 1]])
    mine |= {EMBEDDING} if stage == 0 else set()
    mine |= {TAIL} if stage == n - 1 else set()
    sizes = {
        "weights": 0,
        "quantization_state": 0,
        "adapters": 0,
        "gradients": 0,
        "optimizer_states": 0,
        "paged_bytes": 0,
    }
    for tensor in all:
        count = sum(count for unit, count in tensor.units if unit in mine)
        if stage == 0 < n - 1 and tensor.name == f"{inventory.input_embedding}.weight" and inventory.is_tied:
            count = 1
        size = count * tensor.nbytes
        sizes["adapters" if tensor.is_new else "weights"] += size
        sizes["quantization_state"] += count * tensor.state_bytes
        if tensor.trains:
            resident, paged = optimizer_bytes(recipe.optim, tensor.shape, tensor.dtype, device)
            sizes["gradients"] += size
            sizes["optimizer_states"] += count * resident
            sizes["paged_bytes"] += count * paged
    return RankBytes(**sizes)
