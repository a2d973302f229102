"""Rows of an embedding that train alone (`trainable_token_indices`): PEFT's TrainableTokens, without torch.

Restates the second half of `peft.utils.other.set_additional_trainable_modules` (PEFT 0.21). A head that shares its
weight with the embedding follows the embedding's rows and adds none.
"""

from __future__ import annotations

from estimator.core.problems import Problem
from estimator.model.inventory import Inventory

FIELD = "trainable_token_indices"


def token_rows(
    inventory: Inventory, wanted: tuple[tuple[str | None, tuple[int, ...]], ...], adapted: set[str], saved: set[str]
) -> tuple[tuple[str, tuple[int, int]], ...]:
    """(name, shape) of the trained rows, one tensor an embedding; no name means the input embedding.

    Raises `Problem` for a name that is no embedding, a row outside it, or an embedding that trains already. PEFT would
    take any linear layer and several names for one tensor; rows of those are no tokens, and two names are refused.
    """
    layers = {name or inventory.input_embedding or "embed_tokens": rows for name, rows in wanted}
    found: dict[str, tuple[int, ...]] = {}
    for layer, rows in layers.items():
        names = [name for name in inventory.all_names if name.endswith(layer)]
        if not names or any(not _is_embedding(inventory, name) for name in names):
            raise Problem("estimator.no_match", field=FIELD, value=layer, allowed=", ".join(_embeddings(inventory)))
        if twice := next((name for name in names if name in found), None):
            raise _clash(layer, twice)
        found |= dict.fromkeys(names, rows)
    source = found.get(inventory.input_embedding or "")
    followers = set(inventory.tied_to_input) if source is not None else set()
    if any(found.get(name, source) != source for name in followers):
        followers = set()  # rows of their own: PEFT then ties none
    for name in sorted(followers.union(found)):
        if name in adapted or name in saved:
            raise _clash(name, "target_modules" if name in adapted else "modules_to_save")
    made = {name: rows for name, rows in found.items() if name not in followers}
    return tuple(
        (f"{name}.token_adapter.trainable_tokens_delta", _shape(inventory, name, rows)) for name, rows in made.items()
    )


def _shape(inventory: Inventory, name: str, rows: tuple[int, ...]) -> tuple[int, int]:
    height, width = inventory.by_name[name].shape("weight")
    if max(rows) >= height:
        raise Problem("recipe.range", field=FIELD, value=f"{name} = {max(rows)}", allowed=f"0 to {height - 1:,}")
    return len(rows), width


def _is_embedding(inventory: Inventory, name: str) -> bool:
    module = inventory.by_name.get(name)
    if module is None or module.parameter("weight") is None:
        return False
    return module.kind == "Embedding" or name == inventory.output_embedding and module.kind in ("Linear", "Linear+")


def _embeddings(inventory: Inventory) -> list[str]:
    return [name for name in inventory.by_name if _is_embedding(inventory, name)]


def _clash(name: str, other: str) -> Problem:
    return Problem("recipe.conflict", field=FIELD, value=name, other=other, allowed="Train each embedding one way only")
