"""Time and money as they are asked for everywhere (`Costing`): of every card, of one, of up to three side by side. No
torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from estimator.advice.ranking import Candidate, rank
from estimator.core.problems import Problem
from estimator.cost.rows import Epoch, uniform
from estimator.hardware import card_text
from estimator.hardware.cards import Gpu, find_gpu
from estimator.recipe.costing import MOST_CARDS, Costing
from estimator.recipe.recipe import Recipe


def counted(text: str, field: str, own: Mapping[str, Gpu] | None = None) -> tuple[int | None, Gpu]:
    """(how many, the card) of a name with or without a count: `2 x RTX 4090`, `RTX 4090 x2`, `两张4090`; None where it
    says none. `own` are cards beside the catalogue's. Raises `Problem` naming `field`."""
    mine = {name.casefold(): gpu for name, gpu in (own or {}).items()}
    if text.strip().casefold() in mine:
        return None, mine[text.strip().casefold()]
    count, name = card_text.counted(text)
    said = name != text
    if said and not 1 <= count <= MOST_CARDS:
        raise Problem("recipe.range", field=field, value=text[:80], allowed=f"1 to {MOST_CARDS} cards")
    try:
        gpu = mine.get(name.casefold()) or find_gpu(name)
    except Problem as problem:
        raise Problem(problem.code, **problem.params | {"field": field}) from None
    return count if said else None, gpu


def owned_counts(names: Iterable[str] | None) -> dict[str, int]:
    """How many of which card one has; a name without a count is one card. Raises `Problem`."""
    made: dict[str, int] = {}
    for text in names or ():
        count, gpu = counted(text, "owned")
        made[gpu.name] = max(made.get(gpu.name, 0), count or 1)
    return made


def dataset(recipe: Recipe, costing: Costing) -> Epoch | None:
    """One pass over the rows that were stated. Raises `Problem`."""
    if costing.rows is None:
        return None
    return uniform(costing.rows, costing.tokens_per_row or recipe.max_length, recipe)


def ranked(recipe: Recipe, costing: Costing = Costing(), data: Epoch | None = None, **options: Any) -> list[Candidate]:
    """Every card; `options` and errors are those of `rank`, `data` stands in the place of the rows of `costing`."""
    return rank(
        recipe,
        data or dataset(recipe, costing),
        devices=costing.devices,
        owned=owned_counts(costing.owned),
        usd_per_kwh=costing.usd_per_kwh,
        hours_per_month=costing.hours_per_month,
        **options,
    )


def priced(recipe: Recipe, gpu: Gpu | str, costing: Costing = Costing(), **options: Any) -> Candidate:
    """One card, or as many of it as are asked for. Raises `Problem` as `rank` does."""
    card = find_gpu(gpu) if isinstance(gpu, str) else gpu
    return ranked(recipe, costing, only=(card,), **options)[0]


def compared(recipe: Recipe, costing: Costing, data: Epoch | None = None, **options: Any) -> list[Candidate]:
    """The cards of `costing.compare` in their order, each on its own count, else on as many as are asked for
    everywhere."""
    own = {card.gpu.name: card.gpu for card in options.get("own", ())}
    asked = [counted(text, "compare", own) for text in costing.compare or ()]
    return [
        ranked(recipe, replace(costing, devices=count or costing.devices), data, only=(gpu,), **options)[0]
        for count, gpu in asked
    ]
