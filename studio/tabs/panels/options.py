"""What *Which GPU* asks beside the recipe: its controls' values as a record, as a filter, and as part of an address,
and back."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from estimator.advice.priced import counted, owned_counts
from estimator.advice.rank_table import WAYS, Filter, vendors
from estimator.advice.ranking import SORTS
from estimator.core.problems import Problem
from estimator.cost.own_cards import OwnCard, own_card
from estimator.hardware.cards import gpus
from estimator.recipe.costing import MOST_CARDS, Costing, names_in

MOST_OWN = 20
HIGHEST = 1e9
NUMBERS = ("rows", "tokens_per_row", "hours_per_month", "usd_per_kwh", "least_gib", "most_usd_per_hour")
TEXTS = ("owned", "compare", "search")
AUTOMATIC = "auto"
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("rows", "tokens_per_row", "usd_per_kwh", "hours_per_month"), ""), "devices": AUTOMATIC,
    "owned": "", "compare": "",
    "search": "", "least_gib": "", "most_usd_per_hour": "", "sort": "fits", "way": "any", "vendors": [], "kinds": [],
    "whole": False, "own": [],
}  # fmt: skip
"""Every control by name, as it stands where nothing was said; all of them go into the address. `own` is kept in the
browser."""


def families() -> list[str]:
    return list(dict.fromkeys(gpu.family for gpu in gpus().values()))


def costing_of(options: Mapping[str, Any]) -> Costing:
    """Raises `Problem` for what the boxes say wrong."""
    said = DEFAULTS | options
    whole = {
        name: None if (value := positive(said, name)) is None else int(value) for name in ("rows", "tokens_per_row")
    }
    prices = {name: positive(said, name) for name in ("hours_per_month", "usd_per_kwh")}
    devices = None if str(said["devices"]) in (AUTOMATIC, "", "None") else _count(said["devices"])
    lists = {name: names_in(str(said[name] or "")) for name in ("owned", "compare")}
    if whole["rows"] is None:
        whole["tokens_per_row"] = None  # kept in its box for the rows to come
    return Costing(**whole, **prices, devices=devices, **lists)


def _count(value: Any) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST_CARDS:
        raise Problem("recipe.range", field="devices", value=text[:40], allowed=f"1 to {MOST_CARDS}")
    return int(text)


def filter_of(options: Mapping[str, Any]) -> Filter:
    """Raises `Problem`."""
    said = DEFAULTS | options
    if said["sort"] not in SORTS:
        raise Problem("recipe.choice", field="sort", value=str(said["sort"])[:40], allowed=", ".join(SORTS))
    numbers = {name: positive(said, name) for name in ("least_gib", "most_usd_per_hour")}
    way = said["way"] if said["way"] in WAYS else "any"
    return Filter(
        str(said["search"] or "")[:80], tuple(said["vendors"] or ()), tuple(said["kinds"] or ()), way=way, **numbers
    )


def known_cards(stated: Any) -> list[dict[str, Any]]:
    """What a browser kept, less what is no card (it may be of another version, or somebody's own making)."""
    found = []
    for one in stated if isinstance(stated, list) else []:
        with contextlib.suppress(Problem, AttributeError, TypeError):
            own_card(one)
            found.append(one)
    return found[-MOST_OWN:]


def own_cards(stated: Any) -> list[OwnCard]:
    return [own_card(one) for one in known_cards(stated)]


def stated_number(options: Mapping[str, Any], name: str) -> float | None:
    """A number that was typed; None for an empty box. Raises `Problem`."""
    text = str(options.get(name) or "").strip()
    if re.fullmatch(r"\d{1,3}([,_ ]\d{3})+(\.\d*)?", text):  # any other comma may be a decimal one, so it is refused
        text = re.sub("[,_ ]", "", text)
    try:
        value = float(text) if text else None
    except ValueError:
        raise Problem("recipe.type", field=name, value=text[:40], allowed="a number") from None
    if value is not None and not 0 <= value <= HIGHEST:
        raise Problem("recipe.range", field=name, value=text[:40], allowed=f"0 to {HIGHEST:,.0f}")
    return value


def positive(options: Mapping[str, Any], name: str) -> float | None:
    """A number above 0, but for the price of electricity, which may be free."""
    value = stated_number(options, name)
    if value == 0 and name != "usd_per_kwh":
        raise Problem("recipe.range", field=name, value="0", allowed=f"above 0, at most {HIGHEST:,.0f}")
    return value


def address_of(options: Mapping[str, Any]) -> str:
    """What differs from its default as a query string, which `of_address` reads: text as it is, all else as JSON."""
    said = {
        name: options[name]
        for name, default in DEFAULTS.items()
        if name in options and options[name] not in (default, None)
    }
    return urlencode(
        [
            (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for name, value in said.items()
        ]
    )


def of_address(params: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """(what an address asks by control, what of it cannot be taken): the rest is taken."""
    said, refused = {}, []
    for name, default in DEFAULTS.items():
        if name not in params:
            continue
        try:
            said[name] = (
                CHECKS.get(name, _number)(name, params[name])
                if isinstance(default, str)
                else _of_json(name, params[name])
            )
        except Problem as problem:
            refused.append(problem)
    return said, refused


def _number(name: str, text: str) -> str:
    positive({name: text}, name)
    return text


def _choice(allowed: Callable[[], Any]) -> Callable[[str, str], str]:
    def check(name: str, text: str) -> str:
        if text not in allowed():
            raise Problem("recipe.choice", field=name, value=text[:40], allowed=", ".join(allowed()))
        return text

    return check


def _owned(name: str, text: str) -> str:
    owned_counts(names_in(text))
    return text


def _compared(name: str, text: str) -> str:
    Costing(compare=names_in(text))
    for one in names_in(text):
        counted(one, name)
    return text


CHECKS: dict[str, Callable[[str, str], str]] = {
    "devices": lambda name, text: text if text == AUTOMATIC else str(_count(text)),
    "owned": _owned, "compare": _compared, "search": lambda name, text: text[:80],
    "sort": _choice(lambda: SORTS), "way": _choice(lambda: WAYS),
}  # fmt: skip


def _of_json(name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if name == "own":
        return known_cards(value)
    if name == "whole":
        if isinstance(value, bool):
            return value
        raise Problem("recipe.type", field=name, value=text[:40], allowed="true or false")
    allowed = families() if name == "kinds" else vendors()
    if not isinstance(value, list) or any(one not in allowed for one in value):
        raise Problem("recipe.choice", field=name, value=text[:40], allowed=", ".join(allowed))
    return value
