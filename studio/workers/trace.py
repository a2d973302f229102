"""The trace worker: counts models that are no preset, so that the page can estimate them without torch.

Started when a page asks for a folder it has not seen, and ends when the page's process closes its stdin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.workers.serve import Request, serve


def inventory(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`{"model": folder or hub id, "cache": folder}` -> `estimator.Inventory` as JSON, kept in the cache folder too.

    Weights are neither read nor needed. Of a hub id the page has fetched config and headers into the same cache, so
    the hub is not asked again. Raises `Problem` (`model.*`, `hub.*`).
    """
    from estimator.sources import open_model

    return open_model(params["model"], Path(params["cache"]), token=False).inventory.to_json()


def check_base(params: dict[str, Any], request: Request) -> None:
    """`{"model": name}`: refuse a base that could not be loaded (`base.*`), before anything starts."""
    from studio.workers.bases import open_base

    open_base(params["model"])


HANDLERS = {"inventory": inventory, "check_base": check_base}


def _warm() -> None:
    """Torch, transformers and peft take seconds to load; do it before the first request."""
    import peft.utils.transformers_weight_conversion  # noqa: F401

    import estimator.trace  # noqa: F401


if __name__ == "__main__":
    serve(HANDLERS, _warm)
