"""A row by the template that was chosen, and beside it by the base's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from estimator.recipe.recipe import Recipe
from studio.datasets.store import DatasetInfo
from studio.rendering.painted import shown
from studio.rendering.templates import form_of
from studio.rendering.training_templates import OWN


def beside(info: DatasetInfo, tokenizer: Any, own: Any, recipe: Recipe, places: Sequence[int]) -> dict[str, Any]:
    """`chosen`; `has_own`, whether the base brings a template; `ends`, the token that ends an answer; and where another
    than the base's own is chosen, the first row at `places` by `both` (chosen, own; as `painted.shown` has rows)."""
    found: dict[str, Any] = {"chosen": recipe.chat_template, "has_own": form_of(own).has_own, "both": []}
    found["ends"] = tokenizer.convert_ids_to_tokens(form_of(tokenizer).turn_end)
    if recipe.chat_template != OWN and len(places):
        by_own = replace(recipe, chat_template=OWN)
        found["both"] = [
            row for one, how in ((tokenizer, recipe), (own, by_own)) for row in shown(info, one, how, places[:1])
        ]
    return found
