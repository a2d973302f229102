"""One described dataset: where its rows are, what they are, and what of the description is not honoured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.datasets.hub.reference import Reference

VALUE_CHARACTERS = 80


@dataclass
class Entry:
    """`files` are names or folders as the description has them, `reference` a dataset of a hub; one of the two.

    `shape` and `mapping` are `ingest`'s (`studio.datasets.asked`); `role` is a split that all its rows are of.
    """

    name: str
    files: tuple[str, ...] = ()
    reference: Reference | None = None
    shape: str | None = None
    mapping: dict[str, str | None] = field(default_factory=dict)
    role: str | None = None
    unread: dict[str, str] = field(default_factory=dict)
    """Keys that are not honoured, with their values."""
    refused: str = ""
    """Why none of it can be taken: the key and value that says so."""

    def leave(self, said: Mapping[str, Any], keys: Iterable[str]) -> None:
        """Keys that nobody reads and that say something."""
        self.unread |= {str(key): shown(said[key]) for key in keys if said.get(key) not in (None, "", False, [], {})}


def shown(value: object) -> str:
    return " ".join(str(value).split())[:VALUE_CHARACTERS]


def words(value: object) -> tuple[str, ...]:
    """A text or a list of texts."""
    return tuple(one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str) and one)
