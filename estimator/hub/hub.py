"""A model on Hugging Face or ModelScope: its config.json and its safetensors headers, never weights, never code.

`fetch` asks for three things: the list of files, `config.json`, and of each weight file the 8 bytes and the header that
follow. It answers within `SECONDS`, or with a `Problem`; what it got is kept in the caller's folder and serves offline.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from estimator.core.problems import Problem
from estimator.hub.hubs import Hub, parse
from estimator.hub.reader import Late, Offline, Reader, Refused, TooLarge, Unreached
from estimator.model import headers
from estimator.model.catalog import close_names, unknown_model
from estimator.model.headers import BadHeader, Stored
from estimator.model.spec import ADAPTER_CONFIG, MAX_CONFIG_BYTES, ModelSpec, adapter_problem, parse_config

SECONDS = 9.0
"""Longest wait for everything. Headers that are not here by then are given up: the config is an answer without them."""
FRESH_SECONDS = {True: 24 * 3600.0, False: 600.0}
"""How long an answer serves without asking again: a whole one, and one whose headers could not be read."""
CONNECTIONS = 16
WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".h5", ".msgpack")


@dataclass(frozen=True)
class Fetched:
    """What a repository holds: its config, and of its safetensors what the headers say.

    `stored` is None where there are none, or none that could be read; `notes` then say so.
    """

    config: dict[str, Any]
    stored: Stored | None
    notes: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        held = self.stored.to_json() if self.stored else None
        return {"format": 1, "config": self.config, "stored": held, "notes": [note.to_dict() for note in self.notes]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fetched:
        held = Stored.from_json(data["stored"]) if data["stored"] else None
        return cls(data["config"], held, tuple(map(Problem.from_dict, data["notes"])))

    @property
    def is_whole(self) -> bool:
        return not any(note.code == "model.headers_unread" for note in self.notes)


def fetch(
    name: str, cache_dir: Path | None = None, token: str | Literal[False] | None = None, seconds: float = SECONDS
) -> Fetched:
    """Config and headers of a hub id, from `cache_dir` where they were kept within a day.

    `token` is huggingface_hub's: None sends this machine's login, False sends none and sees nothing that was fetched
    with one; a page asks with False. Raises `Problem`: model.unknown for what is no hub id, `hub.*`, and what
    `ModelSpec.from_config` refuses.
    """
    hub = parse(name)
    if hub is None:
        raise unknown_model(name)
    kept = _kept_file(cache_dir, hub, token) if cache_dir else None
    if kept and (known := _read_kept(kept, fresh=True)):
        return known
    try:
        fetched = _within(seconds, lambda so_far: _ask(hub, name, token, seconds, so_far))
    except Unreached as error:
        if kept and (known := _read_kept(kept, fresh=False)):
            return known
        raise _unreached(hub, name, error) from error
    if kept:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not the answer
            _keep(kept, fetched)
    return fetched


def _ask(
    hub: Hub, name: str, token: str | Literal[False] | None, seconds: float, so_far: Callable[[Fetched], None]
) -> Fetched:
    reader = Reader(hub.headers(token), seconds)
    try:
        revision, files = hub.listing(reader)
        if "config.json" not in files and ADAPTER_CONFIG in files:
            raise adapter_problem(
                parse_config(
                    reader.read(hub.url(revision, ADAPTER_CONFIG), MAX_CONFIG_BYTES), f"{name} {ADAPTER_CONFIG}"
                )
            )
        if "config.json" not in files:
            raise Problem("hub.no_config", field="model", value=name, hub=hub.title, files=_shown(files))
        content = reader.read(hub.url(revision, "config.json"), MAX_CONFIG_BYTES)
    except Refused as error:
        raise _refused(hub, name, error) from error
    except TooLarge:
        raise Problem(
            "model.config_too_large", field="model", value=f"{name} config.json", allowed=f"{MAX_CONFIG_BYTES:,} bytes"
        ) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unreached(f"not the answer of {hub.title}") from error
    config = parse_config(content, f"{name} config.json")
    ModelSpec.from_config(config)  # what is wrong with the config goes before what is wrong with the weights
    so_far(Fetched(config, None, (_unread(name, f"{hub.title} did not answer in time"),)))
    return _with_headers(hub, name, config, revision, files, reader)


def _with_headers(
    hub: Hub, name: str, config: dict[str, Any], revision: str, files: list[str], reader: Reader
) -> Fetched:
    """The config alone counts most models, so headers that cannot be read are a note."""
    weights = headers.weight_files(files)
    if not weights:
        note = Problem("model.headers_missing", field="model", value=name, files=_shown(files))
        return Fetched(config, None, (note,))
    try:
        return Fetched(
            config, headers.stored(_read_headers(reader, [hub.url(revision, file) for file in weights]), config)
        )
    except (BadHeader, Refused, Unreached) as error:
        return Fetched(config, None, (_unread(name, str(error)),))


def _unread(name: str, reason: str) -> Problem:
    return Problem("model.headers_unread", field="model", value=name, reason=reason)


def _read_headers(reader: Reader, urls: list[str]) -> headers.Tensors:
    """All lengths first: their sum is known to be bearable before the first header is asked for."""
    if len(urls) > headers.MAX_SHARDS:
        raise BadHeader(f"{len(urls):,} files; allowed: up to {headers.MAX_SHARDS:,}")
    tensors: headers.Tensors = {}
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        starts = pool.map(lambda url: reader.read_range(url, 0, headers.LENGTH_BYTES), urls)
        lengths = [headers.header_length(start) for start in starts]
        if sum(lengths) > headers.MAX_HEADER_BYTES:
            raise BadHeader(f"{sum(lengths):,} bytes of headers; allowed: up to {headers.MAX_HEADER_BYTES:,}")
        for content in pool.map(
            lambda url, length: reader.read_range(url, headers.LENGTH_BYTES, length), urls, lengths
        ):
            tensors |= headers.parse_header(content)
    return tensors


def _within(seconds: float, work: Callable[[Callable[[Fetched], None]], Fetched]) -> Fetched:
    """`work` in a thread that is left behind when it is late (the system's name lookup knows no deadline), with what it
    had."""
    so_far: list[Fetched] = []
    answers: queue.SimpleQueue[Fetched | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(work(so_far.append))
        except BaseException as error:  # raised again by the caller
            answers.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        if so_far:
            return so_far[-1]
        raise Late("the deadline has passed") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _refused(hub: Hub, name: str, error: Refused) -> Problem:
    code = hub.refusal(error)
    return _problem(code, hub, name) if code else _problem("hub.unreachable", hub, name, reason=str(error))


def _unreached(hub: Hub, name: str, error: Unreached) -> Problem:
    if isinstance(error, Offline):
        return _problem("hub.offline", hub, name)
    if isinstance(error, Late):
        return _problem("hub.late", hub, name)
    return _problem("hub.unreachable", hub, name, reason=str(error))


def _problem(code: str, hub: Hub, name: str, **params: str) -> Problem:
    return Problem(code, field="model", value=name, hub=hub.title, allowed=close_names(name), **params)


def _shown(files: list[str]) -> str:
    """Up to three files that look like weights, else the first files, for a sentence."""
    shown = [name[:80] for name in files if name.endswith(WEIGHTS)] or [name[:80] for name in files]
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "") if shown else "-"


def _kept_file(cache_dir: Path, hub: Hub, token: str | Literal[False] | None) -> Path:
    """What this machine's login may see is kept apart from what anyone may."""
    whose = "public" if token is False else "own"
    return Path(cache_dir) / "hub" / hub.key / whose / f"{hub.repo.replace('/', '--')}.json"


def _read_kept(file: Path, fresh: bool) -> Fetched | None:
    """What was kept, if it is whole and (where asked) fresh. A broken file counts as none."""
    try:
        fetched = Fetched.from_json(json.loads(file.read_text("utf-8")))
        age = time.time() - file.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return fetched if not fresh or age < FRESH_SECONDS[fetched.is_whole] else None


def _keep(file: Path, fetched: Fetched) -> None:
    """A reader never sees half a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    part.write_text(json.dumps(fetched.to_json(), separators=(",", ":")), encoding="utf-8")
    part.replace(file)
