"""What a user names: files, folders and archives of this machine, and datasets of a hub, any of them together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.files.opening import Given
from studio.datasets.hub.bring import Brought, bring
from studio.datasets.hub.offers import Token
from studio.datasets.hub.reference import Reference, reference_of, wanted

CHOICES = ("hub", "config", "split", "revision")


def references(texts: Sequence[str], choices: dict[str, str | None]) -> list[Reference | Path]:
    """Each as a path, where one is there or nothing else can be meant, or as a dataset of a hub. `choices` are of the
    one dataset of a hub. Raises `Problem`: `dataset.hub_*`."""
    asked = {key: value for key, value in choices.items() if value}
    found: list[Reference | Path] = []
    for text in texts:
        is_hub = not Path(text).exists() and (reference_of(text) is not None or bool(asked.get("hub")))
        found.append(wanted(text, **asked) if is_hub else Path(text))
    hubs = [one for one in found if isinstance(one, Reference)]
    if asked and len(hubs) != 1:
        key, value = next(iter(asked.items()))
        raise Problem("dataset.hub_choice_alone", field=key, value=value, count=len(hubs))
    return found


def given(
    named: Sequence[Reference | Path], cache: Path, token: Token = None, stop: Callable[[], None] = lambda: None
) -> Generator[dict[str, Any], None, Brought]:
    """All of them as `ingest` takes them, those of a hub fetched; yields `bring`'s progress and raises its `Problem`s.
    Of one dataset of a hub and nothing beside it the result knows its origin."""
    files: list[Given] = []
    left: list[Problem] = []
    brought: list[Brought] = []
    for one in named:
        if isinstance(one, Path):
            files.append(Given(one, one.name))
            continue
        brought.append((yield from bring(cache, one, token, stop)))
        files += brought[-1].given
        left += brought[-1].left
    alone = brought[0] if len(named) == 1 and brought else None
    return Brought(files, alone.name if alone else "", alone.origin if alone else {}, left)
