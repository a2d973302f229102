"""Everything a law needs to be evaluated for one recipe: static bytes from `estimator.memory.states`, and the law at hand."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from estimator.adapters.adapters import Trainables, trainables
from estimator.core.problems import Problem
from estimator.estimates import resident
from estimator.estimates.calibration import RESIDENT_GROWTH, Calibration, narrowed
from estimator.hardware.platforms import Platform
from estimator.hub.sources import open_model
from estimator.law.analytic import analytic_law
from estimator.law.law import Law, Point, Row
from estimator.law.layer_bytes import adapter_dtype
from estimator.law.padding import adds_masks, with_padding
from estimator.memory.load_events import loading
from estimator.memory.states import Training, Weights, base_weights, training_bytes
from estimator.memory.stored import as_loaded
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches, shape
from estimator.recipe.loop import LOOPS, Loop
from estimator.recipe.recipe import Recipe
from estimator.shelf import evaluations, laws, nearest


@dataclass(frozen=True)
class Parts:
    """Everything `law.evaluate` needs for one recipe."""

    model: Model
    trained: Trainables
    base: Weights
    training: Training
    law: Law
    rounding_bytes: int = 0
    """What the allocator counts for the loaded weights beyond their bytes."""
    workspace_bytes: int = 0
    doubt: Problem | None = None
    """Why the law is not a traced one, where that is no choice."""
    batches: Batches = Batches()
    trains_all: bool = False
    """Whether the law is that of batches whose every token trains, for want of one that knows the share."""
    platform: Platform = Platform()
    evaluation: Law | None = None
    """The law of an evaluation, where one is at hand; else that of the step bounds it."""
    adapter_dtype: str = "float32"
    loading_reserved_bytes: int = 0
    """What the allocator holds at most while the base is loaded."""
    stands_on: str = ""
    """The settings of the law that a `nearest` one was made from, where they differ."""

    @property
    def static(self) -> dict[str, int]:
        return {
            "weights": self.base.weights_bytes + self.rounding_bytes,
            "quantization_state": self.base.quantization_state_bytes,
            "adapters": self.training.adapters_bytes,
            "gradients": self.training.gradients_bytes,
            "optimizer_states": self.training.optimizer_states_bytes,
            "workspace": self.workspace_bytes,
        }

    def at(self, recipe: Recipe) -> Point:
        """The law at the sizes of `recipe`."""
        return Point(
            self.law,
            *shape(recipe),
            recipe.r,
            self.static,
            self.training.step_temporary_bytes,
            self.batches.trained_share,
        )

    def evaluate(self, recipe: Recipe) -> tuple[Row, dict[str, int]]:
        return self.at(recipe).peak


def parts_of(
    recipe: Recipe,
    model: Model,
    loop_name: str,
    device: str,
    platform: Platform = Platform(),
    derive: bool = False,
    cache_dir: Path | None = None,
    batches: Batches = Batches(),
) -> Parts:
    loop = LOOPS[loop_name]
    recipe = as_loaded(recipe, model.stored_config, model.name)
    trained = trainables(recipe, model.inventory)
    quantization = recipe.quantization if recipe.is_quantized else None
    base = base_weights(model.inventory, recipe.dtype, quantization, recipe.bnb_4bit_use_double_quant, loop.upcasts)
    own_dtype = adapter_dtype(recipe, loop)
    training = training_bytes(recipe, trained, adapter_dtype=own_dtype, device=device)
    if device != "cuda":  # without Triton TRL's head runs over every position
        batches = replace(batches, trained_share=1.0)
        return Parts(
            model,
            trained,
            base,
            training,
            _closed_form(recipe, model, trained, loop, device, base, batches),
            batches=batches,
            adapter_dtype=own_dtype,
        )
    law, doubt = laws.find(recipe, model, loop_name, platform, cache_dir, batches), None
    if law is None and derive:
        try:
            law = laws.derive(recipe, model, loop_name, platform, cache_dir, batches)
        except Problem as problem:
            doubt = problem
    trains_all = law is None and batches.trained_share < 1
    law = law or laws.find(recipe, model, loop_name, platform, cache_dir, replace(batches, trained_share=1.0))
    as_wide = not recipe.is_quantized or loop.upcasts == "none"  # else attention runs in fp32
    if law is None and batches.pads(recipe) and as_wide and adds_masks(recipe, model.spec, platform):
        full = laws.find(recipe, model, loop_name, platform, cache_dir)
        law = full and with_padding(full, recipe, model.spec)
    stands_on = ""
    if law is None and (found := _nearest(recipe, model, loop_name, platform, cache_dir, batches)):
        law, stands_on = found
    trains_all = trains_all and law is not None
    law = law or _closed_form(recipe, model, trained, loop, device, base, batches)
    loaded, tensors_bytes = loading(model.inventory, recipe.dtype, quantization, recipe.bnb_4bit_use_double_quant, loop)
    evaluation = _evaluation(recipe, model, loop_name, platform, derive, cache_dir, batches)
    rounding = loaded.allocated_bytes - tensors_bytes
    return Parts(
        model, trained, base, training, law, rounding, platform.workspace_bytes, doubt, batches, trains_all, platform, evaluation, own_dtype, loaded.peak_reserved_bytes, stands_on
    )  # fmt: skip


def _nearest(
    recipe: Recipe, model: Model, loop_name: str, platform: Platform, cache_dir: Path | None, batches: Batches
) -> tuple[Law, str] | None:
    """By laws of batches whose every token trains, where none knows the share."""
    loop, every = LOOPS[loop_name], replace(batches, trained_share=1.0)

    def side(one: Recipe) -> nearest.Side:
        trained = trainables(one, model.inventory)
        training = training_bytes(one, trained, adapter_dtype=adapter_dtype(one, loop), device="cuda")
        quantization = one.quantization if one.is_quantized else None
        base = base_weights(model.inventory, one.dtype, quantization, one.bnb_4bit_use_double_quant, loop.upcasts)
        return nearest.Side(
            one, _closed_form(one, model, trained, loop, "cuda", base, every), training.gradients_bytes, trained
        )

    return nearest.nearest(
        recipe, model, lambda one: laws.find(one, model, loop_name, platform, cache_dir, every), side
    )


def _evaluation(
    recipe: Recipe, model: Model, loop: str, platform: Platform, derive: bool, cache_dir: Path | None, batches: Batches
) -> Law | None:
    """The law of an evaluation; where none knows the share of trained tokens, that of batches whose every token trains."""
    wanted = (batches, replace(batches, trained_share=1.0)) if batches.trained_share < 1 else (batches,)
    for known in wanted:
        if law := evaluations.find(recipe, model, loop, platform, cache_dir, known):
            return law
    if derive:
        with contextlib.suppress(Problem):  # the step's law bounds it, and the peak says that it is a bound
            return evaluations.derive(recipe, model, loop, platform, cache_dir, batches)
    return None


def _closed_form(
    recipe: Recipe, model: Model, trained: Trainables, loop: Loop, device: str, base: Weights, batches: Batches
) -> Law:
    known = {"device": device, "largest_linear": base.largest_linear, "batches": batches}
    return analytic_law(recipe, model.inventory, model.spec, trained, loop, **known)


def law_of(
    recipe: Recipe,
    *,
    model: Model | None = None,
    loop: str = "trl",
    device: str = "cuda",
    platform: Platform = Platform(),
) -> Parts:
    """The law and the static bytes of a recipe on one device, for sweeps: `law_of(r).law.peaks(...)`. Raises `Problem` for several."""
    if recipe.num_processes > 1:
        raise Problem(
            "recipe.conflict",
            field="num_processes",
            value=recipe.num_processes,
            other="a sweep of the law",
            allowed="Use estimate, or one process",
        )
    return parts_of(recipe, model or open_model(recipe.model), loop, device, platform)


@dataclass(frozen=True)
class CpuGrowth:
    """Bytes by which a CPU training worker's resident memory grows over what its libraries take, with a range."""

    growth_bytes: int
    low_bytes: int
    high_bytes: int
    components: dict[str, int]
    peak_moment: str
    engine: str


def cpu_growth(
    recipe: Recipe, *, model: Model | None = None, known: Calibration | None = None, padded: bool = False
) -> CpuGrowth:
    """Growth of the worker's resident memory in a CPU run: the same tensors without context and workspaces.

    The figure is of live tensors. The range ends where measured runs ended, with what the C allocator keeps (`estimator.estimates.resident`);
    `known` is what runs on this machine measured.
    """
    model = model or open_model(recipe.model)
    parts = parts_of(recipe, model, "trl", "cpu", batches=Batches(padded=padded))
    row, components = parts.evaluate(recipe)
    peak = sum(components.values())
    error = parts.law.relative_error * sum(components[n] for n in ("activations", "logits_and_loss", "temporary"))
    low, high = peak - error, resident.kept().most(peak + error, resident.mapped_bytes(recipe, model))
    if known:
        low, high = narrowed(low, high, peak, known.ratios(recipe, RESIDENT_GROWTH, peak, engine=parts.law.engine))
    return CpuGrowth(peak, round(low), round(high), components, row.moment, parts.law.engine)
