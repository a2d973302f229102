"""The same question in other forms: a command line, a TOML file, Python, a query string; and an answer as a table. No torch.

Each form carries every field: read back, it is the same recipe (tests/estimator/test_roads.py walks them all).
"""

from __future__ import annotations

import csv
import io
import json
import operator
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from estimator.core.field_text import spelled
from estimator.core.fields import DEFAULT, FieldInfo
from estimator.core.problems import Problem
from estimator.estimates.conditions import CONDITIONS, Conditions
from estimator.estimates.estimate import Estimate
from estimator.law.law import COMPONENTS
from estimator.recipe.recipe import FIELDS, Recipe

GPU = "gpu"
FIGURES = (
    "peak_allocated_bytes",
    "peak_reserved_bytes",
    "device_bytes",
    "edge_bytes",
    "headroom_bytes",
    "total_parameters",
    "trainable_parameters",
)
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets run a cell that begins with one of these (OWASP, CSV injection)."""


def stated(recipe: Recipe) -> dict[str, Any]:
    """The fields that differ from their defaults, and the model, as plain JSON types."""
    return {
        name: value
        for name, value in recipe.to_dict().items()
        if name == "model" or getattr(recipe, name) != FIELDS[name].default
    }


def command_line(recipe: Recipe, gpu: str | None = None, conditions: Conditions = Conditions()) -> str:
    """`lora-studio estimate --model ... --r 32 --gpu '...'`, quoted for a POSIX shell."""
    words = ["lora-studio", "estimate"]
    for name, value in (stated(recipe) | conditions.stated()).items():
        words += flag(name, spelled(_info(name), value))
    return shlex.join(words + (flag(GPU, gpu) if gpu else []))


def flag(name: str, text: str) -> list[str]:
    """`--name text`; what begins like a flag itself is joined to its own."""
    option = "--" + name.replace("_", "-")
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


def _info(name: str) -> FieldInfo:
    return FIELDS.get(name) or CONDITIONS[name]


def recipe_toml(recipe: Recipe, gpu: str | None = None) -> str:
    """The file of `lora-studio estimate --recipe FILE` (`estimator.recipe.recipe_file`): the fields that differ from their defaults, and the card."""
    values = stated(recipe) | ({GPU: gpu} if gpu else {})
    return "".join(f"{name} = {_toml(DEFAULT if value is None else value)}\n" for name, value in values.items())


def _toml(value: Any) -> str:
    """TOML 1.0 has JSON's strings, but for the one control character that JSON lets stand."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def python_code(recipe: Recipe, gpu: str | None = None, conditions: Conditions = Conditions()) -> str:
    """A program that prints the same estimate."""
    fields = "".join(f"    {name}={value!r},\n" for name, value in stated(recipe).items())
    card = f", {gpu!r}" if gpu else ""
    beside = "".join(
        f", {name}={value!r}" for name, value in conditions.options.items() if value != Conditions().options[name]
    )
    return f"from estimator import Recipe, estimate\n\nrecipe = Recipe(\n{fields})\nprint(estimate(recipe{card}{beside}, derive=True).to_json())\n"


def query(recipe: Recipe, gpu: str | None = None, conditions: Conditions = Conditions()) -> str:
    """A query string that `from_query` and `conditions_in` read: one parameter a field, values as JSON but for plain text."""
    values = (stated(recipe) | conditions.stated()).items()
    return urlencode([(name, _parameter(name, value)) for name, value in values] + ([(GPU, gpu)] if gpu else []))


def _parameter(name: str, value: Any) -> str:
    """Text as it is where it reads back as such (`null` and `5` would not), anything else as JSON."""
    is_plain = isinstance(value, str) and _value(_info(name), value) == value
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def from_query(text: str | Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
    """(recipe fields, the card) of a query string or of its parameters; other parameters are somebody else's.

    Values are checked by `Recipe`, not here.
    """
    pairs = dict(parse_qsl(text.removeprefix("?"))) if isinstance(text, str) else dict(text)
    fields = {name: _value(FIELDS[name], value) for name, value in pairs.items() if name in FIELDS}
    return fields, pairs.get(GPU)


def conditions_in(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Of a query string's parameters those that say the conditions; `Conditions` checks them."""
    return {name: _value(info, pairs[name]) for name, info in CONDITIONS.items() if name in pairs}


def _value(info: FieldInfo, text: str) -> Any:
    """JSON where the field takes more than text and it is JSON, else the text."""
    if set(info.kinds) <= {str, type(None)}:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def to_csv(rows: Iterable[tuple[str, Estimate | Problem]]) -> str:
    """Bytes by component, one column an estimate, or why there is none; a cell that a spreadsheet would run is made text."""
    named = list(rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")

    def line(name: str, figure: Callable[[Estimate], Any]) -> list[Any]:
        return [name, *(figure(answer) if isinstance(answer, Estimate) else None for _, answer in named)]

    lines: list[list[Any]] = [["figure", *(name for name, _ in named)]]
    lines += [line(part, lambda made, part=part: made.components[part]) for part in COMPONENTS]
    lines += [line(figure, operator.attrgetter(figure)) for figure in FIGURES]
    lines.append(line("fits", _fits))
    if any(isinstance(answer, Problem) for _, answer in named):
        lines.append(["refused", *(str(answer) if isinstance(answer, Problem) else None for _, answer in named)])
    writer.writerows([[neutral(cell) for cell in line] for line in lines])
    return out.getvalue()


def _fits(made: Estimate) -> str:
    return {True: "yes", False: "no", None: "unknown"}[made.fits] + (", within the error bar" if made.is_close else "")


def neutral(cell: Any) -> Any:
    """Numbers stay numbers; text that begins like a formula gets an apostrophe in front."""
    return "'" + cell if isinstance(cell, str) and cell.startswith(FORMULA_SIGNS) else "" if cell is None else cell
