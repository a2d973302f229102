"""A recipe as a file, TOML or (a run's `recipe.json`) JSON, or another tool's YAML (`estimator.recipe.brought`): the
fields of `Recipe`, and `gpu`, `loop` and those of `Costing` beside them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from estimator.core.fields import shown
from estimator.core.formats import without_format
from estimator.core.problems import Problem
from estimator.recipe.brought import brought
from estimator.recipe.costing import COSTING
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import FIELDS

BESIDE = ("gpu", "loop", *COSTING)
MAX_BYTES = 2**20
FORMAT = 1
"""Of the fields in a `recipe.json`: it rises when one of them gets another meaning, not when one is added."""

WRITTEN = {"TOML": "r = 16", "YAML": "r: 16", "JSON": '{"r": 16}'}
"""How each kind of file writes a field."""
KINDS = {".json": "JSON", ".yaml": "YAML", ".yml": "YAML"}


def read_recipe(path: str, tell: Callable[[Problem], None] | None = None) -> dict[str, Any]:
    """The keys of the file at `path`; values of recipe fields are left for `Recipe` to check. `tell` hears what was
    made of another tool's file.

    Raises `Problem` (codes `recipe.file_*`, `record.format`, and `recipe.in_file` around what is wrong with a key).
    """
    kind = KINDS.get(Path(path).suffix.lower(), "TOML")
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        text = content.decode("utf-8")
        found = _PARSERS[kind](text)
        if not isinstance(found, dict):
            raise ValueError("no object of fields")
    except OSError as error:
        raise Problem(
            "recipe.file_unread", field="recipe", value=path, reason=error.strerror or type(error).__name__
        ) from None
    except (ValueError, RecursionError) as error:
        said = {"value": path, "reason": " ".join(str(error).split())[:200], "kind": kind, "written": WRITTEN[kind]}
        raise Problem("recipe.file_broken", field="recipe", **said) from None
    try:
        foreign = brought(found)
    except Problem as problem:
        raise in_file(path, problem) from None
    if foreign:
        found = foreign.fields
        if tell:
            for note in (foreign.note(path), *foreign.uncounted):
                tell(note)
    else:
        found = without_format(found, FORMAT, path)
    for key, value in found.items():
        if key not in FIELDS and key not in BESIDE:
            allowed = ", ".join((*FIELDS, *BESIDE))
            raise in_file(path, Problem("recipe.unknown_field", field=key, value=shown(value), allowed=allowed))
    if not isinstance(found.get("gpu", ""), str):
        raise in_file(path, Problem("recipe.type", field="gpu", value=shown(found["gpu"]), allowed="text"))
    if found.get("loop", "trl") not in tuple(LOOPS):
        raise in_file(
            path, Problem("recipe.choice", field="loop", value=shown(found["loop"]), allowed=", ".join(LOOPS))
        )
    return found


def _yaml(text: str) -> object:
    import yaml  # here: most commands read none, and it takes a while to load

    class Plain(yaml.SafeLoader):
        """Without aliases: a few lines of them stand for more than memory holds."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases (*name) are not read")
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Plain)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


_PARSERS: dict[str, Callable[[str], object]] = {"JSON": json.loads, "TOML": tomllib.loads, "YAML": _yaml}


def in_file(path: str, problem: Problem) -> Problem:
    """`problem`, with the file it comes from named first."""
    return Problem("recipe.in_file", field=problem.field, value=path, reason=str(problem))
