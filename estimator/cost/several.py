"""How long several devices take together, by the way they divide the work. No torch.

Data parallel (DDP, ZeRO, FSDP2): every device does the whole step on rows of its own. Tensor parallel: each does its
part of every product, all on the same rows. Pipeline parallel: each has some of the layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from estimator.core.problems import Problem
from estimator.cost.roofline import Amounts
from estimator.cost.rows import MODEL_PARALLEL, Epoch
from estimator.cost.throughput import (
    GIGA,
    SECONDS_PER_HOUR,
    Load,
    Range,
    Spread,
    Throughput,
    energy,
    load_of,
    throughput,
    throughput_of_several,
)
from estimator.estimates.parts import Parts
from estimator.hardware.cards import Gpu
from estimator.hardware.links import link_of
from estimator.law.law import Law
from estimator.parallel.model_parallel import stage_layers
from estimator.parallel.plan import Sharded
from estimator.recipe.recipe import Recipe


def loads_of(
    recipe: Recipe, parts: Parts, sharded: Sharded, epoch: Epoch | None, single: Law | None
) -> tuple[Load, ...]:
    """What one device of `recipe.num_processes` does: one load, or under tensor parallel the least and the most it may
    be, since whether what multiplies no matrices is divided too is not known. `parts` and `single` are those of one
    device alone."""
    devices, kind = recipe.num_processes, recipe.distributed_type
    if kind in MODEL_PARALLEL:
        load = load_of(recipe, parts, epoch, single)
        stepped = replace(load, step_bytes=load.step_bytes / devices, run_bytes=load.run_bytes / devices)
        return (stepped,) if kind == "pp" else tuple(_divided(stepped, devices, other) for other in (True, False))
    shared = epoch.shared_by(devices, recipe) if epoch else None
    load = load_of(recipe, parts, shared, single)
    share = 1.0 if kind == "ddp" else sharded.gradient_share if kind == "fsdp" else 1 / devices
    return (replace(load, step_bytes=share * load.step_bytes, run_bytes=share * load.run_bytes),)


def _divided(load: Load, devices: int, other: bool) -> Load:
    """`load` with its products, and with `other` all else too, in as many parts as there are devices."""

    def part(work: Amounts | None) -> Amounts | None:
        if work is None:
            return None
        groups = tuple(replace(g, flops=g.flops / devices, moved_bytes=g.moved_bytes / devices) for g in work.groups)
        moved = work.other_bytes / devices if other else work.other_bytes
        return replace(work, groups=groups, other_bytes=moved)

    return replace(load, step=part(load.step), run=part(load.run))


def throughput_together(recipe: Recipe, gpu: Gpu, loads: tuple[Load, ...], sharded: Sharded, layers: int) -> Throughput:
    """`recipe` on `recipe.num_processes` of `gpu` in one machine, of which each has `loads` (`loads_of`). Where weights
    or states are kept on the host or a disk the way there is not known, and no time is given."""
    devices, kind = recipe.num_processes, recipe.distributed_type
    sent = sum(sharded.plan.communication_bytes_per_step.values())
    for name in ("offload_param_device", "offload_optimizer_device"):
        if getattr(recipe, name) != "none":
            why = Problem("time.offloaded", field=name, value=getattr(recipe, name))
            return throughput(loads[0], gpu).without_speed(why)
    if kind not in MODEL_PARALLEL:
        return throughput_of_several(Spread(devices, loads[0], sent), gpu)
    made = [throughput(load, gpu) for load in loads]
    link = link_of(gpu, devices)
    if made[0].seconds_per_step is None:
        return made[0]
    if link is None:
        return made[0].without_speed(Problem("time.no_link", field="gpu", value=gpu.name))
    seconds = _between(one.seconds_per_step for one in made)
    hours = _between(one.hours for one in made) if made[0].hours else None
    share = Range(1.0, 1.0, 1.0)
    notes: tuple[Problem, ...] = ()
    if kind == "pp":
        share, notes = _pipeline(recipe, layers)
    wire = Range(*(sent / (speed * GIGA) for speed in (link.high_gbs, link.gbs, link.low_gbs)))
    of_run = wire.scaled(made[0].steps * _filled(loads[0]) / SECONDS_PER_HOUR) if hours else None
    per_step = seconds.times(share).beside(wire)
    hours = hours.times(share).beside(of_run) if hours else None
    return replace(
        made[0],
        arithmetic_share=None,
        seconds_per_step=per_step,
        tokens_per_second=per_step.inverse().scaled(loads[0].tokens_per_step),
        hours=hours,
        energy_kwh=energy(gpu, hours, devices),
        why=(*made[0].why, *notes, link.why),
    )


def _between(times: Iterable[Range]) -> Range:
    """The shortest of the first and the likely and longest of the last."""
    made = list(times)
    return Range(made[0].low, made[-1].central, made[-1].high)


def _pipeline(recipe: Recipe, layers: int) -> tuple[Range, tuple[Problem, ...]]:
    """Of the time of one device, what stages take under one-forward-one-backward (torch.distributed.pipelining): each
    micro-batch, and the filling and emptying of the pipe, on the stage with most layers. Least: the layers evenly;
    most: one stage after another."""
    stages, batches = recipe.num_processes, recipe.gradient_accumulation_steps
    turns = (batches + stages - 1) / batches
    largest = max(stage_layers(layers, stages)) / layers
    even, likely = min(1.0, turns / stages), min(1.0, turns * largest)
    return Range(even, likely, 1.0), (Problem("why.pipeline", stages=stages, batches=batches),)


def _filled(load: Load) -> float:
    """Tokens of a step of the run over those of a step of full rows: what is sent goes with them."""
    return min(1.0, load.epoch.padded_tokens / (load.epoch.steps * load.tokens_per_step)) if load.epoch else 1.0
