"""What a user calls a dataset of a hub: its id, or the address of its page."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from estimator.core.problems import Problem
from estimator.hub.hubs import MODELSCOPE_PREFIX, HuggingFace, ModelScope, parse
from studio.datasets.kinds import format_of, is_archive

HUBS = ("huggingface", "modelscope")
_SCHEME = "hf://datasets/"
_SITES = {"huggingface.co": "huggingface", "hf.co": "huggingface", "modelscope.cn": "modelscope",
          "modelscope.ai": "modelscope"}  # fmt: skip
_REVISION = re.compile(r"[\w][\w./\-]{0,119}", re.ASCII)
_INSIDE = ("tree", "blob", "resolve", "viewer")


@dataclass(frozen=True)
class Reference:
    """A dataset of a hub, and what of it is wanted; None where its user does not say."""

    hub: str
    repo: str
    revision: str | None = None
    config: str | None = None
    splits: tuple[str, ...] = ()
    inside: str = ""
    """A folder or a file of the repository; "" for all of it."""

    @property
    def shown(self) -> str:
        return f"{MODELSCOPE_PREFIX if self.hub == 'modelscope' else ''}{self.repo}"


def reference_of(text: str, hub: str | None = None) -> Reference | None:
    """`org/name`, `modelscope:org/name`, `hf://datasets/org/name@revision/folder`, or the address of a dataset's page;
    None for anything else. A name that ends like a file is a file's, unless `hub` says where it lies."""
    text = text.strip()
    if text.startswith(_SCHEME):
        return _of_scheme(text.removeprefix(_SCHEME))
    if "://" in text:
        return _of_address(text)
    if not hub and (format_of(text) or is_archive(text)):
        return None
    if text.startswith(MODELSCOPE_PREFIX):
        hub, text = "modelscope", text.removeprefix(MODELSCOPE_PREFIX)
    return Reference(hub or "huggingface", text) if _is_repo(text, bool(hub) and hub != "modelscope") else None


def wanted(
    text: str,
    hub: str | None = None,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
) -> Reference:
    """The same with what its user asks for beside it. Several splits are joined by `+`. Raises `Problem`:
    `dataset.hub_unknown`, `dataset.hub_id`, `dataset.hub_split`, `dataset.hub_revision`."""
    if hub and hub not in HUBS:
        raise Problem("dataset.hub_unknown", field="hub", value=str(hub)[:40], allowed=", ".join(HUBS))
    found = reference_of(str(text), hub)
    if found is None:
        raise Problem("dataset.hub_id", field="hub id", value=str(text)[:120])
    splits = tuple(one.strip() for one in split.split("+")) if split else found.splits
    for one in splits:
        if not re.fullmatch(r"\w+(\.\w+)*", one):
            raise Problem("dataset.hub_split", field="split", value=one[:60])
    revision = revision or found.revision
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise Problem("dataset.hub_revision", field="revision", value=revision[:60])
    return replace(found, config=config or found.config, splits=splits, revision=revision)


def _is_repo(text: str, alone: bool) -> bool:
    """Old datasets of Hugging Face have no owner: they are known by their address, or where the hub is said."""
    return bool(parse(text)) or alone and bool(parse(f"x/{text}")) and "/" not in text


def _of_scheme(rest: str) -> Reference | None:
    match = re.fullmatch(r"([\w.\-]+/[\w.\-]+)(?:@([^/]+))?(?:/(.*))?", rest, re.ASCII)
    if not match or not parse(match[1]):
        return None
    revision = unquote(match[2]) if match[2] else None
    return Reference("huggingface", match[1], revision, inside=_clean(match[3] or ""))


def _of_address(text: str) -> Reference | None:
    """Nothing is asked of the address itself: it only says which repository of a known hub is meant."""
    try:
        address = urlsplit(text)
        host = (address.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    if address.scheme not in ("http", "https"):
        return None
    hub = _SITES.get(host) or _own_site(text)
    parts = [unquote(part) for part in address.path.split("/") if part]
    if hub is None or len(parts) < 2 or parts[0] != "datasets":
        return None
    has_owner = len(parts) > 2 and parts[2] not in _INSIDE
    repo, rest = "/".join(parts[1 : 2 + has_owner]), parts[2 + has_owner :]
    if not _is_repo(repo, hub == "huggingface"):
        return None
    if len(rest) > 1 and rest[0] == "viewer":
        return Reference(hub, repo, config=rest[1], splits=tuple(rest[2:3]))
    if len(rest) > 1 and rest[0] in _INSIDE:
        is_ref = rest[1] == "refs" and len(rest) > 3
        revision, inside = ("/".join(rest[1:4]), rest[4:]) if is_ref else (rest[1], rest[2:])
        return Reference(hub, repo, revision, inside=_clean("/".join(inside)))
    return Reference(hub, repo)


def _own_site(text: str) -> str | None:
    """A mirror that this machine is told to ask."""
    for key, hub in (("huggingface", HuggingFace("")), ("modelscope", ModelScope(""))):
        if text.startswith(hub.endpoint + "/"):
            return key
    return None


def _clean(inside: str) -> str:
    parts = [part for part in inside.split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/".join(parts)
