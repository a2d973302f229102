"""Small JSON files that say what a folder is (a run's, a dataset's): read so that whatever is wrong with one has a
sentence.

They are of a user's disk: cut short by a power failure, edited, copied from another machine, written by another
version. Every fault is a `Problem` (`record.*`) that names the file; `studio.disk.storage.write_json` writes them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import types
import typing
from pathlib import Path
from typing import Any

from estimator.core.fields import shown
from estimator.core.problems import Problem

LARGEST_BYTES = 4 * 2**20
LAST_SECOND = 253_402_300_799.0
"""The end of the year 9999: no clock shows a later one."""


def read_record(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises `Problem` (`record.*`) for all else, whatever it is."""
    value = parse(_content(path), path.name)
    if not isinstance(value, dict):
        raise Problem("record.not_object", file=path.name, value=shown(value))
    return value


def _content(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its writer
        with open(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise Problem("record.not_file", file=path.name)
            if facts.st_size > LARGEST_BYTES:
                raise Problem(
                    "record.too_large", file=path.name, value=f"{facts.st_size:,}", allowed=f"{LARGEST_BYTES:,}"
                )
            return file.read()
    except FileNotFoundError:
        raise Problem("record.missing", file=path.name) from None
    except IsADirectoryError:
        raise Problem("record.not_file", file=path.name) from None
    except OSError as error:
        raise Problem("record.unreadable", file=path.name, reason=error.strerror or type(error).__name__) from None


def parse(content: bytes, file: str) -> Any:
    """A JSON value whose text can be shown. Raises `Problem`: `record.empty`, `record.not_json`, `record.too_deep`."""
    if not content.strip():
        raise Problem("record.empty", file=file)
    try:
        value = json.loads(content)
        if b"\\u" in content:  # half a surrogate pair is valid JSON, and no text
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise Problem("record.too_deep", file=file) from None
    except ValueError as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise Problem("record.not_json", file=file, reason=reason) from None
    return value


def checked_fields(cls: type, data: dict[str, Any], file: str) -> tuple[dict[str, Any], list[Problem]]:
    """The values of `data` that the dataclass `cls` can take, and what is wrong with the others.

    A field that a newer version wrote is named, not dropped silently; one that an older did not know takes its default.
    """
    hints, values, faults = typing.get_type_hints(cls), {}, []
    for field in dataclasses.fields(cls):
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name not in data:
            faults += [] if has_default else [Problem("record.missing_key", file=file, key=field.name)]
        elif (
            not fits(hints[field.name], data[field.name])
            or field.name == "created"
            and not 0 <= data["created"] <= LAST_SECOND
        ):
            faults.append(Problem("record.bad_value", file=file, key=field.name, value=shown(data[field.name])))
        else:
            values[field.name] = data[field.name]
    return values, faults + unknown_fields(data, hints, file)


def unknown_fields(data: dict[str, Any], known: typing.Container[str], file: str) -> list[Problem]:
    """`record.unknown_field` for what another version wrote, or nothing."""
    unknown = [shown(key) for key in data if key not in known]
    return [Problem("record.unknown_field", file=file, key=", ".join(unknown)[:200])] if unknown else []


def fits(kind: Any, value: Any) -> bool:
    """Whether a JSON value is of a type hint's kind. Numbers are those a page can show: finite, and below 2**63."""
    if isinstance(kind, types.UnionType):
        return any(fits(one, value) for one in typing.get_args(kind))
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (Any, types.NoneType):
        return origin is Any or value is None
    if isinstance(value, bool):
        return origin is bool
    if origin in (int, float):
        return isinstance(value, int if origin is int else (int, float)) and abs(value) < 2**63
    if origin is dict:
        return isinstance(value, dict) and all(fits(inner[1], entry) for entry in value.values() if inner)
    if origin in (list, tuple):
        return isinstance(value, list) and all(fits(inner[0], entry) for entry in value)
    return isinstance(value, origin)
