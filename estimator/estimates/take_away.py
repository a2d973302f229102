"""The same question in other forms: a command line, a TOML file, Python, a query string; and an answer as a table. No
torch.

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
from estimator.recipe.costing import COSTING, Costing, names_in
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


def command_line(
    recipe: Recipe,
    gpu: str | None = None,
    conditions: Conditions = Conditions(),
    costing: Costing = Costing(),
    own: Iterable[str] = (),
) -> str:
    """`lora-studio estimate --model ... --r 32 --gpu '...'`, quoted for a POSIX shell. What asks for several cards side
    by side has a command of its own (`gpus_command_line`). `own` are cards as `estimator.cost.own_cards.read_card` reads them."""
    words = ["lora-studio", "estimate"]
    for name, value in (stated(recipe) | conditions.stated()).items():
        words += flag(name, spelled(_info(name), value))
    return shlex.join([*words, *(flag(GPU, gpu) if gpu else []), *_costing_flags(costing, own, but=("compare",))])


def gpus_command_line(recipe: Recipe, conditions: Conditions, costing: Costing, own: Iterable[str] = ()) -> str:
    """`lora-studio gpus ...`: every card, or those of `costing.compare`. What the data do to a batch the command reads
    off the rows."""
    words = ["lora-studio", "gpus"]
    beside = {name: value for name, value in conditions.stated().items() if name not in ("trained_share", "padded")}
    for name, value in (stated(recipe) | beside).items():
        words += flag(name, spelled(_info(name), value))
    return shlex.join([*words, *_costing_flags(costing, own)])


def _costing_flags(costing: Costing, own: Iterable[str], but: tuple[str, ...] = ()) -> list[str]:
    words = []
    for name, value in costing.stated().items():
        if name not in but:
            words += ["--" + name.replace("_", "-"), *map(str, value if isinstance(value, list) else [value])]
    return words + [word for text in own for word in flag("own_card", text)]


def flag(name: str, text: str) -> list[str]:
    """`--name text`; what begins like a flag itself is joined to its own."""
    option = "--" + name.replace("_", "-")
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


def _info(name: str) -> FieldInfo:
    return FIELDS.get(name) or CONDITIONS[name]


def recipe_toml(recipe: Recipe, gpu: str | None = None, costing: Costing = Costing()) -> str:
    """The file of `lora-studio estimate --recipe FILE` (`estimator.recipe.recipe_file`): the fields that differ from
    their defaults, the card, and what is asked of time and money."""
    values = stated(recipe) | ({GPU: gpu} if gpu else {}) | costing.stated()
    return "".join(f"{name} = {_toml(DEFAULT if value is None else value)}\n" for name, value in values.items())


def _toml(value: Any) -> str:
    """TOML 1.0 has JSON's strings, but for the one control character that JSON lets stand."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def python_code(
    recipe: Recipe,
    gpu: str | None = None,
    conditions: Conditions = Conditions(),
    costing: Costing = Costing(),
    own: Iterable[str] = (),
) -> str:
    """A program that prints the same estimate, and where they are asked for time and money too."""
    fields = "".join(f"    {name}={value!r},\n" for name, value in stated(recipe).items())
    card = f", {gpu!r}" if gpu else ""
    beside = "".join(
        f", {name}={value!r}" for name, value in conditions.options.items() if value != Conditions().options[name]
    )
    code = f"from estimator import Recipe, estimate\n\nrecipe = Recipe(\n{fields})\nprint(estimate(recipe{card}{beside}, derive=True).to_json())\n"
    return code if not costing.stated() or not gpu else code + _priced_code(gpu, conditions, costing, list(own))


def _priced_code(gpu: str, conditions: Conditions, costing: Costing, own: list[str]) -> str:
    stated = lambda record: ", ".join(f"{name}={value!r}" for name, value in record.stated().items())  # noqa: E731
    asked = f"costing = Costing({stated(costing)})\nconditions = Conditions({stated(conditions)})\n"
    options = "conditions=conditions, batches=conditions.batches, derive=True"
    imported = ""
    if own:
        asked += f"own = [read_card(text) for text in {own!r}]\n"
        options += ", own=own"
        imported = "from estimator.cost.own_cards import read_card\n"
    compared = (
        f"for option in compared(recipe, costing, {options}):\n    print(option.to_dict())\n" if costing.compare else ""
    )
    return (
        f"\nfrom estimator.advice.priced import compared, priced\n{imported}"
        "from estimator.estimates.conditions import Conditions\n"
        f"from estimator.recipe.costing import Costing\n\n{asked}print(priced(recipe, {gpu!r}, costing, {options}).to_dict())\n{compared}"
    )


def query(
    recipe: Recipe, gpu: str | None = None, conditions: Conditions = Conditions(), costing: Costing = Costing()
) -> str:
    """A query string that `from_query`, `conditions_in` and `costing_in` read: one parameter a field, values as JSON
    but for plain text, and for cards, which stand as one writes them."""
    values = (stated(recipe) | conditions.stated()).items()
    pairs = [(name, _parameter(name, value)) for name, value in values] + ([(GPU, gpu)] if gpu else [])
    beside = costing.stated().items()
    return urlencode(
        pairs + [(name, ", ".join(value) if isinstance(value, list) else str(value)) for name, value in beside]
    )


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


def costing_in(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Of a query string's parameters those that ask for time and money; `Costing` checks them."""
    lists = {name for name, info in COSTING.items() if str not in info.kinds and info.kinds[0] not in (int, float)}
    return {
        name: names_in(pairs[name]) if name in lists else _value(info, pairs[name])
        for name, info in COSTING.items()
        if name in pairs
    }


def _value(info: FieldInfo, text: str) -> Any:
    """JSON where the field takes more than text and it is JSON, else the text."""
    if set(info.kinds) <= {str, type(None)}:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def to_csv(rows: Iterable[tuple[str, Estimate | Problem]], beside: Mapping[str, Iterable[Any]] | None = None) -> str:
    """Bytes by component, one column an estimate, or why there is none, then the lines of `beside` by name; a cell that
    a spreadsheet would run is made text."""
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
    lines += [[name, *cells] for name, cells in (beside or {}).items()]
    writer.writerows([[neutral(cell) for cell in line] for line in lines])
    return out.getvalue()


def _fits(made: Estimate) -> str:
    return {True: "yes", False: "no", None: "unknown"}[made.fits] + (", within the error bar" if made.is_close else "")


def neutral(cell: Any) -> Any:
    """Numbers stay numbers; text that begins like a formula gets an apostrophe in front."""
    return "'" + cell if isinstance(cell, str) and cell.startswith(FORMULA_SIGNS) else "" if cell is None else cell
