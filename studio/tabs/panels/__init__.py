"""What unfolds below the picture of the Estimate tab. One module a panel.

A panel has a `NAME` (its words are `estimate.panel_<name>`), `render(lang, asked)`, which gives its HTML or raises
`Problem`, and perhaps `ON_LOAD`, the script of its element, and `controls()`, which builds what it asks beside the recipe: their
values come to `render` under their names. Panels are drawn when they are open, after the picture: a
picture never waits for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from estimator.cards import Gpu
from estimator.catalog import Model
from estimator.conditions import Conditions
from estimator.recipe import Recipe

APPLY = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-apply]');
  if (button) trigger('click', JSON.parse(button.dataset.apply));
});"""
"""`ON_LOAD` of a panel whose buttons set recipe fields: `data-apply` holds them as JSON."""


@dataclass(frozen=True)
class Asked:
    """What the controls ask: a recipe that its model takes, a card, and what is said beside the recipe."""

    recipe: Recipe
    gpu: Gpu
    model: Model
    conditions: Conditions = Conditions()
