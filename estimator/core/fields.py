"""What is known of one field of a record: its type, default and limits; and the check of a value against them.

Accepts what JSON, TOML and forms deliver for a type (16.0 for 16, a list for a tuple) and nothing looser.
"""

from __future__ import annotations

import functools
import json
import math
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeGuard

from estimator.core.problems import Problem

DEFAULT = "default"
"""How a flag, a box or a TOML file, which have no null, say nothing of a field that has something by default."""


@dataclass(frozen=True)
class FieldInfo:
    """What a form, a flag or a check needs to know of one field."""

    name: str
    annotation: Any
    default: Any
    limits: dict[str, Any]

    @functools.cached_property
    def kinds(self) -> tuple[Any, ...]:
        """The types allowed, a union taken apart: `str | None` gives `(str, NoneType)`."""
        if isinstance(self.annotation, types.UnionType):
            return typing.get_args(self.annotation)
        return (self.annotation,)

    @property
    def says_default(self) -> bool:
        """Whether nothing has to be said, by the word DEFAULT: the field may be nothing, and is something where it is
        left out."""
        return type(None) in self.kinds and self.default is not None

    @property
    def allowed(self) -> str:
        """What is allowed, in words for an error."""
        if choices := self.limits.get("choices"):
            return ", ".join(choices)
        low, high, above = (self.limits.get(key) for key in ("low", "high", "above"))
        if high is not None:
            start = f"above {above:g}" if above is not None else f"{low:,}"
            return f"{start} to {high:,}" if above is None else f"{start}, at most {high:,}"
        return " or ".join(_KIND_WORDS[_kind(kind)] for kind in self.kinds)


_KIND_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list",
    dict: "a table of name = number",
    type(None): "nothing",
}


def _kind(annotation: Any) -> type:
    kind: type = typing.get_origin(annotation) or annotation
    return kind


def checked(info: FieldInfo, value: Any) -> Any:
    """`value` in its canonical type, or a `Problem`."""
    value = _coerced(info, value)
    if value in (DEFAULT, (DEFAULT,)) and info.says_default:
        return None
    if isinstance(value, str):
        value = info.limits.get("aliases", {}).get(value, value)
    choices, low, high, above, pattern = (
        info.limits.get(key) for key in ("choices", "low", "high", "above", "pattern")
    )
    if (
        choices
        and value is not None
        and (re.fullmatch(pattern, value) is None if pattern and value not in choices else value not in choices)
    ):
        said = {"field": info.name, "value": shown(value), "allowed": info.allowed}
        if nearest := info.limits.get("nearest"):
            raise Problem("recipe.choice_nearest", nearest=nearest(value), **said)
        raise Problem("recipe.choice", **said)
    if (
        high is not None
        and value is not None
        and not (value <= high and (value > above if above is not None else value >= low))
    ):
        raise Problem("recipe.range", field=info.name, value=shown(value), allowed=info.allowed)
    is_blank = isinstance(value, (str, tuple)) and not value and not (value == () and info.limits.get("may_be_empty"))
    if is_blank or isinstance(value, tuple) and "" in value:
        raise Problem("recipe.missing", field=info.name, allowed=info.allowed)
    return value


def _coerced(info: FieldInfo, value: object) -> Any:
    for kind in info.kinds:
        if kind is type(None) and value is None:
            return None
        if _kind(kind) in (int, float) and is_number(value) and not _is_finite(value):
            raise Problem("recipe.range", field=info.name, value=shown(value), allowed=info.allowed)
        made = _as(kind, value)
        if made is not None:
            return made
    raise Problem("recipe.type", field=info.name, value=shown(value), allowed=" or ".join(_words(info)))


def _as(kind: object, value: object) -> Any:
    """`value` as `kind`, or None where it is something else."""
    origin, inner = _kind(kind), typing.get_args(kind)
    if origin is bool:
        return value if isinstance(value, bool) else None
    if origin in (int, float):
        return origin(value) if is_number(value) and (origin is float or value == int(value)) else None
    if origin is str:
        return value.strip() if is_text(value) else None
    if origin is tuple and isinstance(value, (list, tuple)):
        fits = all(
            is_text(entry) if inner[0] is str else isinstance(entry, inner[0]) and not isinstance(entry, bool)
            for entry in value
        )
        return tuple(value) if fits else None
    if origin is dict and isinstance(value, dict):
        made = {key: _as(inner[1], entry) for key, entry in value.items() if is_text(key)}
        return made if len(made) == len(value) and None not in made.values() else None
    return None


def is_text(value: object) -> TypeGuard[str]:
    """Text that can be written down: half of a surrogate pair is no UTF-8, and NUL goes into no command."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        return value.isascii() or bool(value.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _words(info: FieldInfo) -> list[str]:
    return [_KIND_WORDS[_kind(kind)] for kind in info.kinds]


def shown(value: object) -> str:
    """A value as an error shows it: short, one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0").split()) or '""'
    return text if len(text) <= 120 else text[:117] + "..."
