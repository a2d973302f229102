"""The trace worker: counts models that are no preset and traces structures that have no law, so that the page needs no
torch.

Started when a page asks for what it has not seen, and ends when the page's process closes its stdin.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from estimator.core.problems import Problem
from studio.protocol.serve import Request, serve
from studio.space import Space


def inventory(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`{"model": folder or hub id, "cache": folder}` -> `estimator.Inventory` as JSON, kept in the cache folder too.
    With `config`, the content of a config.json, that is counted and the model only its name.

    Weights are neither read nor needed. Of a hub id the page has fetched config and headers into the same cache, so
    the hub is not asked again. Raises `Problem` (`model.*`, `hub.*`).
    """
    from estimator.hub.sources import model_from_config, open_model

    if config := params.get("config"):
        return model_from_config(config, params["model"], Path(params["cache"])).inventory.to_json()
    return open_model(params["model"], Path(params["cache"]), token=False).inventory.to_json()


def law(params: dict[str, Any], request: Request) -> Iterator[dict[str, Any]]:
    """`{"model", "config", "recipe", "platform", "batches", "cache"}`: trace the laws of this structure's step and of
    its evaluation, and the reserved memory of this recipe, and keep those that are not there in the cache folder; the
    event {"law": "step"} when the first is there. Raises `Problem` (`law.*`, `model.*`) for the step's.
    """
    from estimator import estimate
    from estimator.hardware.platforms import Platform
    from estimator.hub.sources import model_from_config
    from estimator.law.question import Question
    from estimator.model.catalog import load_preset, models
    from estimator.recipe.batches import Batches
    from estimator.recipe.recipe import Recipe
    from estimator.shelf import laws

    cache, platform = Path(params["cache"]), params["platform"]
    model = (
        load_preset(params["model"])
        if params["model"] in models()
        else model_from_config(params["config"], params["model"], cache)
    )
    platform = Platform(platform["capability"], tuple(platform["torch"]), platform["has_flash"])
    recipe, batches = Recipe.from_dict(params["recipe"]), Batches(**params["batches"])
    question = Question(recipe, model, platform=platform, batches=batches, cache_dir=cache)
    try:
        if laws.find(question) is None:
            laws.derive(question)
    except Problem as problem:  # what the library said is for the log
        print(f"{problem.code}: {params['model']}: {problem.params.get('reason')}", file=sys.stderr, flush=True)
        raise
    yield {"law": "step"}
    with contextlib.suppress(Problem):  # the step's law bounds the evaluation, and its own range the reserved memory
        about_rows: dict[str, Any] = {"trained_share": batches.trained_share, "padded": batches.padded}
        estimate(recipe, model=model, platform=platform, derive=True, cache_dir=cache, **about_rows)


def check_base(params: dict[str, Any], request: Request) -> None:
    """`{"model": name}`: refuse a base that could not be loaded (`base.*`), before anything starts."""
    from studio.models.bases import open_base

    open_base(Space.default(), params["model"])


HANDLERS = {"inventory": inventory, "law": law, "check_base": check_base}


def _warm() -> None:
    """Torch, transformers and peft take seconds to load; do it before the first request."""
    import torch

    # bitsandbytes has kernels for the CPU compiled as they are called; nothing is called here, and the compiler alone
    # takes a quarter of all this.
    with mock.patch.object(torch, "compile", lambda function=None, **_: function or (lambda kernel: kernel)):
        import bitsandbytes  # noqa: F401

    import peft.utils.transformers_weight_conversion  # noqa: F401

    import estimator.trace.fit  # noqa: F401
    import estimator.trace.meta_model  # noqa: F401


if __name__ == "__main__":
    serve(HANDLERS, _warm)
