"""A look at the first rows of files: their columns with examples, what they are recognised as, which column plays which
part. Nothing is stored."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.asked import ROLE, TURN_CONTENT, TURN_ROLE, asked_of
from studio.datasets.files.apart import Apart
from studio.datasets.files.opening import Given, opened
from studio.datasets.ingest import cleaned_problem, guarded
from studio.datasets.recognising import PEEK_ROWS, recognised
from studio.datasets.shapes.formats import SHAPES
from studio.datasets.shapes.messages import ROLE_KEYS, ROLES
from studio.datasets.source import Source
from studio.datasets.text import clean
from studio.datasets.values import is_blank, json_text, listed

COLUMNS, EXAMPLES, EXAMPLE_CHARACTERS = 60, 3, 120
WORDS = 8
"""Words for speakers that are nobody's: of each file at most so many are asked about."""


def look(
    paths: list[tuple[Path, str]],
    scratch_root: Path,
    shape: str | None = None,
    mapping: Mapping[str, str | None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """`file` (the first that has rows with columns), `rows` looked at, `columns` (each `name`, `rows` that have it,
    `examples`), `turn_keys` (keys inside turns), `words` (for speakers, which are not known), `shape` (as told, or as
    recognised; empty where it is neither) and `parts` (`{part: column}` as they would be read); `problem` where the
    rows cannot be read so.

    Raises `Problem` where no file can be read at all.
    """
    told = asked_of(shape, mapping)

    def stop() -> None:
        if cancelled():
            raise Problem("dataset.cancelled", file=paths[0][1])

    scratch_root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=scratch_root) as scratch, Apart() as apart:
        source, peeked = _first_rows(paths, Path(scratch), apart, stop)
    rows = [value for _, value in peeked if isinstance(value, dict)]
    columns = _columns(rows)
    seen: dict[str, Any] = {
        "file": source.shown, "rows": len(rows), "columns": columns, "turn_keys": _turn_keys(rows),
        "words": _words(rows, mapping or {}),
    }  # fmt: skip
    try:
        found = recognised(source, peeked, told)
    except Problem as problem:
        said = {part: name for part, name in (mapping or {}).items() if name}
        return seen | {"shape": shape or "", "parts": said, "problem": cleaned_problem(problem).to_dict()}
    parts = found.columns_read() | _told_of_turns(mapping or {})
    return seen | {"shape": found.shape, "parts": parts, "problem": None}


def parts_offered(shape: str) -> dict[str, str]:
    """What a column can be chosen for in rows of a shape: `needed`, `one_of` (several of which one is), or neither."""
    if shape not in SHAPES:
        return {}
    known = SHAPES[shape]
    marks = {part: "needed" if len(group) == 1 else "one_of" for group in known.needs for part in group}
    return {part: marks.get(part, "") for part in known.parts if part != "media"}


def _first_rows(
    paths: list[tuple[Path, str]], scratch: Path, apart: Apart, stop: Callable[[], None]
) -> tuple[Source, list[tuple[int, Any]]]:
    """Of the first file that has rows with columns; of the first at all where none has."""
    sources = _to_end(opened([Given(*one) for one in paths], scratch, apart, stop)).sources
    first: tuple[Source, list[tuple[int, Any]]] | None = None
    trouble: Problem | None = None
    for source in sources:
        source.stop = stop
        try:
            peeked = list(itertools.islice(guarded(apart.read(source), source), PEEK_ROWS))
        except Problem as problem:
            trouble = trouble or problem
            continue
        first = first or (source, peeked)
        if any(isinstance(value, dict) for _, value in peeked):
            return source, peeked
    if first is None:
        raise trouble or Problem("dataset.empty", file=paths[0][1])
    return first


def _to_end(events: Iterator[Any]) -> Any:
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value


def _columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order of the first row that has them; an object's keys follow it as `outer.inner`."""
    cells: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            inside = {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {}
            for column, one in ({str(name): value} | inside).items():
                if column in cells or len(cells) < COLUMNS:
                    cells.setdefault(column, []).append(one)
    return [
        {"name": clean(name), "rows": len(held), "examples": [_example(one) for one in held[:EXAMPLES]]}
        for name, values in cells.items()
        for held in [[value for value in values if not is_blank(value)]]
    ]


def _example(value: Any) -> str:
    try:
        text = clean(value if isinstance(value, str) else json_text(value))
    except Exception:  # a value of a kind that has no JSON: its own word for itself
        text = clean(str(value))
    text = " ".join(text[: 4 * EXAMPLE_CHARACTERS].split())
    return text if len(text) <= EXAMPLE_CHARACTERS else text[:EXAMPLE_CHARACTERS] + "…"


def _turns(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        for name, value in row.items():
            found = _listed(value, str(name))
            yield from (turn for turn in found if isinstance(turn, dict))


def _listed(value: Any, name: str) -> list[Any]:
    try:
        found = listed(value, name)
    except Exception:  # Python's notation: refused, with its reason, where the row is read
        return []
    return list(found) if isinstance(found, (list, tuple)) else []


def _turn_keys(rows: list[dict[str, Any]]) -> list[str]:
    counts = Counter(clean(str(key)) for turn in _turns(rows) for key in turn)
    return [key for key, _ in counts.most_common(COLUMNS)]


def _words(rows: list[dict[str, Any]], mapping: Mapping[str, str | None]) -> list[str]:
    """What stands where a turn says who speaks, and is nobody's word; those that the mapping speaks of, too."""
    keys = (mapping[TURN_ROLE],) if mapping.get(TURN_ROLE) else ROLE_KEYS
    found = dict.fromkeys(key.removeprefix(ROLE) for key in mapping if key.startswith(ROLE))
    for turn in _turns(rows):
        word = next((turn[key] for key in keys if key in turn), None)
        if isinstance(word, str) and word.strip() and word.strip().lower() not in ROLES and len(word) <= 40:
            found[clean(word.strip())] = None
    return list(found)[:WORDS]


def _told_of_turns(mapping: Mapping[str, str | None]) -> dict[str, str]:
    """How turns are written, where the user said it."""
    own = {part: name for part, name in mapping.items() if name}
    return {part: name for part, name in own.items() if part in (TURN_ROLE, TURN_CONTENT) or part.startswith(ROLE)}
