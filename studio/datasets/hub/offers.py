"""What a repository offers: its configs and their splits, at one commit. Scripts are never run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from estimator.core.problems import Problem
from estimator.hub.reader import Offline, Reader, Refused, TooLarge, Unreached
from studio.datasets.hub.layout import DEFAULT, Config, configs_of, of_conversion
from studio.datasets.hub.reference import Reference
from studio.datasets.hub.repository import PARQUET_BRANCH, Listing, Repository, repository_of

SECONDS = 60.0
CARD_BYTES = 8 * 2**20
CARD_CHARACTERS = 2 * 2**20
"""Of YAML: some cards describe hundreds of configs."""
Token = str | Literal[False] | None


@dataclass(frozen=True)
class Offer:
    """A repository at one commit. `is_converted`: it holds a script, and its rows are the hub's own Parquet of them."""

    reference: Reference
    repository: Repository
    listing: Listing
    configs: dict[str, Config]
    default: str | None
    is_converted: bool = False

    def chosen(self) -> tuple[str, Config, list[str]]:
        """The config and the splits that are wanted, or meant where nobody says. Raises `Problem`: what may be chosen
        is named."""
        name = self.reference.config or self.default
        allowed = ", ".join(list(self.configs)[:40])
        if name is None:
            raise Problem("dataset.hub_choose_config", file=self.reference.shown, allowed=allowed)
        if name not in self.configs:
            raise Problem("dataset.hub_no_config", file=self.reference.shown, value=name[:80], allowed=allowed)
        config = self.configs[name]
        there = list(config.splits)
        allowed = ", ".join(there[:40]) or "-"
        for split in self.reference.splits:
            if split not in there:
                raise Problem("dataset.hub_no_split", file=self.reference.shown, value=split[:80], allowed=allowed)
        if not there:
            found = ", ".join(PurePosixPath(one).name[:60] for one in (config.others or self.listing.names)[:3]) or "-"
            raise Problem("dataset.hub_no_rows", file=self.reference.shown, found=found)
        if not self.reference.splits and len(there) > 1 and not set(there) <= {"train", "validation", "test"}:
            raise Problem("dataset.hub_choose_split", file=self.reference.shown, allowed=allowed)
        return name, config, list(self.reference.splits) or there


def offered(reference: Reference, token: Token = None) -> Offer:
    """Ask the hub. `token` is huggingface_hub's: None sends this machine's login, False sends none. Raises `Problem`
    (`dataset.hub_*`)."""
    repository = repository_of(reference)
    with hub_problems(reference, repository):
        reader = Reader(repository.headers(token), SECONDS)
        listing = repository.list(reader, reference.revision)
        if script := _script(listing, reference):
            return _converted(reference, repository, reader, script)
        names = listing.names
        if reference.inside:
            return Offer(reference, repository, listing, {DEFAULT: _inside(names, reference)}, DEFAULT)
        at = reference.revision or "master" if reference.hub == "modelscope" else listing.commit
        configs, default = configs_of(names, _card(repository, reader, at, names))
        return Offer(reference, repository, listing, configs, default)


def _inside(names: list[str], reference: Reference) -> Config:
    """The one file, or the files of one folder, that the address points to."""
    if reference.inside in names:
        return Config({"train": [reference.inside]})
    configs, _ = configs_of(
        [name[len(reference.inside) + 1 :] for name in names if name.startswith(f"{reference.inside}/")], None
    )
    found = configs[DEFAULT]
    found.splits = {split: [f"{reference.inside}/{name}" for name in some] for split, some in found.splits.items()}
    return found


def _script(listing: Listing, reference: Reference) -> str | None:
    """A loading script: the library that ran them does so no more."""
    name = f"{reference.repo.rpartition('/')[2]}.py"
    return name if name in listing.names else None


def _converted(reference: Reference, repository: Repository, reader: Reader, script: str) -> Offer:
    problem = Problem("dataset.hub_script", file=reference.shown, script=script)
    if reference.hub == "modelscope":
        raise problem
    try:
        listing = repository.list(reader, PARQUET_BRANCH)
    except Refused as error:
        raise problem from error
    configs = of_conversion(listing.names)
    if not configs:
        raise problem
    default = DEFAULT if DEFAULT in configs else next(iter(configs)) if len(configs) == 1 else None
    return Offer(reference, repository, listing, configs, default, is_converted=True)


def _card(repository: Repository, reader: Reader, at: str, names: list[str]) -> dict[str, Any]:
    """The front matter of the README, and a file of its own that goes before it; {} where there is none, or where it
    cannot be read."""
    card: dict[str, Any] = {}
    for name, is_readme in (("README.md", True), (".huggingface.yaml", False)):
        if name in names:
            with contextlib.suppress(TooLarge):
                text = reader.read(repository.url(at, name), CARD_BYTES).decode("utf-8", "replace")
                card |= _yaml(_front_matter(text) if is_readme else text)
    return card


def _front_matter(text: str) -> str:
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0] != "---" or "---" not in lines[1:]:
        return ""
    return "\n".join(lines[1 : lines.index("---", 1)])


def _yaml(text: str) -> dict[str, Any]:
    import yaml

    try:
        said = yaml.safe_load(text[:CARD_CHARACTERS])
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


@contextlib.contextmanager
def hub_problems(reference: Reference, repository: Repository) -> Iterator[None]:
    """What may go wrong between two machines, as something to act on."""
    said = {"file": reference.shown, "hub": repository.title}
    try:
        yield
    except Refused as error:
        code = repository.refusal(error)
        if code == "hub.not_found" and error.code == "RevisionNotFound" and reference.revision:
            raise Problem("dataset.hub_no_revision", **said, value=reference.revision) from error
        known = {"hub.not_found": "missing", "hub.gated": "gated", "hub.private": "private"}.get(code)
        raise Problem(f"dataset.hub_{known}", **said) if known else _unreached(said, error) from error
    except Offline as error:
        raise Problem("dataset.hub_offline", **said) from error
    except Unreached as error:
        raise _unreached(said, error) from error
    except (TooLarge, AttributeError, KeyError, TypeError, ValueError) as error:
        raise Problem("dataset.hub_answer", **said, reason=f"{type(error).__name__}: {error}"[:160]) from error


def _unreached(said: dict[str, str], error: Exception) -> Problem:
    return Problem("dataset.hub_unreached", **said, reason=" ".join(str(error).split())[:160])
