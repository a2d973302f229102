"""A recipe as a file, TOML or (a run's `recipe.json`) JSON: the fields of `Recipe`, and `gpu`, `loop` and those of `Costing` beside them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from estimator.core.fields import shown
from estimator.core.problems import Problem
from estimator.recipe.costing import COSTING
from estimator.recipe.loop import LOOPS
from estimator.recipe.recipe import FIELDS

BESIDE = ("gpu", "loop", *COSTING)
MAX_BYTES = 2**20


def read_recipe(path: str) -> dict[str, Any]:
    """The keys of the file at `path`; values of recipe fields are left for `Recipe` to check.

    Raises `Problem` (codes `recipe.file_*`, and `recipe.in_file` around what is wrong with a key).
    """
    kind = "JSON" if Path(path).suffix.lower() == ".json" else "TOML"
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        text = content.decode("utf-8")
        found = json.loads(text) if kind == "JSON" else tomllib.loads(text)
        if not isinstance(found, dict):
            raise ValueError("no object of fields")
    except OSError as error:
        raise Problem(
            "recipe.file_unread", field="recipe", value=path, reason=error.strerror or type(error).__name__
        ) from None
    except (ValueError, RecursionError) as error:
        raise Problem(
            "recipe.file_broken", field="recipe", value=path, kind=kind, reason=" ".join(str(error).split())[:200]
        ) from None
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


def in_file(path: str, problem: Problem) -> Problem:
    """`problem`, with the file it comes from named first."""
    return Problem("recipe.in_file", field=problem.field, value=path, reason=str(problem))
