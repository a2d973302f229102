"""What a card holds when the model is used, for so many users at so long a context. No torch.

Weights as stored, K adapters, one cache a user, the logits of every user's next token, and one prompt being read at a
time. Engines with a paged cache (vLLM) keep the same bytes a token in blocks of 16 tokens, and claim their share of the
card at once: `gpu_memory_utilization`, 0.9 by default, of which the cache gets what weights and a trial run leave
(https://docs.vllm.ai/en/latest/models/engine_args.html). So a figure here is what has to fit, not what such an engine
shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from estimator.adapters.adapters import trainables
from estimator.core.problems import Problem
from estimator.core.units import width_bytes
from estimator.estimates.error_bar import reserved_over_allocated
from estimator.estimates.peaks import inference_adapters_bytes, reading_bytes
from estimator.hardware import cards
from estimator.hardware.cards import Gpu
from estimator.hardware.machines import Machine, machine
from estimator.hardware.platforms import Platform
from estimator.hub.sources import open_model
from estimator.law.analytic import analytic_law
from estimator.law.law import Law
from estimator.law.question import Question
from estimator.memory.kv_cache import KvCache
from estimator.memory.load_events import block_rounding_bytes
from estimator.memory.states import base_weights
from estimator.model.catalog import Model
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import DTYPES, FIELDS, Recipe
from estimator.shelf import caches, evaluations

STORAGES = ("none", "nf4", "fp4", "int8")
MAX_USERS, MAX_ADAPTERS, MAX_CONTEXT = 1_000_000, 10_000, FIELDS["max_length"].limits["high"]


@dataclass(frozen=True)
class Serving:
    """What is served, and the bytes that come of it. `device_bytes` is what the card shows, with its range.

    `max_users` at this context and `max_context` for these users are None without a card whose memory is known, 0 where
    not even one fits; a context ends at the model's own limit where it states one.
    """

    model: str
    dtype: str
    quantization: str
    users: int
    context_tokens: int
    adapters: int
    r: int
    components: dict[str, int]
    token_bytes: float
    device_bytes: int
    low_bytes: int
    high_bytes: int
    gpu: str | None
    system: str | None
    usable_bytes: int | None
    usable_low_bytes: int | None
    usable_high_bytes: int | None
    usable_source: str | None
    fits: bool | None
    headroom_bytes: int | None
    max_users: int | None
    max_context_tokens: int | None
    notes: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name != "notes"}
        return own | {"notes": [note.to_dict() | {"text": str(note)} for note in self.notes]}


@dataclass(frozen=True)
class _Served:
    """Everything that does not depend on users and context."""

    model: Model
    recipe: Recipe
    cache: KvCache
    law: Law
    weights_bytes: int
    adapters_bytes: int
    workspace_bytes: int

    def components(self, users: int, tokens: int) -> dict[str, int]:
        cache = self.cache.bytes(users, tokens, self.recipe.dtype) if users else 0
        # One prompt is read while the others' caches stand: a layer with a window holds that prompt whole for the
        # moment.
        read = self.cache.bytes(1, tokens, self.recipe.dtype, while_reading=True) - self.cache.bytes(
            1, tokens, self.recipe.dtype
        )
        logits = users * self.model.spec.vocab_size * (width_bytes(self.recipe.dtype) + 4)
        return {
            "weights": self.weights_bytes,
            "adapters": self.adapters_bytes,
            "kv_cache": cache,
            "logits": logits,
            "prompt": reading_bytes(self.law, 1, tokens, self.recipe.r) + read,
            "workspace": self.workspace_bytes,
        }


def serving(
    model: Model | str,
    gpu: Gpu | str | None = None,
    *,
    users: int = 1,
    context_tokens: int = 4096,
    quantization: str = "none",
    dtype: str = "bfloat16",
    adapters: int = 0,
    r: int = 16,
    system: str | None = None,
    mig: str | None = None,
    memory_gib: float | None = None,
) -> Serving:
    """Size the use of `model` for `users` rows of `context_tokens` tokens. Raises `Problem` naming the argument."""
    _check(users=(users, 1, MAX_USERS), context=(context_tokens, 1, MAX_CONTEXT), adapters=(adapters, 0, MAX_ADAPTERS))
    for field, value, allowed in (("quantization", quantization, STORAGES), ("dtype", dtype, DTYPES)):
        if value not in allowed:
            raise Problem("recipe.choice", field=field, value=str(value)[:80], allowed=", ".join(allowed))
    model = open_model(model) if isinstance(model, str) else model
    limit = model.spec.max_position_embeddings
    if limit and context_tokens > limit:
        raise Problem("estimator.too_long", field="context", value=f"{context_tokens:,}", allowed=f"{limit:,}")
    where = machine(gpu, system, mig, memory_gib) if gpu is not None else None
    if system == "macos" and quantization != "none":
        raise Problem("machine.unsupported", field="quantization", value=quantization, device="mps", allowed="none")
    served = _served(model, quantization, dtype, adapters, r, Platform.of(where.gpu if where else None))
    return _sized(served, where, quantization, adapters, users, context_tokens)


def _check(**numbers: tuple[Any, int, int]) -> None:
    for field, (value, low, high) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Problem("recipe.range", field=field, value=str(value)[:80], allowed=f"{low:,} to {high:,}")


def _served(model: Model, quantization: str, dtype: str, adapters: int, r: int, platform: Platform) -> _Served:
    quantized = None if quantization == "none" else quantization
    fields: dict[str, Any] = {"method": "qlora", "quantization": quantized} if quantized else {"method": "lora"}
    recipe = Recipe(model=model.id, dtype=dtype, r=r, per_device_train_batch_size=2, **fields)
    weights = base_weights(model.inventory, dtype, quantized, recipe.bnb_4bit_use_double_quant, "none")
    rounding = block_rounding_bytes(model.inventory, dtype, quantized, recipe.bnb_4bit_use_double_quant, LOOPS["trl"])
    trained = trainables(recipe, model.inventory)
    law = _law(recipe, model, platform)
    law = law or analytic_law(
        recipe, model.inventory, model.spec, trained, LOOPS["trl"], device="cuda", largest_linear=weights.largest_linear
    )
    whole = weights.weights_bytes + weights.quantization_state_bytes + rounding
    own = adapters * inference_adapters_bytes(trained.parameters)
    return _Served(model, recipe, caches.of(model), law, whole, own, platform.workspace_bytes // 2)


def _law(recipe: Recipe, model: Model, platform: Platform) -> Law | None:
    """What reading a prompt holds, traced now where it has to be; None where it cannot be."""
    try:
        question = Question(recipe, model, platform=platform)
        return evaluations.find(question) or evaluations.derive(question)
    except Problem:
        return None


def _sized(
    served: _Served, where: Machine | None, quantization: str, adapters: int, users: int, tokens: int
) -> Serving:
    usable = where.usable if where else None
    context = usable.context if usable else cards.default_context()
    low, middle, high = reserved_over_allocated(served.recipe)

    def reserved(users: int, tokens: int) -> int:
        return round(sum(served.components(users, tokens).values()) * middle)

    components = served.components(users, tokens)
    allocated, needed = sum(components.values()), reserved(users, tokens)
    most = longest = None
    if usable:
        most = _last(lambda n: reserved(n, tokens) <= usable.bytes, MAX_USERS)
        longest = _last(
            lambda n: reserved(users, n) <= usable.bytes, served.model.spec.max_position_embeddings or MAX_CONTEXT
        )
    return Serving(
        model=served.model.id,
        dtype=served.recipe.dtype,
        quantization=quantization,
        users=users,
        context_tokens=tokens,
        adapters=adapters,
        r=served.recipe.r,
        components=components,
        token_bytes=components["kv_cache"] / users / tokens,
        device_bytes=needed + context.bytes,
        low_bytes=round(allocated * low) + context.low_bytes,
        high_bytes=round(allocated * high) + context.high_bytes,
        gpu=where.gpu.name if where else None,
        system=where.system if where else None,
        usable_bytes=usable.bytes if usable else None,
        usable_low_bytes=where.low_bytes if where else None,
        usable_high_bytes=where.high_bytes if where else None,
        usable_source=usable.source if usable else None,
        fits=None if usable is None else needed <= usable.bytes,
        headroom_bytes=None if usable is None else usable.bytes - needed,
        max_users=most,
        max_context_tokens=longest,
        notes=tuple(_notes(served, where)),
    )


def _notes(served: _Served, where: Machine | None) -> list[Problem]:
    made = [*served.model.notes, *(where.notes() if where and where.system else ())]
    if where and where.usable is None:
        made.append(Problem("gpu.memory_unknown", field="gpu", value=where.gpu.name))
    if served.law.engine != "traced":
        made.append(Problem("serving.prompt_bound", field="model", value=served.model.id))
    return made


def _last(holds: Callable[[int], bool], limit: int) -> int:
    """The largest number from 1 to `limit` that `holds`, 0 if none does; what holds for one holds for less."""
    low, high = 0, 1
    while high <= limit and holds(high):
        low, high = high, 2 * high
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
