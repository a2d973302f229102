"""The data worker: `python -m studio.workers.data`. Reads what people bring and shows it as the training will see it.

Methods: `ingest` (streams progress, answers with the stored dataset) and `preview` (rows as tokens, lengths, counts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.recipe.recipe import FIELDS, Recipe
from studio import paths
from studio.datasets.draft import Draft
from studio.datasets.ingest import ingest as ingest_file
from studio.datasets.store import DatasetInfo, DatasetStore, as_json
from studio.workers import preview as previews
from studio.workers import rendering
from studio.workers.bases import open_tokenizer
from studio.workers.serve import Request, serve

ROWS_AT_ONCE = 50
KEPT_MEASURES = 16
_measured: dict[tuple[str, Any, bool], previews.Measured] = {}
"""By dataset, tokenizer and what is trained; the newest."""


def ingest(params: dict[str, Any], request: Request) -> Iterator[dict[str, Any]]:
    """`path`, `name`, `eval_share` (0 to 0.5), `seed`; with `model`, `max_length` and `assistant_only_loss` a file whose
    rows are all too long is refused."""
    result = yield from ingest_file(
        DatasetStore(paths.datasets(), paths.trash()),
        Path(params["path"]),
        params.get("name"),
        eval_share=params.get("eval_share", 0.1),
        seed=params.get("seed", 42),
        check=_length_check(params, lambda: request.cancelled) if params.get("model") else None,
        cancelled=lambda: request.cancelled,
    )
    return as_json(result)


def _length_check(params: dict[str, Any], cancelled: Callable[[], bool]) -> Any:
    """Refuses a dataset of which not one row fits; reads no further than the first that does. Stops where `draft` is stopped."""
    recipe = _recipe(params)

    def check(draft: Draft, file: str) -> Iterator[int]:
        shortest = None
        try:
            tokenizer = _tokenizer(recipe.model)
            for counted, row in enumerate(draft.rows(), start=1):
                result = rendering.encode_row(tokenizer, row, recipe, cancelled)
                if getattr(result, "reason", None) != "too_long":
                    return
                shortest = min(shortest or result.params["length"], result.params["length"])
                yield counted
        except Problem as problem:
            if problem.code == "worker.cancelled":
                raise Problem("dataset.cancelled", file=file) from problem
            if problem.code.startswith("base."):
                return  # a base that cannot be opened, or whose template hangs, is no fault of the data; the preview says so
            raise
        raise Problem(
            "dataset.all_too_long",
            field="max_length", file=file, rows=draft.kept, shortest=shortest, limit=recipe.max_length,
        )  # fmt: skip

    return check


def preview(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`dataset_id`, `model`, `max_length`, `assistant_only_loss`, `offset`, `count` (rows); see `preview.view`."""
    recipe = _recipe(params)
    info = DatasetStore(paths.datasets(), paths.trash()).get(params["dataset_id"])
    tokenizer = _tokenizer(recipe.model)
    count = max(0, min(int(params.get("count", 5)), ROWS_AT_ONCE))
    offset = max(0, min(int(params.get("offset", 0)), info.kept - 1))
    measured = _measure(info, tokenizer, recipe, lambda: request is not None and request.cancelled)
    return previews.view(info, tokenizer, recipe, measured, offset, count)


def _measure(info: DatasetInfo, tokenizer: Any, recipe: Recipe, cancelled: Callable[[], bool]) -> previews.Measured:
    """Lengths do not depend on the limit: they are measured once, and moving the limit is instant."""
    key = (info.id, tokenizer, recipe.assistant_only_loss)
    if key not in _measured:
        whole = recipe.replace(max_length=FIELDS["max_length"].limits["high"])
        _measured[key] = previews.measure(info, tokenizer, whole, cancelled)
        while len(_measured) > KEPT_MEASURES:
            del _measured[next(iter(_measured))]
    return _measured[key]


def _recipe(params: dict[str, Any]) -> Recipe:
    """Only what decides how rows are encoded; the record checks it."""
    names = ("model", "max_length", "assistant_only_loss")
    return Recipe.from_dict({name: params[name] for name in names if name in params})


def _tokenizer(model: str) -> Any:
    folder = open_tokenizer(model)
    stamp = max(file.stat().st_mtime for pattern in ("*token*", "*.jinja") for file in folder.glob(pattern))
    return _load(folder, model, stamp)


@lru_cache(maxsize=4)
def _load(folder: Path, model: str, _stamp: float) -> Any:
    return rendering.load_tokenizer(folder, model)


def warm() -> None:
    """What takes seconds to import, before the first question."""
    import transformers  # noqa: F401
    from trl.trainer import sft_trainer  # noqa: F401


HANDLERS = {"ingest": ingest, "preview": preview}

if __name__ == "__main__":
    serve(HANDLERS, ready=warm)
