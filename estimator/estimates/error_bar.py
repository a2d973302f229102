"""How far the truth may lie from an estimate, and why: the law's own error, the allocator's, the context's."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from estimator.core.problems import Problem
from estimator.core.units import human_bytes
from estimator.estimates.calibration import RESERVED, Calibration, narrowed
from estimator.estimates.parts import Parts
from estimator.hardware import cards
from estimator.law.padding import padding_bytes
from estimator.recipe.recipe import Recipe

RESERVED_FUSED, RESERVED_EAGER = (1.02, 1.08, 1.40), (1.02, 1.18, 1.55)
"""Low, central and high ratio of reserved to allocated memory, by attention: median of published runs, range of them
and of replays."""
REPLAY_ERROR, REPLAY_ERROR_QUANTIZED = (-0.03, 0.03), (-0.05, 0.05)
"""Range of the truth around a replayed figure, which holds 95 % of published runs (`make accuracy`, reserved). On
packed weights it is wider: where their blocks come to lie changes from run to run of one program (fitcheck's repeats),
and with it what fits between them."""


def replay_error(recipe: Recipe) -> tuple[float, float]:
    """How far below and above a replayed figure the truth may lie, as shares of it."""
    return REPLAY_ERROR_QUANTIZED if recipe.is_quantized else REPLAY_ERROR


def reserved_over_allocated(recipe: Recipe) -> tuple[float, float, float]:
    """Low, central and high ratio of reserved to allocated memory where only the law is at hand (presets/README.md)."""
    return RESERVED_EAGER if recipe.attn_implementation == "eager" else RESERVED_FUSED


def reserved_range(recipe: Recipe, allocated_bytes: int, replayed_bytes: int | None) -> tuple[float, float]:
    """Where reserved memory lies: around a replay, or in proportion to what is allocated."""
    if replayed_bytes:
        return tuple(replayed_bytes * (1 + share) for share in replay_error(recipe))
    low, _, high = reserved_over_allocated(recipe)
    return allocated_bytes * low, allocated_bytes * high


@dataclass(frozen=True)
class Uncertainty:
    """Range of `device_bytes`, and the reasons for it (codes `why.*`, so that a page can say them in its language)."""

    low_bytes: int
    high_bytes: int
    why: tuple[Problem, ...]


def uncertainty(
    recipe: Recipe,
    parts: Parts,
    components: dict[str, int],
    context: cards.Context,
    paged: int,
    replayed_bytes: int | None,
    slack_bytes: int = 0,
) -> Uncertainty:
    """Static bytes are exact; the law states its own error on the rest; allocator and context add theirs. `slack_bytes`
    of the components are a bound (`estimator.parallel.parallel`), which need not be reached."""
    around = _around(context)
    padding = 0 if parts.batches.padded else padding_bytes(recipe, parts.model.spec, parts.platform)
    if replayed_bytes:
        below, above = replay_error(recipe)
        low, high = reserved_range(recipe, 0, replayed_bytes)
        why = (
            Problem("why.replay", low=f"{-below:.0%}", high=f"{above:.0%}"),
            *_of_the_batch(padding, 0),
            around,
        )
        return Uncertainty(
            round(low) + context.low_bytes + paged, round(high) + padding + context.high_bytes + paged, why
        )
    dynamic = sum(components[name] for name in ("activations", "logits_and_loss", "temporary"))
    static = sum(components.values()) - dynamic
    error = parts.law.relative_error * dynamic
    low, _, high = reserved_over_allocated(recipe)
    unlabelled = (1 - parts.batches.trained_share) * components["logits_and_loss"] if parts.trains_all else 0.0
    why = (
        Problem(
            f"why.{parts.law.engine}",
            percent=round(100 * parts.law.relative_error),
            **({"law": parts.stands_on} if parts.stands_on else {}),
        ),
        Problem("why.allocator", low=f"{low:.2f}", high=f"{high:.2f}"),
        *_of_the_batch(padding, unlabelled),
        *((Problem("why.gathered", size=human_bytes(slack_bytes)),) if slack_bytes else ()),
        around,
    )
    return Uncertainty(
        round((static + dynamic - error - unlabelled - slack_bytes) * low) + context.low_bytes + paged,
        round((static + dynamic + error + padding) * high) + context.high_bytes + paged,
        why,
    )


@functools.lru_cache(maxsize=256)
def _around(context: cards.Context) -> Problem:
    low, high = human_bytes(context.low_bytes), human_bytes(context.high_bytes)
    return Problem("why.context", low=low, high=high, source=context.source)


@functools.lru_cache(maxsize=256)
def total_of(source: str) -> Problem:
    """Where what a card has comes from, for a bar on a card."""
    return Problem("why.total", source=source)


def _of_the_batch(padding_bytes: float, unlabelled_bytes: float) -> tuple[Problem, ...]:
    """What the data may add or take, where nobody said how their rows fill a batch."""
    more = (Problem("why.padding", field="padded", bytes=human_bytes(round(padding_bytes))),) if padding_bytes else ()
    less = (
        (Problem("why.trained_share", field="trained_share", bytes=human_bytes(round(unlabelled_bytes))),)
        if unlabelled_bytes
        else ()
    )
    return (*more, *less)


def calibrated(
    bar: Uncertainty,
    recipe: Recipe,
    reserved: int,
    context: cards.Context,
    paged: int,
    engine: str,
    loop: str,
    known: Calibration,
) -> Uncertainty:
    """The bar with what this machine measured on the same card: its contexts, and how far reserved memory was off."""
    ratios, contexts = (
        known.ratios(recipe, RESERVED, reserved, engine=engine, loop=loop),
        known.contexts() or [context.low_bytes, context.high_bytes],
    )
    low, high = narrowed(
        bar.low_bytes - context.low_bytes - paged, bar.high_bytes - context.high_bytes - paged, reserved, ratios
    )
    low, high = round(low) + min(contexts) + paged, round(high) + max(contexts) + paged
    if (low, high) == (bar.low_bytes, bar.high_bytes):
        return bar
    seen = (
        [Problem("why.measured", count=len(ratios), low=f"{min(ratios):.2f}", high=f"{max(ratios):.2f}")]
        if ratios
        else []
    )
    held = (
        [
            Problem(
                "why.context_measured",
                count=len(known.contexts()),
                low=human_bytes(min(contexts)),
                high=human_bytes(max(contexts)),
            )
        ]
        if known.contexts()
        else []
    )
    return Uncertainty(low, high, (*bar.why, *seen, *held))
