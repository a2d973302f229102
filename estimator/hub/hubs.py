"""How Hugging Face and ModelScope are asked: where a repository's files are listed, where one lies, what a refusal
means."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from estimator.hub.reader import Reader, Refused

MAX_LISTING_BYTES = 16 * 2**20
MODELSCOPE_PREFIX = "modelscope:"
MODELSCOPE_DOMAIN = "www.modelscope.cn"
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(rf"{_PART}/{_PART}", re.ASCII)


@dataclass(frozen=True)
class HuggingFace:
    """Endpoint and token are huggingface_hub's own: HF_ENDPOINT; HF_TOKEN or `hf auth login`."""

    repo: str
    key = "huggingface"
    title = "Hugging Face"

    def headers(self, token: str | Literal[False] | None) -> dict[str, str]:
        """`build_hf_headers` without its look at who is calling, a request of its own."""
        from huggingface_hub import constants, get_token

        if token is None and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
            token = get_token()
        return {"User-Agent": "lora-studio"} | ({"Authorization": f"Bearer {token}"} if token else {})

    def listing(self, reader: Reader) -> tuple[str, list[str]]:
        """(revision, names of files)"""
        info = _json(reader.read(f"{self.endpoint}/api/models/{self.repo}", MAX_LISTING_BYTES))
        return info["sha"], [file["rfilename"] for file in info["siblings"]]

    def url(self, revision: str, file: str) -> str:
        return f"{self.endpoint}/{self.repo}/resolve/{quote(revision, safe='')}/{quote(file)}"

    @property
    def endpoint(self) -> str:
        from huggingface_hub import constants

        return constants.ENDPOINT.rstrip("/")

    def refusal(self, error: Refused) -> str:
        """Without a login the hub answers 401 for what is private as for what does not exist."""
        if error.code == "GatedRepo":
            return "hub.gated"
        if error.code == "RepoNotFound" or error.status in (401, 404):
            return "hub.not_found"
        return "hub.private" if error.status == 403 else ""


@dataclass(frozen=True)
class Entry:
    """A file of a listing; size in bytes and hash where the hub tells them."""

    path: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class ModelScope:
    """ModelScope's public API, as its own client uses it (modelscope/hub/api.py); without a login.

    MODELSCOPE_DOMAIN names another site, as for that client; it may carry its scheme.
    """

    repo: str
    key = "modelscope"
    title = "ModelScope"

    def headers(self, token: str | Literal[False] | None) -> dict[str, str]:
        return {"User-Agent": "lora-studio"}

    def listing(self, reader: Reader) -> tuple[str, list[str]]:
        """(revision, names of files); every repository's branch is called master."""
        return "master", [entry.path for entry in self.entries(reader)]

    def entries(self, reader: Reader) -> list[Entry]:
        """The files of a repository, with what the hub says of each."""
        answer = _json(reader.read(f"{self._api}/repo/files?Revision=master&Recursive=false", MAX_LISTING_BYTES))
        files = [file for file in answer["Data"]["Files"] or [] if file.get("Type") != "tree"]
        return [Entry(file["Path"], file.get("Size"), file.get("Sha256") or None) for file in files]

    def url(self, revision: str, file: str) -> str:
        return f"{self._api}/repo?Revision={quote(revision, safe='')}&FilePath={quote(file, safe='')}"

    @property
    def endpoint(self) -> str:
        domain = os.environ.get("MODELSCOPE_DOMAIN") or MODELSCOPE_DOMAIN
        return (domain if "://" in domain else f"https://{domain}").rstrip("/")

    @property
    def _api(self) -> str:
        return f"{self.endpoint}/api/v1/models/{self.repo}"

    def refusal(self, error: Refused) -> str:
        """Every refusal is a 404; the body's code tells what is closed (10010200001) from what is not there."""
        if b"10010200001" in error.body or error.status in (401, 403):
            return "hub.private"
        return "hub.not_found" if error.status == 404 else ""


Hub = HuggingFace | ModelScope


def parse(name: str) -> Hub | None:
    """`org/name` on Hugging Face, `modelscope:org/name`; None for anything else."""
    hub, repo = (
        (ModelScope, name.removeprefix(MODELSCOPE_PREFIX))
        if name.startswith(MODELSCOPE_PREFIX)
        else (HuggingFace, name)
    )
    is_id = _ID.fullmatch(repo) and not any(pair in repo for pair in ("..", "--"))
    return hub(repo) if is_id else None


def _json(content: bytes) -> Any:
    """Raises ValueError for what is no JSON."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
