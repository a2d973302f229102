"""What a batch looks like to the model: TRL's packing of it, and what only the data decide (padding, trained tokens).
No torch."""

from __future__ import annotations

from dataclasses import dataclass

from estimator.core.problems import Problem
from estimator.recipe.recipe import Recipe

FLAT_PACKING = ("bfd", "bfd_split")
"""Strategies of packing that lay a batch out as one row (trl/trainer/sft_trainer.py, `self.padding_free`)."""


@dataclass(frozen=True)
class Batches:
    """What the data decide about memory. Raises `Problem("recipe.range")`.

    `trained_share`: tokens whose label is not -100, of all tokens of a batch with its padding; TRL's fused head runs
    over these alone. `padded`: rows of one batch differ in length, so that attention gets a mask.
    """

    trained_share: float = 1.0
    padded: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.trained_share <= 1:
            raise Problem("recipe.range", field="trained_share", value=self.trained_share, allowed="above 0, at most 1")

    def pads(self, recipe: Recipe) -> bool:
        """A batch is padded to its longest row; a single row, and rows laid out as one, are not."""
        return self.padded and recipe.per_device_train_batch_size > 1 and not is_flat(recipe)

    def trained_tokens(self, recipe: Recipe) -> int:
        """Tokens that the fused head sees; the first of a row has no prediction."""
        rows, length = shape(recipe)
        return max(1, round(trained_tokens(rows, length, self.trained_share)))


def trained_tokens(rows: float, length: float, share: float) -> float:
    return min(share * rows * length, rows * (length - 1))


def is_flat(recipe: Recipe) -> bool:
    """Whether packed rows reach the model as one, told apart by their positions."""
    return recipe.packing and recipe.packing_strategy in FLAT_PACKING


def eval_shape(recipe: Recipe) -> tuple[int, int]:
    """The same of an evaluation."""
    rows, length = recipe.eval_batch_size, recipe.max_length
    return (1, rows * length) if is_flat(recipe) else (rows, length)


def shape(recipe: Recipe) -> tuple[int, int]:
    """Rows and tokens a row of a full batch, as the model sees it."""
    rows, length = recipe.per_device_train_batch_size, recipe.max_length
    return (1, rows * length) if is_flat(recipe) else (rows, length)
