"""What unfolds below the picture of the Estimate tab. One module a panel.

A panel has a `NAME` (its words are `estimate.panel_<name>`), `render(lang, asked)`, which gives its HTML or raises
`Problem`, and perhaps `ON_LOAD`, the script of its element, and `controls()`, which builds what it asks beside the
recipe: their values come to `render` under their names. Panels are drawn when they are open, after the picture: a
picture never waits for them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from estimator.core.problems import Problem
from estimator.estimates.conditions import Conditions
from estimator.estimates.estimate import Estimate, estimate
from estimator.estimates.once import Answers
from estimator.hardware.cards import Gpu
from estimator.model.catalog import Model
from estimator.recipe.recipe import Recipe
from studio import shipped

ANSWERS = Answers()
"""Of the picture and of all panels: one move of a control asks for each answer once, though each is drawn by itself."""
APPLY = shipped.script("elements/apply")
"""`ON_LOAD` of a panel whose buttons set recipe fields: `data-apply` holds them as JSON. A repaint replaces them: the
one in the place of the one that had the keyboard gets it."""


@dataclass(frozen=True)
class Asked:
    """What the controls ask: a recipe that its model takes, a card, and what is said beside the recipe."""

    recipe: Recipe
    gpu: Gpu
    model: Model
    conditions: Conditions = Conditions()
    refused: tuple[str, Problem] | None = None
    """Of `controls.METHODS` the one that is chosen and why it cannot be; `recipe` then is of another."""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What *Which GPU* is asked beside (`panels.options`)."""

    @functools.cached_property
    def answer(self) -> Estimate:
        """What every panel shows of this question. Raises `Problem`."""
        return estimate(self.recipe, self.gpu, model=self.model, **self.conditions.options)
