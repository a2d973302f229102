"""Lengths of rows and texts in tokens, for the cleaning of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from estimator.recipe.recipe import Recipe
from studio.rendering.row_tokens import Dropped, encode_whole


class RowLengths:
    """As `studio.datasets.cleaning.record.Tokens` asks for them: of a row those that would be trained or read, of a
    text its own."""

    def __init__(self, tokenizer: Any, recipe: Recipe, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._tokenizer, self._recipe, self._cancelled = tokenizer, recipe, cancelled

    def of_row(self, row: dict[str, Any]) -> int:
        """0 for a row that is not trained for another reason. Raises `Problem` `worker.cancelled`."""
        encoded = encode_whole(self._tokenizer, row, self._recipe, self._cancelled)
        if isinstance(encoded, Dropped):
            return int(encoded.params.get("length", 0))
        return len(encoded.input_ids)

    def of_text(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
