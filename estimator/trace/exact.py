"""One recipe at its own sizes: the whole step traced at full depth and replayed through the allocator. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from estimator.hardware.platforms import Platform
from estimator.law.law import COMPONENTS
from estimator.law.untraced import no_config, untraced
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches, shape
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import Recipe


@dataclass(frozen=True)
class Exact:
    """`components` holds the traced parts at the peak (activations, gradients, ...); the rest of the peak is static."""

    peak_allocated_bytes: int
    peak_reserved_bytes: int
    components: dict[str, int]
    moment: str


def traced(
    recipe: Recipe,
    model: Model,
    loop: str,
    platform: Platform,
    static: dict[str, int],
    step_temporary_bytes: int,
    batches: Batches = Batches(),
) -> Exact:
    """Trace and replay. Seconds for an 8B model. Raises `Problem` (`estimator.law.untraced`)."""
    if not model.config:
        raise no_config(model.id)
    try:
        from estimator.memory import replay
        from estimator.trace import fit, step

        sizes = step.Sizes(*shape(recipe), recipe.r, fit.tile_of(recipe, loop, batches), batches.trained_tokens(recipe))
        made = step.trace_step(
            recipe, model.config, LOOPS[loop], sizes, None, platform, model.inventory.class_name, batches
        )
    except Exception as error:
        raise untraced(model.id, error) from error
    run = replay.replay_run(
        recipe, LOOPS[loop], made.kept, made.events, platform.workspace_bytes, step_temporary_bytes=step_temporary_bytes
    )
    components, place = made.events.peak()
    fixed = {
        name: static[name] for name in ("weights", "quantization_state", "adapters", "optimizer_states", "workspace")
    }
    peak = {"optimizer_step": {"gradients": static["gradients"], "temporary": step_temporary_bytes}, "": components}
    moment = "optimizer_step" if static["gradients"] + step_temporary_bytes > sum(components.values()) else ""
    parts = {name: fixed.get(name, 0) + peak[moment].get(name, 0) for name in COMPONENTS}
    parts["activations"] += run.peak_allocated_bytes - sum(
        parts.values()
    )  # blocks that are larger than what was asked for
    return Exact(run.peak_allocated_bytes, run.peak_reserved_bytes, parts, moment or fit.moment_of(place, made.layers))
