"""A repository's files from Hugging Face or ModelScope to a folder of this machine: what was cut off is gone on with,
not begun again.

huggingface_hub does the asking, its cache is the place, and what is on Xet storage is all its own. Over plain HTTP
(mirrors, proxies, hubs of one's own) it begins a file afresh at each attempt and leaves the half of a killed one behind
under a random name (2.4, `_download_to_tmp_and_move`); there large files are fetched here first, into a part that keeps
its name, and checked against their hash.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from estimator.hub.hubs import ModelScope, parse
from estimator.hub.reader import Reader, Refused, Unreached
from estimator.model.headers import weight_files
from studio.disk.storage import storage_problem, write_json
from studio.fetching import fetch_file, part_of
from studio.space import Space

LISTING_SECONDS = 60.0
LISTING = ".listing.json"
"""In a ModelScope folder: the hash of each file that is whole."""
_ORPHAN = re.compile(r"(?P<etag>[0-9a-f]{40,64})\.[0-9a-f]{8}\.incomplete")


def fetch(space: Space, name: str, field: str, patterns: tuple[str, ...]) -> Path:
    """The folder with the files of a hub id that match; from here where the hub cannot be reached. Raises `Problem`:
    `base.missing`, `base.gated`, `base.offline`, `base.interrupted`, `storage.*`."""
    hub = parse(name)
    with _problems(name, field):
        if isinstance(hub, ModelScope):
            return _from_modelscope(space, hub, patterns)
        return _from_hugging_face(name, patterns)


@contextlib.contextmanager
def _problems(name: str, field: str) -> Iterator[None]:
    """What may go wrong between two machines, as something to act on. The transport's errors are neither OSError nor
    HfHubHTTPError."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise Problem("base.gated", field=field, value=name) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError, errors.RevisionNotFoundError) as error:
        raise Problem("base.missing", field=field, value=name) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, Refused, Unreached) as error:
        raise Problem("base.offline", field=field, value=name, reason=_reason(error)) from error
    except (errors.HTTPError, errors.XetDownloadError, OSError, RuntimeError, ValueError) as error:
        raise storage_problem(error, Path(constants.HF_HUB_CACHE)) or Problem(
            "base.interrupted", field=field, value=name, reason=_reason(error)
        ) from error


def _reason(error: BaseException) -> str:
    words = (str(error).strip().splitlines() or [""])[0]
    return (words or type(error).__name__)[:160]


def _from_hugging_face(name: str, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import HfApi, constants, errors, snapshot_download

    endpoint, doubles = constants.ENDPOINT, []
    if not constants.is_offline_mode():
        # Where the hub cannot be asked, or refuses, `snapshot_download` says so, or finds the copy that is here.
        with contextlib.suppress(errors.HfHubHTTPError, *_unreachable()):
            info = HfApi(endpoint=endpoint).model_info(name)
            files = [entry.rfilename for entry in info.siblings or ()]
            wanted = weight_files(files)
            doubles = [file for file in files if wanted and file.endswith(".safetensors") and file not in wanted]
            if any(fnmatch.fnmatch(file, pattern) for file in wanted for pattern in patterns):
                _fetch_large(name, str(info.sha), wanted, endpoint)
    try:
        return Path(
            snapshot_download(name, allow_patterns=list(patterns), ignore_patterns=doubles or None, endpoint=endpoint)
        )
    except errors.IncompleteSnapshotError as error:
        return Path(error.snapshot_path)  # whoever opens it says which file is missing


def _unreachable() -> tuple[type[BaseException], ...]:
    """No connection at all, of the library (httpx or httpx2) that huggingface_hub speaks through."""
    import sys

    from huggingface_hub.errors import HTTPError

    transport = sys.modules[HTTPError.__module__.partition(".")[0]]
    return (transport.ConnectError, transport.ConnectTimeout)


def _fetch_large(name: str, revision: str, files: tuple[str, ...], endpoint: str) -> None:
    """The weights of a repository that are neither in the cache nor on Xet storage."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    store = repo_folder_name(repo_id=name, repo_type="model")
    cache = Path(constants.HF_HUB_CACHE)
    for file in files:
        if (cache / store / "snapshots" / revision / file).exists():
            continue
        about = get_hf_file_metadata(hf_hub_url(name, file, revision=revision, endpoint=endpoint), endpoint=endpoint)
        if about.xet_file_data is not None or not about.etag or not re.fullmatch(r"[\w\-]{8,128}", about.etag):
            continue
        target = cache / store / "blobs" / about.etag
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = cache / ".locks" / store / f"{about.etag}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            _adopt_orphans(target)
            same_host = about.location.startswith(endpoint)
            fetch_file(about.location, target, about.size, about.etag, build_hf_headers() if same_host else {})


def _adopt_orphans(target: Path) -> None:
    """What killed downloads left of this file: the longest is gone on with, the others go. Called under the file's
    lock."""
    part = part_of(target)
    found = [
        path
        for path in target.parent.iterdir()
        if (match := _ORPHAN.fullmatch(path.name)) and match["etag"] == target.name
    ]
    for orphan in sorted(found, key=lambda path: path.stat().st_size):
        if not target.exists() and (not part.exists() or orphan.stat().st_size > part.stat().st_size):
            orphan.replace(part)
        else:
            orphan.unlink()


def modelscope_folder(space: Space, hub: ModelScope) -> Path:
    """ModelScope has no cache that others share: a folder of the studio's."""
    return space.cache / "modelscope" / hub.repo.replace("/", "--")


def _from_modelscope(space: Space, hub: ModelScope, patterns: tuple[str, ...]) -> Path:
    """File by file."""
    folder = modelscope_folder(space, hub)
    headers = hub.headers(None)
    try:
        listed = hub.entries(Reader(headers, LISTING_SECONDS))
    except (Refused, Unreached):
        if (folder / "config.json").is_file():
            return folder
        raise
    folder.mkdir(parents=True, exist_ok=True)
    whole = _read_listing(folder)
    for entry in listed:
        if not any(fnmatch.fnmatch(entry.path, pattern) for pattern in patterns) or Path(entry.path).name != entry.path:
            continue
        target, known = folder / entry.path, [entry.size, entry.sha256]
        if whole.get(entry.path) != known:
            target.unlink(missing_ok=True)
            fetch_file(hub.url("master", entry.path), target, entry.size, entry.sha256, headers)
            whole[entry.path] = known
            write_json(folder / LISTING, whole)
        elif not target.exists():
            fetch_file(hub.url("master", entry.path), target, entry.size, entry.sha256, headers)
    return folder


def _read_listing(folder: Path) -> dict[str, Any]:
    try:
        made = json.loads((folder / LISTING).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return made if isinstance(made, dict) else {}
