"""New datasets of stored ones: a version with other rows or splits, and a mix of several."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from estimator.core.problems import Problem
from studio.datasets.draft import Draft
from studio.datasets.ingest import check_share
from studio.datasets.rows import SPLITS, Row, place_key
from studio.datasets.store import DatasetInfo, DatasetStore
from studio.disk.storage import storage_problems

MOST_WEIGHT = 100
MOST_SEED = 2**31 - 1


class Dropped(NamedTuple):
    """A row that is left out: its number, the reason with the values of its sentence, and its file (-1 of one
    alone)."""

    row: int
    reason: str
    params: dict[str, Any]
    file: int = -1


def versions(store: DatasetStore, id: str) -> Sequence[DatasetInfo]:
    """All versions of a dataset, the newest first."""
    first = store.get(id).first
    return [info for info in store.list() if info.first == first]


def derive(
    store: DatasetStore,
    id: str,
    rows: Iterable[Row | Dropped],
    changes: Iterable[dict[str, Any]] = (),
    dropped: Iterable[Dropped] = (),
    changed: Collection[tuple[int, int]] = (),
    stop: Callable[[], None] = lambda: None,
    **splits: Any,
) -> DatasetInfo:
    """A new version of `id` from `rows`: they stay in the split they were in, and new ones are trained, unless
    `splits` says how to split anew (`eval_share`, `test_share`, `seed`, `stratify`).

    Rows left out of it stand among the rows or in `dropped`; `changes` is read when all rows have come. `changed`
    are those whose content is another, by file (-1 of one alone) and row; `stop` is called at each row and raises
    where it was cancelled. Raises `Problem`, after which there is no new version.
    """
    parent = store.get(id)
    known = None if splits else _SplitOf(parent)
    with store.draft() as draft, storage_problems(store.root):
        draft.stop = stop
        for row in rows:
            stop()
            if isinstance(row, Dropped):
                _drop(draft, row)
                continue
            draft.keep(row, _place(row) in changed, known.split(row) if known else None)
        for one in dropped:
            _drop(draft, Dropped(*one))
        if not draft.kept:
            raise Problem("dataset.nothing_left", file=parent.name)
        how = {"eval_share": parent.eval_share, "seed": parent.seed, "test_share": parent.test_share, **splits}
        folder = draft.finish(
            **({"eval_share": 0.0, "test_share": 0.0, "seed": parent.seed} if known else how),
            name=parent.name, shape=parent.shape, file_name=parent.file_name, encoding=parent.encoding,
            columns=parent.columns, parent=parent.id, series=parent.first, changes=list(changes),
            files=list(parent.files), origin=dict(parent.origin),
        )  # fmt: skip
    return store.get(folder.name)


def resplit(
    store: DatasetStore,
    id: str,
    eval_share: float,
    test_share: float,
    seed: int,
    stratify: bool = False,
    stop: Callable[[], None] = lambda: None,
) -> DatasetInfo:
    """A new version of `id` with the same rows, split anew. Raises `Problem` `dataset.eval_share`, `dataset.seed`."""
    for field, share in (("eval_share", eval_share), ("test_share", test_share)):
        check_share(field, share)
    _check_seed(seed)
    info = store.get(id)
    shares = {"eval_share": float(eval_share), "test_share": float(test_share)}
    how: dict[str, Any] = {**shares, "seed": seed, "stratify": bool(stratify)}
    return derive(store, id, info.rows(), changes=[{"step": "split", "options": how, "counts": {}}], stop=stop, **how)


def mix(
    store: DatasetStore,
    parts: Sequence[tuple[str, float]],
    name: str,
    seed: int = 42,
    stop: Callable[[], None] = lambda: None,
) -> DatasetInfo:
    """A new dataset of several. A weight is how often each training row is taken: 1 once, 0.5 every other one by
    chance, 2.5 twice and every other one a third time; rows held out stay so, once.

    Raises `Problem` `dataset.weight` for a weight that is not over 0 and at most `MOST_WEIGHT`, `dataset.seed`.
    """
    infos = _weighed(store, parts)
    _check_seed(seed)
    chance = random.Random(seed)
    with store.draft() as draft, storage_problems(store.root):
        draft.stop = stop
        for at, (info, (_, weight)) in enumerate(zip(infos, parts, strict=True)):
            for split in SPLITS:
                for row in info.rows(split):
                    for _ in range(_times(weight, chance) if split == "train" else 1):
                        stop()
                        draft.keep({**row, "file": at}, split=split)
        if not draft.kept:
            raise Problem("dataset.nothing_left", file=name)
        described = {"files": [info.name for info in infos], "file_name": name, "encoding": infos[0].encoding}
        counts = {info.name: weight for info, (_, weight) in zip(infos, parts, strict=True)}
        folder = draft.finish(
            **described, name=name, shape=infos[0].shape, eval_share=0.0, seed=seed,
            changes=[{"step": "mix", "options": counts, "counts": {info.name: info.kept for info in infos}}],
        )  # fmt: skip
    return store.get(folder.name)


def _drop(draft: Draft, one: Dropped) -> None:
    draft.drop(one.row, one.reason, **one.params, **({"file": one.file} if one.file >= 0 else {}))


def rows_of_mix(store: DatasetStore, parts: Sequence[tuple[str, float]]) -> dict[str, int]:
    """About how many rows of each split `mix` makes: exactly so many where the weights are whole. Raises as `mix`."""
    infos = _weighed(store, parts)
    weights = [weight for _, weight in parts]
    return {
        "train": round(sum(info.train_rows * weight for info, weight in zip(infos, weights, strict=True))),
        "eval": sum(info.eval_rows for info in infos),
        "test": sum(info.test_rows for info in infos),
    }


def _weighed(store: DatasetStore, parts: Sequence[tuple[str, float]]) -> list[DatasetInfo]:
    if not parts:
        raise Problem("dataset.nothing_to_mix")
    infos = [store.get(id) for id, _ in parts]
    for info, (_, weight) in zip(infos, parts, strict=True):
        if not isinstance(weight, (int, float)) or isinstance(weight, bool) or not 0 < weight <= MOST_WEIGHT:
            raise Problem("dataset.weight", file=info.name, value=str(weight)[:40], most=MOST_WEIGHT)
    return infos


def _check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MOST_SEED:
        raise Problem("dataset.seed", field="seed", value=str(seed)[:40], most=f"{MOST_SEED:,}")


def _place(row: Row) -> tuple[int, int]:
    return row.get("file", -1), row["row"]


def _times(weight: float, chance: random.Random) -> int:
    whole = int(weight)
    return whole + (chance.random() < weight - whole)


class _SplitOf:
    """The split of each row of a version, by its place in the files; rows mostly come in their order."""

    def __init__(self, info: DatasetInfo) -> None:
        keys, splits = info.rows().places()
        order = np.argsort(keys, kind="stable")
        self._keys, self._splits, self._at = keys[order], splits[order], -1

    def split(self, row: Row) -> str:
        key = place_key(*_place(row))
        self._at += 1
        if not self._is_at(key):
            self._at = int(np.searchsorted(self._keys, key))
        return SPLITS[self._splits.item(self._at)] if self._is_at(key) else SPLITS[0]

    def _is_at(self, key: int) -> bool:
        return self._at < len(self._keys) and bool(self._keys.item(self._at) == key)
