"""The data worker: `python -m studio.workers.data`. Reads what people bring and shows it as the training will see it.

Methods: `ingest` (streams progress, answers with the stored dataset), `preview` (rows as tokens, lengths, counts),
`characters` (the same without a tokenizer), `drop_found` (a new version without rows that were looked for), and
`look_by_tokens` and `clean_by_tokens` (the reading worker's `look` and `clean`, with a base's tokenizer for the step
that asks how long rows are).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from estimator.recipe.recipe import Recipe
from studio.datasets.cleaning.report import PLACES
from studio.datasets.cleaning.steps import defaults
from studio.datasets.searching import Query, query_of
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.models.bases import open_tokenizer
from studio.protocol.serve import Request, serve
from studio.rendering import preview as previews
from studio.rendering import rendering, untokenized
from studio.rendering.beside import beside
from studio.rendering.finding import find
from studio.rendering.lengths import RowLengths
from studio.space import Space
from studio.workers.read import card, clean, ingest, look, revised

ROWS_AT_ONCE = 50
KEPT_MEASURES = 16
_measured: dict[tuple[str, Any, bool], previews.Measured] = {}
"""By dataset, tokenizer and what is trained; the newest."""
Places = np.ndarray | None
_searched: dict[tuple[str, Query, str | None], np.ndarray] = {}
"""Places found, by dataset, query, and the base's settings where the query is about those."""


def preview(params: dict[str, Any], request: Request | None) -> dict[str, Any]:
    """`dataset_id`, `model`, `max_length`, `assistant_only_loss`, `excess_length_strategy`, `chat_template`, `offset`,
    `count` (rows), `find` (`searching.Query`: of such rows alone); see `preview.view`, and `beside` for `template`.
    Tells `{"phase": "tokenizing" or "searching", "done", "of"}` (rows) on the way."""
    recipe = _recipe(params)
    info = _dataset(params)
    tokenizer = _tokenizer(recipe.model, recipe.chat_template)
    measured = _measure(info, tokenizer, recipe, request or Request(0))
    places = _found(info, params, request or Request(0), recipe, measured)
    where = _page(info, params, places)
    seen = previews.view(info, tokenizer, recipe, measured, *where)
    template = beside(info, tokenizer, _tokenizer(recipe.model, "own"), recipe, previews.page(info, *where))
    return seen | {"template": template} | _dropped(info, params)


def characters(params: dict[str, Any], request: Request | None) -> dict[str, Any]:
    """`dataset_id`, `offset`, `count`, `find`: the rows as they were stored, for where the base's tokenizer is not at
    hand."""
    info = _dataset(params)
    places = _found(info, params, request or Request(0))
    return untokenized.view(info, *_page(info, params, places)) | _dropped(info, params)


def look_by_tokens(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`look` of the reading worker, with `model`, `max_length`, `chat_template` beside: without `steps` that of length
    looks too."""
    recipe = _recipe(params)
    return look(_with_steps(params, recipe), request, _lengths(recipe, request))


def clean_by_tokens(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`clean` of the reading worker, with `model` beside."""
    recipe = _recipe(params)
    return clean(_with_steps(params, recipe), request, _lengths(recipe, request))


def _with_steps(params: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The step of length has the recipe's `max_length` unless told another."""
    steps = params.get("steps")
    steps = [{"step": one.step} for one in defaults(with_tokens=True)] if steps is None else steps
    limit = {"max_length": recipe.max_length}
    told = [one | {"options": limit | one.get("options", {})} if one["step"] == "too_long" else one for one in steps]
    return {**params, "steps": told}


def _lengths(recipe: Recipe, request: Request) -> RowLengths:
    tokenizer = _tokenizer(recipe.model, recipe.chat_template)
    return RowLengths(tokenizer, recipe, lambda: request.cancelled)


def drop_found(params: dict[str, Any], request: Request | None) -> dict[str, Any]:
    """As `preview`: a new version without the rows found; answers with it."""
    request, recipe = request or Request(0), _recipe(params)
    info, query = _dataset(params), query_of(params.get("find"))
    tokenizer = _tokenizer(recipe.model, recipe.chat_template) if query.needs_base else None
    measured = _measure(info, tokenizer, recipe, request) if query.needs_base else None
    places = _found(info, params, request, recipe, measured)
    return revised(info, {"removed": [] if places is None else places.tolist()}, request)


def _dataset(params: dict[str, Any]) -> DatasetInfo:
    space = Space.default()
    return DatasetStore(space.datasets, space.trash).get(params["dataset_id"])


def _page(info: DatasetInfo, params: dict[str, Any], places: Places) -> tuple[int, int, Places]:
    """Which rows: as many as there are."""
    count = max(0, min(int(params.get("count", 5)), ROWS_AT_ONCE))
    total = info.dropped if _is_dropped(params) else info.kept if places is None else len(places)
    return max(0, min(int(params.get("offset", 0)), total - 1)), count, places


def _is_dropped(params: dict[str, Any]) -> bool:
    return query_of(params.get("find")).problem == "dropped"


def _found(
    info: DatasetInfo,
    params: dict[str, Any],
    request: Request,
    recipe: Recipe | None = None,
    measured: previews.Measured | None = None,
) -> Places:
    """The places that are looked for; None for all rows. The last searches are kept: a page of them is at hand."""
    query = query_of(params.get("find"))
    if not query:
        return None
    if query.problem == "dropped":
        return np.zeros(0, np.int64)
    on_base = repr(recipe.to_dict()) if recipe and query.needs_base else None
    key = (info.id, query, on_base)
    if key not in _searched:
        _searched[key] = find(info, query, recipe, measured, lambda: request.cancelled, request.tell)
        while len(_searched) > KEPT_MEASURES:
            del _searched[next(iter(_searched))]
    return _searched[key]


def _dropped(info: DatasetInfo, params: dict[str, Any]) -> dict[str, Any]:
    """Whether rows were looked for; a page of those left out of the file, of which nothing but the reason is kept."""
    if not _is_dropped(params):
        query = query_of(params.get("find"))
        return {"found": bool(query), "first": PLACES if query.step else None}
    offset, count, _ = _page(info, params, None)
    return {"found": True, "left_out": info.dropped_rows(count, offset), "offset": offset, "total": info.dropped}


def _measure(info: DatasetInfo, tokenizer: Any, recipe: Recipe, request: Request) -> previews.Measured:
    """Lengths do not depend on the limit: they are measured once, and moving the limit is instant."""
    key = (info.id, tokenizer, recipe.assistant_only_loss)
    if key not in _measured:
        _measured[key] = previews.measure(info, tokenizer, recipe, lambda: request.cancelled, request.tell)
        while len(_measured) > KEPT_MEASURES:
            del _measured[next(iter(_measured))]
    return _measured[key]


def _recipe(params: dict[str, Any]) -> Recipe:
    """Only what decides how rows are encoded; the record checks it."""
    names = ("model", "max_length", "assistant_only_loss", "excess_length_strategy", "chat_template")
    return Recipe.from_dict({name: params[name] for name in names if name in params})


def _tokenizer(model: str, chat_template: str) -> Any:
    folder = open_tokenizer(Space.default(), model)
    stamp = max(file.stat().st_mtime for pattern in ("*token*", "*.jinja") for file in folder.glob(pattern))
    return _load(folder, model, chat_template, stamp)


@lru_cache(maxsize=6)
def _load(folder: Path, model: str, chat_template: str, _stamp: float) -> Any:
    return rendering.load_tokenizer(folder, model, chat_template=chat_template)


def warm() -> None:
    """What takes seconds to import, before the first question."""
    import transformers  # noqa: F401
    from trl.trainer import sft_trainer  # noqa: F401


HANDLERS = {
    "ingest": ingest,
    "preview": preview,
    "characters": characters,
    "drop_found": drop_found,
    "look": look,
    "clean": clean,
    "card": card,
    "look_by_tokens": look_by_tokens,
    "clean_by_tokens": clean_by_tokens,
}

if __name__ == "__main__":
    serve(HANDLERS, ready=warm)
