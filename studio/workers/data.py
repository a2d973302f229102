"""The data worker: `python -m studio.workers.data`. Reads what people bring and shows it as the training will see it.

Methods: `ingest` (streams progress, answers with the stored dataset), `preview` (rows as tokens, lengths, counts),
`characters` (the same without a tokenizer), and `look_by_tokens` and `clean_by_tokens` (the reading worker's `look` and
`clean`, with a base's tokenizer for the step that asks how long rows are).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from estimator.recipe.recipe import Recipe
from studio.datasets.cleaning.steps import defaults
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.models.bases import open_tokenizer
from studio.protocol.serve import Request, serve
from studio.rendering import preview as previews
from studio.rendering import rendering, untokenized
from studio.rendering.beside import beside
from studio.rendering.lengths import RowLengths
from studio.space import Space
from studio.workers.read import clean, ingest, look

ROWS_AT_ONCE = 50
KEPT_MEASURES = 16
_measured: dict[tuple[str, Any, bool], previews.Measured] = {}
"""By dataset, tokenizer and what is trained; the newest."""


def preview(params: dict[str, Any], request: Request | None) -> dict[str, Any]:
    """`dataset_id`, `model`, `max_length`, `assistant_only_loss`, `excess_length_strategy`, `chat_template`, `offset`,
    `count` (rows); see `preview.view`, and `beside` for `template`. Tells `{"phase": "tokenizing", "done", "of"}`
    (rows) on the way."""
    recipe = _recipe(params)
    info, offset, count = _asked(params)
    tokenizer = _tokenizer(recipe.model, recipe.chat_template)
    measured = _measure(info, tokenizer, recipe, request or Request(0))
    seen = previews.view(info, tokenizer, recipe, measured, offset, count)
    return seen | {"template": beside(info, tokenizer, _tokenizer(recipe.model, "own"), recipe, offset)}


def characters(params: dict[str, Any], request: Request | None) -> dict[str, Any]:
    """`dataset_id`, `offset`, `count`: the rows as they were stored, for where the base's tokenizer is not at hand."""
    return untokenized.view(*_asked(params))


def look_by_tokens(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`look` of the reading worker, with `model` beside: without `steps` that of length looks too."""
    return look(_with_steps(params), request, _lengths(params, request))


def clean_by_tokens(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`clean` of the reading worker, with `model` beside."""
    return clean(_with_steps(params), request, _lengths(params, request))


def _with_steps(params: dict[str, Any]) -> dict[str, Any]:
    if params.get("steps") is not None:
        return params
    return {**params, "steps": [{"step": one.step} for one in defaults(with_tokens=True)]}


def _lengths(params: dict[str, Any], request: Request) -> RowLengths:
    recipe = _recipe(params)
    return RowLengths(_tokenizer(recipe.model), recipe, lambda: request.cancelled)


def _asked(params: dict[str, Any]) -> tuple[DatasetInfo, int, int]:
    """The dataset, and which of its rows: as many as there are."""
    space = Space.default()
    info = DatasetStore(space.datasets, space.trash).get(params["dataset_id"])
    count = max(0, min(int(params.get("count", 5)), ROWS_AT_ONCE))
    return info, max(0, min(int(params.get("offset", 0)), info.kept - 1)), count


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
    "look": look,
    "clean": clean,
    "look_by_tokens": look_by_tokens,
    "clean_by_tokens": clean_by_tokens,
}

if __name__ == "__main__":
    serve(HANDLERS, ready=warm)
