"""Everything a law needs to be evaluated for one recipe: static bytes from `estimator.memory.states`, and the law at
hand."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

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
from estimator.law.question import Question
from estimator.memory.load_events import loading
from estimator.memory.states import Training, Weights, base_weights, training_bytes
from estimator.memory.stored import as_loaded
from estimator.model.catalog import Model
from estimator.recipe.batches import Batches, shape
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


def parts_of(question: Question, device: str = "cuda") -> Parts:
    """On one device; a recipe of several is asked as `estimator.parallel.plan.on_device` has it. Raises `Problem`."""
    model, loop = question.model, question.loop
    recipe = as_loaded(question.recipe, model.stored_config, model.name)
    question = question.but(recipe=recipe)
    trained, base = trainables(recipe, model.inventory), _base(question)
    own_dtype = adapter_dtype(recipe, loop)
    training = training_bytes(recipe, trained, adapter_dtype=own_dtype, device=device)
    if device != "cuda":  # without Triton TRL's head runs over every position
        question = question.as_all_train
        law = _closed_form(question, trained, base, device)
        return Parts(model, trained, base, training, law, batches=question.batches, adapter_dtype=own_dtype)
    law, trains_all, stands_on, doubt = _at_hand(question)
    law = law or _closed_form(question, trained, base, device)
    quantization = recipe.quantization if recipe.is_quantized else None
    loaded, tensors_bytes = loading(model.inventory, recipe.dtype, quantization, recipe.bnb_4bit_use_double_quant, loop)
    return Parts(
        model,
        trained,
        base,
        training,
        law,
        loaded.allocated_bytes - tensors_bytes,
        question.platform.workspace_bytes,
        doubt,
        question.batches,
        trains_all,
        question.platform,
        _evaluation(question),
        own_dtype,
        loaded.peak_reserved_bytes,
        stands_on,
    )


def _at_hand(question: Question) -> tuple[Law | None, bool, str, Problem | None]:
    """(the law that answers or None, whether it is of batches whose every token trains for want of one that knows the
    share, the settings it stands on where these are others, why it was not traced)."""
    recipe, model, platform = question.recipe, question.model, question.platform
    law, doubt = laws.find(question), None
    if law is None and question.derive:
        try:
            law = laws.derive(question)
        except Problem as problem:
            doubt = problem
    trains_all = law is None and question.batches.trained_share < 1
    law = law or laws.find(question.as_all_train)
    as_wide = not recipe.is_quantized or question.loop.upcasts == "none"  # else attention runs in fp32
    if law is None and question.batches.pads(recipe) and as_wide and adds_masks(recipe, model.spec, platform):
        full = laws.find(question.but(batches=Batches()))
        law = full and with_padding(full, recipe, model.spec)
    stands_on = ""
    if law is None and (found := _nearest(question.as_all_train)):
        law, stands_on = found
    return law, trains_all and law is not None, stands_on, doubt


def _base(question: Question) -> Weights:
    recipe, loop = question.recipe, question.loop
    quantization = recipe.quantization if recipe.is_quantized else None
    packed = quantization, recipe.bnb_4bit_use_double_quant
    return base_weights(question.model.inventory, recipe.dtype, *packed, loop.upcasts)


def _nearest(question: Question) -> tuple[Law, str] | None:
    """By laws of batches whose every token trains, where none knows the share."""

    def side(one: Recipe) -> nearest.Side:
        asked = question.but(recipe=one)
        trained = trainables(one, asked.model.inventory)
        training = training_bytes(one, trained, adapter_dtype=adapter_dtype(one, asked.loop), device="cuda")
        closed = _closed_form(asked, trained, _base(asked), "cuda")
        return nearest.Side(one, closed, training.gradients_bytes, trained)

    return nearest.nearest(question.recipe, question.model, lambda one: laws.find(question.but(recipe=one)), side)


def _evaluation(question: Question) -> Law | None:
    """The law of an evaluation; where none knows the share of trained tokens, that of batches whose every token
    trains."""
    wanted = (question, question.as_all_train) if question.batches.trained_share < 1 else (question,)
    for known in wanted:
        if law := evaluations.find(known):
            return law
    if question.derive:
        with contextlib.suppress(Problem):  # the step's law bounds it, and the peak says that it is a bound
            return evaluations.derive(question)
    return None


def _closed_form(question: Question, trained: Trainables, base: Weights, device: str) -> Law:
    known = {"device": device, "largest_linear": base.largest_linear, "batches": question.batches}
    model = question.model
    return analytic_law(question.recipe, model.inventory, model.spec, trained, question.loop, **known)


def law_of(
    recipe: Recipe,
    *,
    model: Model | None = None,
    loop: str = "trl",
    device: str = "cuda",
    platform: Platform = Platform(),
) -> Parts:
    """The law and the static bytes of a recipe on one device, for sweeps: `law_of(r).law.peaks(...)`. Raises `Problem`
    for several."""
    if recipe.num_processes > 1:
        raise Problem(
            "recipe.conflict",
            field="num_processes",
            value=recipe.num_processes,
            other="a sweep of the law",
            allowed="Use estimate, or one process",
        )
    return parts_of(Question(recipe, model or open_model(recipe.model), loop, platform), device)


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

    The figure is of live tensors. The range ends where measured runs ended, with what the C allocator keeps
    (`estimator.estimates.resident`); `known` is what runs on this machine measured.
    """
    model = model or open_model(recipe.model)
    parts = parts_of(Question(recipe, model, batches=Batches(padded=padded)), "cpu")
    row, components = parts.evaluate(recipe)
    peak = sum(components.values())
    error = parts.law.relative_error * sum(components[n] for n in ("activations", "logits_and_loss", "temporary"))
    low, high = peak - error, resident.kept().most(peak + error, resident.mapped_bytes(recipe, model))
    if known:
        low, high = narrowed(low, high, peak, known.ratios(recipe, RESIDENT_GROWTH, peak, engine=parts.law.engine))
    return CpuGrowth(peak, round(low), round(high), components, row.moment, parts.law.engine)
