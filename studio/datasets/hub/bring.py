"""The files of a hub's dataset on their way to this machine: whole or to be gone on with, cancelled at any moment.

They lie in the cache, a folder a commit, for a day: what was checked first is not fetched again to be built. What comes
with this machine's login is kept apart from what anyone may see.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from estimator.core.problems import Problem
from estimator.hub.hubs import Entry
from studio.datasets.files.opening import Given, split_of
from studio.datasets.hub.layout import Config
from studio.datasets.hub.offers import Offer, Token, offered
from studio.datasets.hub.reference import Reference
from studio.datasets.source import check_room
from studio.datasets.text import safe_name
from studio.disk.storage import storage_problem, storage_problems
from studio.fetching import fetch_file, part_of

KEPT_SECONDS = 24 * 3600.0
LOOK_SECONDS = 0.2
_USED = ".used"


@dataclass(frozen=True)
class Brought:
    """What was fetched, as `ingest` takes it."""

    given: list[Given]
    name: str
    origin: dict[str, str]
    """Where it is from: `hub`, `id`, `commit`, `revision`?, `config`, `split`."""
    left: list[Problem] = field(default_factory=list)
    """What of the repository was not taken, or not honoured."""


def bring(
    cache: Path, reference: Reference, token: Token = None, stop: Callable[[], None] = lambda: None
) -> Generator[dict[str, Any], None, Brought]:
    """Fetch the wanted splits of a dataset. Yields progress as `ingest` does, with the phases `asking` and `fetching`.
    Raises `Problem`: `dataset.hub_*`, `dataset.no_room`, `storage.*`, and what `stop` raises; what has come by then is
    kept, and the next attempt goes on with it."""
    yield _event("asking", None, reference.shown)
    offer = yield from _apart(lambda: offered(reference, token), stop, "asking", reference.shown)
    name, config, splits = offer.chosen()
    files = _roles(config, splits)
    folder = _folder(cache, offer, token)
    with storage_problems(cache):
        _sweep(folder.parents[3])
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, stop):
            yield from _fetched(offer, folder, list(files), token, stop)
            (folder / _USED).touch()
    given = [Given(folder / file, Path(file).name, role, _place(file)) for file, role in files.items()]
    title = reference.repo.rpartition("/")[2] + ("" if name == "default" else f" ({name})")
    return Brought(given, title, _origin(offer, name, splits), _left(offer, name, config, splits))


def _place(file: str) -> str:
    """The folders of a file as they can be shown anywhere."""
    return "/".join(safe_name(part) for part in PurePosixPath(file).parts[:-1])


def role_of(split: str) -> str:
    """What a split is for, by its name: `train_sft` trains, `dev` validates; of another name it trains."""
    return split_of(split) or "train"


def _roles(config: Config, splits: list[str]) -> dict[str, str]:
    """Each file once, with what it is for. A file that two splits share is the first one's: read twice, its rows would
    be trained and judged by."""
    files: dict[str, str] = {}
    for split in splits:
        for file in config.splits[split]:
            files.setdefault(file, role_of(split))
    return files


def _origin(offer: Offer, config: str, splits: list[str]) -> dict[str, str]:
    reference = offer.reference
    said = {"hub": reference.hub, "id": reference.repo, "commit": offer.listing.commit, "config": config}
    return said | {"split": "+".join(splits)} | ({"revision": reference.revision} if reference.revision else {})


def _left(offer: Offer, name: str, config: Config, splits: list[str]) -> list[Problem]:
    shown = offer.reference.shown
    left = [Problem("dataset.hub_unread_key", file=shown, config=name, key=key, value=value)
            for key, value in config.unread.items()]  # fmt: skip
    left += [Problem("dataset.hub_absent", file=shown, config=name, value=pattern[:120]) for pattern in config.absent]
    if config.others:
        names = ", ".join(config.others[:3])
        left.append(Problem("dataset.hub_other_kinds", file=shown, count=len(config.others), found=names))
    counts = Counter(file for split in splits for file in config.splits[split])
    if twice := [file for file, count in counts.items() if count > 1]:
        left.append(Problem("dataset.hub_shared", file=shown, count=len(twice), found=", ".join(twice[:3])))
    if unchosen := [split for split in config.splits if split not in splits]:
        left.append(Problem("dataset.hub_other_splits", file=shown, found=", ".join(unchosen[:20])))
    if others := [one for one in offer.configs if one != name]:
        left.append(Problem("dataset.hub_other_configs", file=shown, count=len(others), found=", ".join(others[:10])))
    if offer.is_converted:
        left.append(Problem("dataset.hub_converted", file=shown))
    return left


def _folder(cache: Path, offer: Offer, token: Token) -> Path:
    reference = offer.reference
    whose = "public" if token is False else "own"
    repo = reference.repo.replace("/", "--")
    return cache / "datasets" / reference.hub / whose / repo / offer.listing.commit[:40]


def _sweep(root: Path) -> None:
    """Remove what nobody asked for within a day, parts of broken downloads too."""
    for folder in root.glob("*/*/*/*") if root.is_dir() else ():
        with contextlib.suppress(OSError):
            mark = folder / _USED
            if time.time() - (mark if mark.exists() else folder).stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, stop: Callable[[], None]) -> Iterator[None]:
    """Alone with the folder: another process that fetches the same is waited for, and then nothing is left to do."""
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    while True:
        try:
            lock.acquire(timeout=LOOK_SECONDS)
            break
        except Timeout:
            stop()
    try:
        yield
    finally:
        lock.release()


def _fetched(
    offer: Offer, folder: Path, files: list[str], token: Token, stop: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    known = {entry.path: entry for entry in offer.listing.entries}
    total = sum(known[file].size or 0 for file in files)
    there = sum(_bytes_there(folder / file) for file in files)
    check_room(folder, offer.reference.shown, max(0, total - there))
    done = 0
    for file in files:
        entry = known[file]
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        for came in _one(offer, entry, target, token, stop):
            share = (done + came) / total if total else None
            yield _event("fetching", share and min(1.0, share), file)
        done += entry.size or 0


def _bytes_there(target: Path) -> int:
    return next((one.stat().st_size for one in (target, part_of(target)) if one.exists()), 0)


def _one(offer: Offer, entry: Entry, target: Path, token: Token, stop: Callable[[], None]) -> Iterator[int]:
    """Yields the bytes that have come, a few times a second."""
    so_far = [0]
    ended = threading.Event()

    def came(count: int) -> None:
        so_far[0] = count
        if ended.is_set():
            raise InterruptedError("nobody waits for it")
        if entry.size is None:
            check_room(target.parent, offer.reference.shown, 0)

    reference, repository = offer.reference, offer.repository
    at = reference.revision or "master" if reference.hub == "modelscope" else offer.listing.commit

    def fetch() -> None:
        headers = repository.headers(token)
        fetch_file(repository.url(at, entry.path), target, entry.size, entry.sha256, headers, came)

    try:
        for _ in _beats(fetch, stop):
            yield so_far[0]
    except Exception as error:
        raise _interrupted(offer, target, error) from error
    finally:
        ended.set()


def _interrupted(offer: Offer, target: Path, error: Exception) -> Problem:
    """What huggingface_hub and its transport raise, as something to act on."""
    from huggingface_hub import errors

    said = {"file": offer.reference.shown, "hub": offer.repository.title}
    if isinstance(error, Problem):
        return error
    if isinstance(error, errors.GatedRepoError):
        return Problem("dataset.hub_gated", **said)
    if isinstance(error, (errors.RepositoryNotFoundError, errors.EntryNotFoundError)):
        return Problem("dataset.hub_missing", **said)
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403):
        return Problem("dataset.hub_private", **said)
    reason = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
    return storage_problem(error, target.parent) or Problem("dataset.hub_interrupted", **said, reason=reason[:160])


def _apart(work: Callable[[], Any], stop: Callable[[], None], phase: str, file: str) -> Generator[Any, None, Any]:
    """What `work` returns; a progress event at each beat."""
    beats = _beats(work, stop)
    while True:
        try:
            next(beats)
        except StopIteration as end:
            return end.value
        yield _event(phase, None, file)


def _beats(work: Callable[[], Any], stop: Callable[[], None]) -> Generator[None, None, Any]:
    """Do `work` in a thread, so that cancelling is heard while a server is silent; such a thread is left behind and
    ends with its connection. Returns or raises what it does."""
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:  # raised again where it is waited for
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            value, error = answers.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            stop()
            yield
            continue
        if error is not None:
            raise error
        return value


def _event(phase: str, share: float | None, file: str) -> dict[str, Any]:
    return {"phase": phase, "share": share, "read": 0.0, "kept": 0, "dropped": 0, "file": file}
