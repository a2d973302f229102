"""The sole composer: a recipe, a model and perhaps a GPU in; memory by component, a verdict and an error bar out."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from estimator.adapters import refusals
from estimator.adapters.adapters import trainables
from estimator.core.problems import Problem
from estimator.core.same import Same
from estimator.estimates.calibration import Calibration
from estimator.estimates.error_bar import calibrated, reserved_over_allocated, total_of, uncertainty
from estimator.estimates.once import once
from estimator.estimates.parts import Parts, parts_of
from estimator.estimates.peaks import Step, run_peaks
from estimator.estimates.peaks_of_several import loads_whole, run_peaks_of_several
from estimator.estimates.remarks import positions, remarks
from estimator.estimates.result import Estimate, Source
from estimator.hardware import cards
from estimator.hardware.cards import Gpu
from estimator.hardware.machines import Machine, check_system, machine, on_cards
from estimator.hardware.platforms import Platform
from estimator.hub.sources import open_model
from estimator.law.analytic import is_dense
from estimator.law.law import Row
from estimator.law.question import Question
from estimator.memory import stored
from estimator.memory.states import base_weights
from estimator.model.catalog import Model
from estimator.parallel import parallel, plan
from estimator.parallel.plan import Sharded
from estimator.recipe.batches import Batches
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import METHODS, Recipe
from estimator.shelf import replays, streams

ENGINES = ("law", "trace")


def estimate(
    recipe: Recipe,
    gpu: Gpu | str | None = None,
    *,
    model: Model | None = None,
    loop: str = "trl",
    engine: str = "law",
    platform: Platform | None = None,
    system: str | None = None,
    mig: str | None = None,
    memory_gib: float | None = None,
    derive: bool = False,
    cache_dir: Path | None = None,
    calibration: Calibration | None = None,
    trained_share: float = 1.0,
    padded: bool = False,
) -> Estimate:
    """Estimate `recipe`, on `gpu` (a record, or a name that `find_gpu` knows; `2x4090` says `num_processes` too) if
    given. Well under 1 ms once the law is loaded.

    `model` saves looking `recipe.model` up (`estimator.hub.sources.open_model`); `loop` names who trains
    (`estimator.recipe.loop.LOOPS`); `system` (`machines.SYSTEMS`), `mig` and `memory_gib` say what of the card there is
    to use; `platform` says which kernels there are where the card does not. Engine `law` takes the traced law that is
    at hand, with `derive` also one traced now and kept in `cache_dir`, else the nearest at hand
    (`estimator.shelf.nearest`), and else the closed form, each with its wider bar. Engine `trace` traces this very
    recipe at full size and replays the allocator (seconds); its reserved memory is kept in `cache_dir` too, and answers
    with the law from then on. `trained_share` and `padded` say what the data do to a batch
    (`estimator.recipe.batches.Batches`). `calibration` is what runs on this very card measured: the error bar follows
    it, the figures do not. Raises `Problem`.
    """
    if engine not in ENGINES:
        raise Problem("recipe.choice", field="engine", value=engine, allowed=", ".join(ENGINES))
    if isinstance(gpu, str):
        recipe, gpu = on_cards(recipe, gpu)
    where = machine(gpu, system, mig, memory_gib) if gpu is not None else None
    check_system(recipe, system)
    model, platform = model or open_model(recipe.model), platform or Platform.of(where and where.gpu)
    recipe = stored.as_loaded(recipe, model.stored_config, model.name)
    question = Question(recipe, model, loop, platform, Batches(trained_share, padded), derive, cache_dir)
    made = once(lambda: _key(question, gpu, engine, system, mig, memory_gib), lambda: answered(question, where, engine))
    return _calibrated(made, where, loop, calibration) if calibration and calibration.records else made


def _key(question: Question, *of_the_card: Any) -> Hashable:
    """Equal where the answer is: a recipe is told by its text, for tables in it have no hash."""
    asked = (name for name in vars(question) if name not in ("recipe", "model"))
    rest = (getattr(question, name) for name in asked)
    return repr(vars(question.recipe)), Same(question.model), *rest, *of_the_card


def answered(question: Question, where: Machine | None = None, engine: str = "law") -> Estimate:
    """The answer to a question about a recipe as its model is loaded (`stored.as_loaded`). Raises `Problem`."""
    recipe = question.recipe
    several = recipe.num_processes > 1
    if several and engine == "trace":
        what = {"value": recipe.num_processes, "other": "engine trace", "allowed": "Use engine law, or one process"}
        raise Problem("recipe.conflict", field="num_processes", **what)
    parts = parts_of(question.but(recipe=plan.on_device(recipe)))
    refusals.check_head(parts.trained.targets, question.model.inventory, question.loop.fused_loss)
    if engine == "trace":
        return _by_trace(question, where, parts)
    if several:
        sharded = parallel.shard(recipe, parts, question.loop_name)
        made = sharded.evaluate(recipe)
        return composed(recipe, where, parts, *made, sharded=sharded, derive=question.derive)
    replayed = _replayed(question, parts)
    return composed(recipe, where, parts, *parts.evaluate(recipe), replayed, derive=question.derive)


def _by_trace(question: Question, where: Machine | None, parts: Parts) -> Estimate:
    """This very recipe traced at full size and replayed; its reserved memory is kept for the law's next answer."""
    from estimator.trace.exact import traced

    recipe, temporary = question.recipe, parts.training.step_temporary_bytes
    known = recipe, question.model, question.loop_name, question.platform, parts.static, temporary, question.batches
    exact = traced(*known)
    replays.keep(exact.peak_reserved_bytes, question, parts.law.versions)
    found = exact.moment, exact.components, exact.peak_reserved_bytes
    return composed(recipe, where, parts, *found, "trace", derive=question.derive)


def _replayed(question: Question, parts: Parts) -> int | None:
    """Reserved memory by a replay that was kept, or, where the question derives, by one of the law's step."""
    known = replays.find(question, parts.law.versions) if question.model.config else None
    if known is None and question.derive and not parts.trains_all:
        known = streams.reserved_bytes(question, parts.law, parts.training.step_temporary_bytes)
        if known:
            replays.keep(known, question, parts.law.versions)
    return known


def _calibrated(made: Estimate, where: Machine | None, loop: str, calibration: Calibration) -> Estimate:
    """With the error bar that runs on this card leave; what was measured here ran on one device."""
    source = made.source
    if source.sharded:
        return made
    context, paged = context_of(where and where.usable), source.parts.training.paged_bytes
    measured = source.recipe, made.peak_reserved_bytes, context, paged, made.engine
    return replace(made, uncertainty=calibrated(made.uncertainty, *measured, loop, calibration))


def context_of(usable: cards.Usable | None) -> cards.Context:
    return usable.context if usable else cards.default_context()


def composed(
    recipe: Recipe,
    where: Machine | Gpu | None,
    parts: Parts,
    at: Row | str,
    components: dict[str, int],
    replayed_bytes: int | None = None,
    engine: str | None = None,
    sharded: Sharded | None = None,
    derive: bool = False,
) -> Estimate:
    """The answer for a card whose kernels are those of `parts`. `at` is the row of the law that peaks, of a trace the
    moment alone. `replayed_bytes` is the reserved memory of a replay, of now or kept; without it reserved is a range
    over the allocated."""
    where = machine(where) if isinstance(where, Gpu) else where
    usable = where.usable if where else None
    context = context_of(usable)
    if sharded:
        context, usable = plan.with_communicator(recipe, context, usable)
    made_of = (Same(part) for part in (recipe, parts, at, components, sharded))
    made = _on_any_card(*made_of, replayed_bytes, engine, derive, context)
    needed = made.largest_peak.device_bytes - context.bytes
    bar = made.uncertainty
    whole = loads_whole(recipe, parts, made.source.step, usable and usable.bytes) if sharded else ()
    return replace(
        made,
        uncertainty=replace(bar, why=(*bar.why, total_of(usable.source))) if usable else bar,
        fits=None if usable is None else needed <= usable.bytes,
        headroom_bytes=None if usable is None else usable.bytes - needed,
        usable_bytes=None if usable is None else usable.bytes,
        gpu=where.gpu.name if where else None,
        warnings=(*made.warnings, *_of_the_card(where, usable), *(sharded.notes if sharded else ()), *whole),
        system=where.system if where else None,
        usable_low_bytes=where.low_bytes if where else None,
        usable_high_bytes=where.high_bytes if where else None,
        usable_source=usable.source if usable else None,
    )


@functools.lru_cache(maxsize=64)
def _on_any_card(
    recipe: Same,
    parts: Same,
    at: Same,
    components: Same,
    sharded: Same,
    replayed_bytes: int | None,
    engine: str | None,
    derive: bool,
    context: cards.Context,
) -> Estimate:
    """What is the same on every card with this context: a ranking asks for it two hundred times."""
    return _without_card(
        recipe.value, parts.value, at.value, components.value, sharded.value, replayed_bytes, engine, derive, context
    )


def _without_card(
    recipe: Recipe,
    parts: Parts,
    at: Row | str,
    components: dict[str, int],
    sharded: Sharded | None,
    replayed_bytes: int | None,
    engine: str | None,
    derive: bool,
    context: cards.Context,
) -> Estimate:
    paged, slack, apart, own = parts.training.paged_bytes, 0, 0, components
    moment, whole = at if isinstance(at, str) else at.moment, parts
    if sharded:
        parts, paged, slack = replace(parts, law=sharded.law), sharded.rank.paged_bytes, sharded.slack_bytes
        apart, own = sharded.gathering_bytes, sharded.own_components or components
    allocated = sum(components.values())
    reserved = replayed_bytes or round(sum(own.values()) * reserved_over_allocated(recipe)[1]) + apart
    device_bytes = reserved + context.bytes + paged
    step = Step(device_bytes, moment, (reserved - apart) / sum(own.values()), context.bytes)
    return Estimate(
        total_parameters=parts.model.inventory.total_parameters,
        trainable_parameters=parts.trained.parameters,
        peak_allocated_bytes=allocated,
        peak_reserved_bytes=reserved,
        device_bytes=device_bytes,
        components=components,
        peak_moment=moment,
        engine=engine or parts.law.engine,
        uncertainty=uncertainty(recipe, parts, own, context, paged + apart, replayed_bytes, slack),
        fits=None,
        headroom_bytes=None,
        usable_bytes=None,
        gpu=None,
        warnings=tuple(_warnings(recipe, parts, paged)),
        run_peaks=run_peaks_of_several(recipe, parts, sharded, step) if sharded else run_peaks(recipe, parts, step),
        source=Source(recipe, whole, derive, step, None if isinstance(at, str) else at, sharded),
        parallel=sharded.plan if sharded else None,
        stands_on=(parts.stands_on or None) if parts.law is whole.law else None,
        versions=parts.model.inventory.versions | parts.law.versions,
    )


def _warnings(recipe: Recipe, parts: Parts, paged: int) -> Iterable[Problem]:
    for code, params in parts.trained.warnings:
        yield Problem(code, **dict(params))
    yield from parts.model.notes
    yield from stored.notes(recipe, parts.model)
    yield from remarks(recipe, parts.model, parts.trained)
    for key in parts.model.spec.ignored:
        yield Problem("model.code_ignored", field="model", value=key)
    if parts.doubt:
        yield parts.doubt
    if parts.law.engine == "analytic" and not is_dense(parts.model.spec, parts.model.inventory):
        yield Problem("estimator.approximate", field="model", value=parts.model.spec.model_type)
    if paged:
        yield Problem("estimator.paged", field="optim", value=f"{paged:,}")


def _of_the_card(where: Machine | None, usable: cards.Usable | None) -> Iterable[Problem]:
    if where and usable is None:
        yield Problem("gpu.memory_unknown", field="gpu", value=where.gpu.name)
    if where and (said := where.foreign()):
        yield said
    if where and where.read_as:
        yield where.read_as
    yield from where.notes() if where and where.system else ()


def compare_methods(
    recipe: Recipe, gpu: Gpu | str | None = None, *, model: Model | None = None, loop: str = "trl"
) -> dict[str, Estimate | Problem]:
    """The same recipe as full, lora and qlora; a method the model or the recipe refuses gives its `Problem`."""
    model = model or open_model(recipe.model)
    answers: dict[str, Estimate | Problem] = {}
    for method in METHODS:
        try:
            answers[method] = estimate(recipe.replace(method=method), gpu, model=model, loop=loop)
        except Problem as problem:
            answers[method] = problem
    return answers


def check(recipe: Recipe, *, model: Model | None = None, loop: str = "trl") -> list[Problem]:
    """What is wrong with `recipe` for its model and for who trains it, known without torch; empty where nothing is."""
    try:
        model = model or open_model(recipe.model)
    except Problem as problem:
        return [problem]
    found = []
    try:
        recipe = stored.as_loaded(recipe, model.stored_config, model.name)
        refusals.check_head(trainables(recipe, model.inventory).targets, model.inventory, LOOPS[loop].fused_loss)
    except Problem as problem:
        found.append(problem)
    limit = model.spec.max_position_embeddings
    if limit and recipe.max_length > limit and positions(model.inventory, limit):
        found.append(
            Problem("estimator.too_long", field="max_length", value=f"{recipe.max_length:,}", allowed=f"{limit:,}")
        )
    if (
        recipe.is_quantized
        and not base_weights(model.inventory, recipe.dtype, recipe.quantization, True, "none").quantized_parameters
    ):
        found.append(Problem("estimator.not_quantizable", field="method", value=model.spec.model_type))
    return found
