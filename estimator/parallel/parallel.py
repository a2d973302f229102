"""The device that holds most of a recipe: `estimator.parallel.data_parallel` says it for DDP and FSDP2,
`estimator.parallel.zero` for DeepSpeed, `estimator.parallel.model_parallel` for tensor and pipeline parallel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from estimator.hardware.cards import communicators
from estimator.parallel import data_parallel, model_parallel, zero
from estimator.parallel.plan import Sharded
from estimator.recipe.recipe import Recipe


def shard(recipe: Recipe, parts: Any, loop_name: str, device: str = "cuda") -> Sharded:
    """The device that holds most of `recipe` (`Parts` in `parts`, made for `on_device(recipe)`). Raises `Problem` where
    the model cannot be split as asked."""
    makers = {"ddp": data_parallel.ddp, "fsdp": data_parallel.fsdp, "tp": model_parallel.tp, "pp": model_parallel.pp}
    made = makers.get(recipe.distributed_type, zero.zero)(recipe, parts, loop_name, device)
    communicator = communicators()[recipe.distributed_type == "tp"]
    plan = replace(
        made.plan, gathered_bytes=max(made.added_bytes.values(), default=0), communicator_bytes=communicator.bytes
    )
    made = replace(made, plan=plan, workspace_bytes=parts.workspace_bytes, trained_share=parts.batches.trained_share)
    return replace(made, own_components=_own_stream(made, recipe)) if made.gathering_bytes else made


def _own_stream(made: Sharded, recipe: Recipe) -> dict[str, int]:
    added = {moment: size - made.gathering_added.get(moment, 0) for moment, size in made.added_bytes.items()}
    return replace(made, added_bytes=added).evaluate(recipe)[1]
