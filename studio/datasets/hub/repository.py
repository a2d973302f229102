"""A dataset's repository as its hub tells of it: the files of one revision, and where each lies.

The two hubs are asked as for models (`estimator.hub.hubs`): their own endpoints and nothing else, huggingface_hub's
session, its login where the caller may use it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from estimator.core.problems import Problem
from estimator.hub.hubs import MAX_LISTING_BYTES, Entry, HuggingFace, ModelScope
from estimator.hub.reader import Reader
from studio.datasets.hub.reference import Reference

FILES = 50_000
PAGE = 200
_ODD = re.compile(r"[\\\0]|^[A-Za-z]:")
PARQUET_BRANCH = "refs/convert/parquet"
"""Where Hugging Face keeps its own conversion of a dataset to Parquet."""


@dataclass(frozen=True)
class Listing:
    """The files of one revision. `commit` names it for good; of a hub that tells none it is a hash of the list."""

    commit: str
    entries: tuple[Entry, ...]

    @property
    def names(self) -> list[str]:
        return [entry.path for entry in self.entries]


class HuggingFaceDataset(HuggingFace):
    def list(self, reader: Reader, revision: str | None) -> Listing:
        """A redirect of the hub's (a repository that was renamed) is followed."""
        at = quote(revision or "main", safe="")
        url = f"{self.endpoint}/api/datasets/{self.repo}/revision/{at}?blobs=true"
        info = _object(reader.read(url, MAX_LISTING_BYTES))
        entries = [_entry(file["rfilename"], file.get("size"), file.get("lfs")) for file in info["siblings"]]
        return _checked(self, Listing(str(info["sha"]), tuple(entries)))

    def url(self, revision: str, file: str) -> str:
        return f"{self.endpoint}/datasets/{self.repo}/resolve/{quote(revision, safe='')}/{quote(file)}"


class ModelScopeDataset(ModelScope):
    def list(self, reader: Reader, revision: str | None) -> Listing:
        entries: list[Entry] = []
        for page in range(1, FILES // PAGE + 2):
            query = f"Revision={quote(revision or 'master', safe='')}&Recursive=true&PageSize={PAGE}&PageNumber={page}"
            answer = _object(reader.read(f"{self._datasets}/repo/tree?{query}", MAX_LISTING_BYTES))
            files = answer["Data"]["Files"] or []
            known = {entry.path for entry in entries}
            fresh = [file for file in files if file.get("Type") != "tree" and file["Path"] not in known]
            entries += [_entry(file["Path"], file.get("Size"), {"sha256": file.get("Sha256")}) for file in fresh]
            if len(files) < PAGE or not fresh:
                break
        told = "\n".join(f"{entry.path} {entry.size} {entry.sha256}" for entry in entries)
        return _checked(self, Listing(hashlib.sha256(told.encode()).hexdigest()[:40], tuple(entries)))

    def url(self, revision: str, file: str) -> str:
        return f"{self._datasets}/repo?Revision={quote(revision, safe='')}&FilePath={quote(file, safe='')}"

    @property
    def _datasets(self) -> str:
        return f"{self.endpoint}/api/v1/datasets/{self.repo}"


Repository = HuggingFaceDataset | ModelScopeDataset


def repository_of(reference: Reference) -> Repository:
    return (ModelScopeDataset if reference.hub == "modelscope" else HuggingFaceDataset)(reference.repo)


def _entry(path: Any, size: Any, lfs: Any) -> Entry:
    sha256 = lfs.get("sha256") if isinstance(lfs, dict) else None
    return Entry(str(path), size if isinstance(size, int) and size >= 0 else None, sha256 or None)


def _object(content: bytes) -> dict[str, Any]:
    """Raises `ValueError` for what is no JSON object."""
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _checked(hub: Repository, listing: Listing) -> Listing:
    """Names go to this machine's disk: none may climb out of its folder."""
    if len(listing.entries) > FILES:
        raise Problem("dataset.many_files", file=hub.repo, limit=FILES)
    for entry in listing.entries:
        path = PurePosixPath(entry.path)
        if path.is_absolute() or ".." in path.parts or _ODD.search(entry.path):
            raise Problem("dataset.climbs", file=hub.repo, member=entry.path[:120])
    return listing
