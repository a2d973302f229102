"""What a user says of rows, checked: a shape by its name, and `{part: column}`.

Beside the parts of a shape (`instruction`, `output`, ...) a mapping may say how turns are written: `turn_role` and
`turn_content` are keys of a turn, and `role:NAME` is whom the word NAME means (`user`, `assistant`, `system`, `tool`,
or `call` for a call of a tool). A part with None is read of no column.
"""

from __future__ import annotations

from collections.abc import Mapping as Said
from typing import Any

from estimator.core.problems import Problem
from studio.datasets.recognising import NOTHING_ASKED, Asked
from studio.datasets.shapes.columns import COLUMNS
from studio.datasets.shapes.formats import SHAPES
from studio.datasets.shapes.messages import CONTENT_KEYS, ROLE_KEYS, ROLES, USUAL, Keys
from studio.datasets.shapes.record import Mapping

TURN_ROLE, TURN_CONTENT, ROLE = "turn_role", "turn_content", "role:"
SPEAKERS = ("user", "assistant", "system", "tool", "call")


def asked_of(shape: object, mapping: Said[str, Any] | None) -> Asked:
    """Raises `Problem`: `dataset.unknown_shape`, `dataset.unknown_part`, `dataset.mapping`."""
    if shape in (None, "") and not mapping:
        return NOTHING_ASKED
    if shape not in (None, "") and shape not in SHAPES:
        raise Problem("dataset.unknown_shape", field="shape", value=str(shape)[:40], allowed=", ".join(SHAPES))
    if mapping is not None and not isinstance(mapping, Said):
        raise Problem("dataset.mapping", field="mapping", value=str(mapping)[:80])
    for part, name in (mapping or {}).items():
        _check(str(shape or ""), part, name)
    return Asked(str(shape) if shape else None, _mapping(mapping or {}))


def parts_of(shape: str) -> tuple[str, ...]:
    """What a mapping may name for a shape, beside how turns are written."""
    return SHAPES[shape].parts if shape else tuple(COLUMNS)


def _check(shape: str, part: object, name: object) -> None:
    if name is not None and not isinstance(name, str):
        raise Problem("dataset.mapping", field="mapping", value=f"{part}: {name}"[:80])
    if isinstance(part, str) and part.startswith(ROLE):
        if name not in SPEAKERS:
            allowed = ", ".join(SPEAKERS)
            raise Problem("dataset.unknown_role", field="mapping", value=f"{part}: {name}"[:80], allowed=allowed)
    elif part not in (TURN_ROLE, TURN_CONTENT, *parts_of(shape)):
        allowed = ", ".join((*parts_of(shape), TURN_ROLE, TURN_CONTENT, f"{ROLE}NAME"))
        raise Problem("dataset.unknown_part", field="mapping", value=str(part)[:40], allowed=allowed)


def _mapping(said: Said[str, str | None]) -> Mapping:
    columns = {part: name for part, name in said.items() if part in COLUMNS and name}
    without = frozenset(part for part, name in said.items() if part in COLUMNS and not name)
    return Mapping(columns, without, _keys(said))


def _keys(said: Said[str, str | None]) -> Keys:
    role, content = said.get(TURN_ROLE), said.get(TURN_CONTENT)
    words = {key.removeprefix(ROLE).strip().lower(): str(name) for key, name in said.items() if key.startswith(ROLE)}
    if not (role or content or words):
        return USUAL
    return Keys(
        role=(role,) if role else ROLE_KEYS,
        content=(content,) if content else CONTENT_KEYS,
        roles={**ROLES, **words},
    )
