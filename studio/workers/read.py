"""The reading worker: `python -m studio.workers.read`. Files of rows into the store, and new versions of what is
stored. It imports nothing heavy, so that a file need not wait for the libraries that tokenize, nor a look at other rows
for a file.

Methods: `ingest` (streams progress, answers with the stored dataset), `offers` (what a dataset of a hub may be chosen
of), `columns` (the first rows of files), `row`, `look` (what cleaning would do), `card` (the report card); `clean`,
`revise`, `split` and `mix`, which make new datasets of stored ones and tell `{"phase", "share", ...}` on the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets import sources, versions
from studio.datasets.cleaning import run as cleaning
from studio.datasets.cleaning.card import as_markdown, card_of
from studio.datasets.cleaning.record import Choice, Tokens
from studio.datasets.cleaning.steps import defaults
from studio.datasets.forms import PLACE
from studio.datasets.hub.bring import bring
from studio.datasets.hub.given import CHOICES
from studio.datasets.hub.offers import Token, offered
from studio.datasets.hub.reference import wanted
from studio.datasets.ingest import ingest as ingest_file
from studio.datasets.looking import look as look_at_columns
from studio.datasets.revising import revise as revise_rows
from studio.datasets.store import DatasetInfo, DatasetStore, as_json
from studio.protocol.serve import Request, serve
from studio.space import Space

TELL_SECONDS = 0.25


def ingest(params: dict[str, Any], request: Request) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """`paths` (each with the name that its user knows it by), or a `path` and `name`, or a dataset of a hub: `hub_id`,
    with `hub`, `config`, `split`, `revision`; `entry` of a description; `eval_share` and `test_share` (0 to 0.5),
    `stratify`, `seed`; `shape` and `mapping` where the user says what the rows are; `parent` (an id) of which it is a
    new version. `login`: this machine's may be used. Reads and stores; how long the rows are is `preview`'s to say."""
    space, store = Space.default(), _store()
    token: Token = None if params.get("login") else False

    def stop() -> None:
        if request.cancelled:
            raise Problem("dataset.cancelled", file=str(params.get("hub_id"))[:120])

    about: dict[str, Any] = {"fetch": lambda reference, end: bring(space.cache, reference, token, end)}
    about |= {key: params[key] for key in ("shape", "mapping", "test_share", "stratify") if key in params}
    name = params.get("name")
    if "hub_id" in params:
        wish = wanted(params["hub_id"], **{key: params.get(key) for key in CHOICES})
        brought = yield from bring(space.cache, wish, token, stop)
        files: Any = brought.given
        name, about = name or brought.name, about | {"origin": brought.origin, "left": brought.left}
    elif "paths" in params:
        files = [(Path(path), called) for path, called in params["paths"]]
    else:
        files = Path(params["path"])
    result = yield from ingest_file(
        store,
        files,
        name,
        eval_share=params.get("eval_share", 0.1),
        seed=params.get("seed", 42),
        entry=params.get("entry") or None,
        parent=store.get(params["parent"]) if params.get("parent") else None,
        cancelled=lambda: request.cancelled,
        **about,
    )
    if "hub_id" in params:
        sources.keep(result, [(one.path, one.name) for one in files])
    return as_json(result)


def offers(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`hub_id`, `hub`, `revision`, `login`: `{"id", "configs": {name: [split]}, "default"}`."""
    wish = wanted(params["hub_id"], params.get("hub"), revision=params.get("revision"))
    found = offered(wish, None if params.get("login") else False)
    configs = {name: list(config.splits) for name, config in found.configs.items()}
    chosen = {"config": wish.config, "split": "+".join(wish.splits)}
    return {"id": wish.shown, "configs": configs, "default": found.default, **chosen}


def columns(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`paths`, `shape`, `mapping`: see `looking.look`."""
    paths = [(Path(path), name) for path, name in params["paths"]]
    root = Space.default().datasets
    return look_at_columns(paths, root, params.get("shape"), params.get("mapping"), lambda: request.cancelled)


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


def row(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`dataset_id` and `place`: that row, its content apart from where it stands."""
    rows = _store().get(params["dataset_id"]).rows()
    at = params["place"]
    if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < len(rows):
        raise Problem("dataset.no_row", field="row", value=str(at)[:40], most=len(rows))
    found = rows[at]
    return {"row": found["row"], "content": {key: value for key, value in found.items() if key not in PLACE}}


def revise(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`dataset_id`, and `edited` (pairs of a place and a row), `removed` (places), `added` (rows)."""
    return revised(_store().get(params["dataset_id"]), params, request)


def revised(info: DatasetInfo, params: dict[str, Any], request: Request) -> dict[str, Any]:
    edited = {at: written for at, written in params.get("edited", ())}
    stop = _stopping(request, info.name, info.kept)
    return as_json(revise_rows(_store(), info.id, edited, params.get("removed", ()), params.get("added", ()), stop))


def split(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`dataset_id`, `eval_share`, `test_share`, `seed`, `stratify`."""
    info = _store().get(params["dataset_id"])
    names = ("eval_share", "test_share", "seed", "stratify")
    stop = _stopping(request, info.name, info.kept)
    return as_json(versions.resplit(_store(), info.id, stop=stop, **{name: params[name] for name in names}))


def mix(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`parts` (pairs of an id and a weight), `name`, `seed`."""
    store, parts = _store(), [(id, weight) for id, weight in params["parts"]]
    stop = _stopping(request, params["name"], sum(versions.rows_of_mix(store, parts).values()))
    return as_json(versions.mix(store, parts, params["name"], params["seed"], stop))


def card(params: dict[str, Any], request: Request) -> dict[str, Any]:
    """`dataset_id`, `lang`: its report card as `markdown`."""
    store = _store()
    info = store.get(params["dataset_id"])
    made = card_of(store, info.id, _stop(info.name, request), request.tell)
    return {"markdown": as_markdown(params.get("lang", "en"), made)}


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


def _stopping(request: Request, file: str, of: int) -> Callable[[], None]:
    """Called at each row: tells how far that is, and raises where nobody waits any longer."""
    done, told = 0, time.monotonic()

    def stop() -> None:
        nonlocal done, told
        if request.cancelled:
            raise Problem("dataset.cancelled", file=file)
        done += 1
        if not done % 100 and time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            request.tell({"phase": "revising", "done": min(done, of), "of": of, "share": min(1.0, done / max(1, of))})

    return stop


HANDLERS = {
    "ingest": ingest, "offers": offers, "columns": columns, "look": look, "clean": clean, "row": row,
    "revise": revise, "split": split, "mix": mix, "card": card,
}  # fmt: skip

if __name__ == "__main__":
    serve(HANDLERS)
