"""Reserved memory of recipes that were traced and replayed on this machine: found again without torch, by structure and
sizes."""

from __future__ import annotations

from typing import Any

from estimator.law.question import Question
from estimator.shelf import laws
from estimator.shelf.shelf import Shelf


def find(question: Question, versions: dict[str, str]) -> int | None:
    """Peak reserved bytes of the replay of this very recipe, if one was kept. `versions`: those of its law."""
    kept = REPLAYS.kept(question.model, _key(question, versions), question.cache_dir)
    return kept.get(_sizes(question)) if kept else None


def keep(reserved_bytes: int, question: Question, versions: dict[str, str]) -> None:
    """Beside the other sizes of its structure."""
    model, key, cache_dir = question.model, _key(question, versions), question.cache_dir
    kept = REPLAYS.kept(model, key, cache_dir) or {}
    REPLAYS.keep(kept | {_sizes(question): reserved_bytes}, model, key, cache_dir)


def _sizes(question: Question) -> str:
    """What a law has as variables or adds itself, but a replay does not."""
    recipe = question.recipe
    rank, clips = recipe.r if recipe.has_adapters else 0, () if recipe.max_grad_norm else ("unclipped",)
    sizes = (
        recipe.per_device_train_batch_size,
        recipe.max_length,
        rank,
        recipe.optim,
        question.platform.workspace_bytes,
        question.batches.trained_share,
        *clips,
    )
    return ",".join(map(str, sizes))


def _key(question: Question, versions: dict[str, str]) -> tuple[Any, ...]:
    """Of the structure, and of the libraries that its law was traced with."""
    return (laws.key_of(question), *versions.items())


def _read(data: Any) -> dict[str, int]:
    return {name: value for name, value in data.items() if isinstance(value, int)}


REPLAYS = Shelf("replays", _read, dict)
"""Reserved bytes by the sizes of a recipe, of one structure."""
