"""The reading worker: `python -m studio.workers.read`. Files of rows into the store. It imports nothing heavy, so that
a file need not wait for the libraries that tokenize, nor a look at other rows for a file.

Methods: `ingest` (streams progress, answers with the stored dataset), `offers` (what a dataset of a hub may be chosen
of), `look` (what cleaning would do) and `clean` (does it, answers with the new version); these two tell
`{"phase", "share", "kept", "dropped"}` on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.cleaning import run as cleaning
from studio.datasets.cleaning.record import Choice, Tokens
from studio.datasets.cleaning.steps import defaults
from studio.datasets.hub.bring import bring
from studio.datasets.hub.given import CHOICES
from studio.datasets.hub.offers import offered
from studio.datasets.hub.reference import wanted
from studio.datasets.ingest import ingest as ingest_file
from studio.datasets.store import DatasetStore, as_json
from studio.protocol.serve import Request, serve
from studio.space import Space


def ingest(params: dict[str, Any], request: Request) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """`paths` (each with the name that its user knows it by), or a `path` and `name`, or a dataset of a hub: `hub_id`,
    with `hub`, `config`, `split`, `revision`; `entry` of a description; `eval_share` (0 to 0.5), `seed`. `login`: this
    machine's may be used. Reads and stores; how long the rows are is `preview`'s to say."""
    space = Space.default()
    token = None if params.get("login") else False

    def stop() -> None:
        if request.cancelled:
            raise Problem("dataset.cancelled", file=str(params.get("hub_id"))[:120])

    about: dict[str, Any] = {"fetch": lambda reference, end: bring(space.cache, reference, token, end)}
    name = params.get("name")
    if "hub_id" in params:
        wish = wanted(params["hub_id"], **{key: params.get(key) for key in CHOICES})
        brought = yield from bring(space.cache, wish, token, stop)
        files: Any = brought.given
        name, about = name or brought.name, {"origin": brought.origin, "left": brought.left}
    elif "paths" in params:
        files = [(Path(path), called) for path, called in params["paths"]]
    else:
        files = Path(params["path"])
    result = yield from ingest_file(
        _store(),
        files,
        name,
        eval_share=params.get("eval_share", 0.1),
        seed=params.get("seed", 42),
        entry=params.get("entry") or None,
        cancelled=lambda: request.cancelled,
        **about,
    )
    return as_json(result)


def offers(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`hub_id`, `hub`, `revision`, `login`: `{"id", "configs": {name: [split]}, "default"}`."""
    wish = wanted(params["hub_id"], params.get("hub"), revision=params.get("revision"))
    found = offered(wish, None if params.get("login") else False)
    configs = {name: list(config.splits) for name, config in found.configs.items()}
    chosen = {"config": wish.config, "split": "+".join(wish.splits)}
    return {"id": wish.shown, "configs": configs, "default": found.default, **chosen}


def look(params: dict[str, Any], request: Request, tokens: Tokens | None = None) -> dict[str, Any]:
    """`dataset_id`, `steps` (`[{"step", "action"?, "options"?}]`; without, all that are on): `Report.as_json`."""
    info = _store().get(params["dataset_id"])
    return cleaning.look(
        info.rows(), _choices(params), _stop(info.name, request), request.tell,
        files=cleaning.files_of(info), tokens=tokens,
    ).as_json()  # fmt: skip


def clean(params: dict[str, Any], request: Request, tokens: Tokens | None = None) -> dict[str, Any]:
    """`dataset_id` and `steps` as of `look`: the new version, which stands beside the old one."""
    store = _store()
    info = store.get(params["dataset_id"])
    made = cleaning.apply(
        store, info.id, _choices(params), _stop(info.name, request), request.tell, tokens=tokens
    )  # fmt: skip
    return as_json(made)


def _store() -> DatasetStore:
    space = Space.default()
    return DatasetStore(space.datasets, space.trash)


def _choices(params: dict[str, Any]) -> list[Choice]:
    steps = params.get("steps")
    return defaults() if steps is None else [Choice(**one) for one in steps]


def _stop(file: str, request: Request) -> Callable[[], None]:
    def stop() -> None:
        if request.cancelled:
            raise Problem("dataset.cleaning_cancelled", file=file)

    return stop


HANDLERS = {"ingest": ingest, "offers": offers, "look": look, "clean": clean}

if __name__ == "__main__":
    serve(HANDLERS)
