"""The sole composer: a recipe, a model and perhaps a GPU in; memory by component, a verdict and an error bar out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from estimator import catalog, laws
from estimator.adapters import Trainables, trainables
from estimator.analytic import adapter_dtype, analytic_law, is_dense
from estimator.catalog import Gpu, Model
from estimator.law import LOOPS, Law
from estimator.platforms import Platform
from estimator.problems import Problem
from estimator.recipe import METHODS, Recipe
from estimator.replay import block_rounding_bytes
from estimator.sources import open_model
from estimator.states import Training, Weights, base_weights, training_bytes
from estimator.units import human_bytes

RESERVED_OVER_ALLOCATED = (1.02, 1.08, 1.20)
"""Low, central and high ratio of reserved to allocated memory with SDPA (presets/README.md, allocator); eager reaches 1.3."""
RESERVED_EAGER_HIGH = 1.30
REPLAY_ERROR = (-0.05, 0.12)
"""Range of the truth around a replayed figure: `make accuracy`, reserved; eager attention in half precision comes out too low."""
ENGINES = ("law", "trace")


@dataclass(frozen=True)
class Uncertainty:
    """Range of `device_bytes`, and the reasons for it (codes `why.*`, so that a page can say them in its language)."""

    low_bytes: int
    high_bytes: int
    why: tuple[Problem, ...]


@dataclass(frozen=True)
class Estimate:
    """Memory of one fine-tune on one device. Bytes throughout; `components` sum to `peak_allocated_bytes`.

    `peak_reserved_bytes` is what the caching allocator holds, `device_bytes` what the device shows: reserved, context,
    and paged optimizer states while they fit. `fits` is None without a GPU or where its memory is unknown, and where
    the error bar spans the limit it still states the central figure (a warning says so).
    """

    total_parameters: int
    trainable_parameters: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    device_bytes: int
    components: dict[str, int]
    peak_moment: str
    engine: str
    uncertainty: Uncertainty
    fits: bool | None
    headroom_bytes: int | None
    usable_bytes: int | None
    gpu: str | None
    warnings: tuple[Problem, ...]

    @property
    def is_close(self) -> bool:
        """Whether the limit lies inside the error bar."""
        u = self.uncertainty
        return self.usable_bytes is not None and u.low_bytes <= self.usable_bytes + self._context < u.high_bytes

    @property
    def _context(self) -> int:
        return self.device_bytes - self.peak_reserved_bytes

    def to_dict(self) -> dict[str, Any]:
        data = {name: value for name, value in vars(self).items() if name not in ("warnings", "uncertainty")}
        bar = {"low_bytes": self.uncertainty.low_bytes, "high_bytes": self.uncertainty.high_bytes}
        return data | {"uncertainty": bar | {"why": _said(self.uncertainty.why)}, "warnings": _said(self.warnings)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)


def _said(notes: Iterable[Problem]) -> list[dict[str, Any]]:
    return [note.to_dict() | {"text": str(note)} for note in notes]


def estimate(
    recipe: Recipe,
    gpu: Gpu | str | None = None,
    *,
    model: Model | None = None,
    loop: str = "trl",
    engine: str = "law",
    platform: Platform | None = None,
    derive: bool = False,
    cache_dir: Path | None = None,
) -> Estimate:
    """Estimate `recipe`, on `gpu` (a record, a name or a unique alias) if given. Well under 1 ms once the law is loaded.

    `model` saves looking `recipe.model` up (`estimator.sources.open_model`); `loop` names who trains (`estimator.law.LOOPS`);
    `platform` says which kernels there are where the card does not. Engine `law` takes the traced law that is at hand, with
    `derive` also one traced now and kept in `cache_dir`, and else the closed form, with its wider bar. Engine `trace` traces
    this very recipe at full size and replays the allocator (seconds). Raises `Problem`.
    """
    if engine not in ENGINES:
        raise Problem("recipe.choice", field="engine", value=engine, allowed=", ".join(ENGINES))
    gpu = catalog.find_gpu(gpu) if isinstance(gpu, str) else gpu
    model, platform = model or open_model(recipe.model), platform or Platform.of(gpu)
    parts = _parts(recipe, model, loop, "cuda", platform, derive, cache_dir)
    if engine == "trace":
        from estimator.exact import traced

        exact = traced(recipe, model, loop, platform, parts.static, parts.training.step_temporary_bytes)
        return _compose(recipe, gpu, parts, exact.moment, exact.components, exact.peak_reserved_bytes)
    row, components = parts.evaluate(recipe)
    return _compose(recipe, gpu, parts, row.moment, components, None)


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

    def evaluate(self, recipe: Recipe) -> Any:
        batch, sequence = recipe.per_device_train_batch_size, recipe.max_length
        return self.law.evaluate(batch, sequence, recipe.r, self.static, self.training.step_temporary_bytes)


def _parts(
    recipe: Recipe,
    model: Model,
    loop_name: str,
    device: str,
    platform: Platform = Platform(),
    derive: bool = False,
    cache_dir: Path | None = None,
) -> Parts:
    loop = LOOPS[loop_name]
    trained = trainables(recipe, model.inventory)
    quantization = recipe.quantization if recipe.is_quantized else None
    base = base_weights(model.inventory, recipe.dtype, quantization, recipe.bnb_4bit_use_double_quant, loop.upcasts)
    training = training_bytes(recipe, trained, adapter_dtype=adapter_dtype(recipe, loop), device=device)
    if device != "cuda":
        return Parts(model, trained, base, training, analytic_law(recipe, model.inventory, model.spec, trained, loop, device=device, largest_linear=base.largest_linear))
    law, doubt = laws.find(recipe, model, loop_name, platform, cache_dir), None
    if law is None and derive:
        try:
            law = laws.derive(recipe, model, loop_name, platform, cache_dir)
        except Problem as problem:
            doubt = problem
    law = law or analytic_law(recipe, model.inventory, model.spec, trained, loop, device=device, largest_linear=base.largest_linear)
    rounding = block_rounding_bytes(model.inventory, recipe.dtype, quantization, recipe.bnb_4bit_use_double_quant)
    return Parts(model, trained, base, training, law, rounding, platform.workspace_bytes, doubt)


def _compose(
    recipe: Recipe, gpu: Gpu | None, parts: Parts, moment: str, components: dict[str, int], replayed_bytes: int | None
) -> Estimate:
    """`replayed_bytes` is the reserved memory of a replay; without it reserved is a range over the allocated."""
    usable = gpu.usable_bytes() if gpu else None
    context = usable.context if usable else catalog.default_context()
    allocated = sum(components.values())
    reserved = replayed_bytes or round(allocated * RESERVED_OVER_ALLOCATED[1])
    paged = parts.training.paged_bytes
    device_bytes = reserved + context.bytes + paged
    fits = None if usable is None else reserved + paged <= usable.bytes
    made = Estimate(
        total_parameters=parts.model.inventory.total_parameters,
        trainable_parameters=parts.trained.parameters,
        peak_allocated_bytes=allocated,
        peak_reserved_bytes=reserved,
        device_bytes=device_bytes,
        components=components,
        peak_moment=moment,
        engine="trace" if replayed_bytes else parts.law.engine,
        uncertainty=_uncertainty(recipe, parts, components, context, paged, usable, replayed_bytes),
        fits=fits,
        headroom_bytes=None if usable is None else usable.bytes - reserved - paged,
        usable_bytes=None if usable is None else usable.bytes,
        gpu=gpu.name if gpu else None,
        warnings=(),
    )
    return replace(made, warnings=tuple(_warnings(recipe, gpu, parts, usable)))


def _uncertainty(recipe: Recipe, parts: Parts, components: dict[str, int], context: catalog.Context, paged: int, usable: Any, replayed_bytes: int | None) -> Uncertainty:
    """Static bytes are exact; the law states its own error on the rest; allocator and context add theirs."""
    totals = (Problem("why.total", source=usable.source),) if usable else ()
    around = Problem("why.context", low=human_bytes(context.low_bytes), high=human_bytes(context.high_bytes), source=context.source)
    if replayed_bytes:
        low, high = (replayed_bytes * (1 + share) for share in REPLAY_ERROR)
        why = (Problem("why.replay", low=f"{-REPLAY_ERROR[0]:.0%}", high=f"{REPLAY_ERROR[1]:.0%}"), around, *totals)
        return Uncertainty(round(low) + context.low_bytes + paged, round(high) + context.high_bytes + paged, why)
    dynamic = sum(components[name] for name in ("activations", "logits_and_loss", "temporary"))
    static = sum(components.values()) - dynamic
    error = parts.law.relative_error * dynamic
    low, _, high = RESERVED_OVER_ALLOCATED
    high = RESERVED_EAGER_HIGH if recipe.attn_implementation == "eager" else high
    why = (
        Problem(f"why.{parts.law.engine}", percent=round(100 * parts.law.relative_error)),
        Problem("why.allocator", low=f"{low:.2f}", high=f"{high:.2f}"),
        around,
        *totals,
    )
    return Uncertainty(
        round((static + dynamic - error) * low) + context.low_bytes + paged,
        round((static + dynamic + error) * high) + context.high_bytes + paged,
        why,
    )


def _warnings(recipe: Recipe, gpu: Gpu | None, parts: Parts, usable: Any) -> Iterable[Problem]:
    for code, params in parts.trained.warnings:
        yield Problem(code, **dict(params))
    yield from parts.model.notes
    for key in parts.model.spec.ignored:
        code = "model.quantization_ignored" if key == "quantization_config" else "model.code_ignored"
        yield Problem(code, field="model", value=key)
    if parts.doubt:
        yield parts.doubt
    if parts.law.engine == "analytic" and not is_dense(parts.model.spec, parts.model.inventory):
        yield Problem("estimator.approximate", field="model", value=parts.model.spec.model_type)
    if parts.training.paged_bytes:
        yield Problem("estimator.paged", field="optim", value=f"{parts.training.paged_bytes:,}")
    if gpu and usable is None:
        yield Problem("gpu.memory_unknown", field="gpu", value=gpu.name)


def compare_methods(recipe: Recipe, gpu: Gpu | str | None = None, *, model: Model | None = None, loop: str = "trl") -> dict[str, Estimate | Problem]:
    """The same recipe as full, lora and qlora; a method the model or the recipe refuses gives its `Problem`."""
    model = model or open_model(recipe.model)
    answers: dict[str, Estimate | Problem] = {}
    for method in METHODS:
        try:
            answers[method] = estimate(recipe.replace(method=method), gpu, model=model, loop=loop)
        except Problem as problem:
            answers[method] = problem
    return answers


@dataclass(frozen=True)
class CpuGrowth:
    """Bytes by which a CPU training worker's resident memory grows over what its libraries take, with a range."""

    growth_bytes: int
    low_bytes: int
    high_bytes: int
    components: dict[str, int]
    peak_moment: str


def cpu_growth(recipe: Recipe, *, model: Model | None = None) -> CpuGrowth:
    """Growth of the worker's resident memory in a CPU run: the same tensors without context and workspaces.

    Pages are touched when written and freed tensors may stay with the C allocator, so the measured growth lies between
    the static bytes and the peak plus a third; loading holds one more copy of the largest weight for a moment.
    """
    parts = _parts(recipe, model or open_model(recipe.model), "trl", "cpu")
    row, components = parts.evaluate(recipe)
    peak = sum(components.values())
    error = parts.law.relative_error * sum(components[n] for n in ("activations", "logits_and_loss", "temporary"))
    return CpuGrowth(peak, round(peak - error), round((peak + error) * 4 / 3), components, row.moment)


def check(recipe: Recipe, *, model: Model | None = None) -> list[Problem]:
    """What is wrong with `recipe` for its model, known without torch; empty where nothing is."""
    try:
        model = model or open_model(recipe.model)
    except Problem as problem:
        return [problem]
    found = []
    try:
        trainables(recipe, model.inventory)
    except Problem as problem:
        found.append(problem)
    limit = model.spec.max_position_embeddings
    if limit and recipe.max_length > limit:
        found.append(Problem("estimator.too_long", field="max_length", value=f"{recipe.max_length:,}", allowed=f"{limit:,}"))
    if recipe.is_quantized and not base_weights(model.inventory, recipe.dtype, recipe.quantization, True, "none").quantized_parameters:
        found.append(Problem("estimator.not_quantizable", field="method", value=model.spec.model_type))
    return found


def law_of(recipe: Recipe, *, model: Model | None = None, loop: str = "trl", device: str = "cuda", platform: Platform = Platform()) -> Parts:
    """The law and the static bytes of a recipe, for sweeps: `law_of(r).law.peaks(...)`."""
    return _parts(recipe, model or open_model(recipe.model), loop, device, platform)
