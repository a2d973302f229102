"""Tools on offer and calls of them, in the notations people write, as chat templates take them."""

from __future__ import annotations

from typing import Any

from studio.datasets.source import RowError
from studio.datasets.text import clean
from studio.datasets.values import is_blank, listed, plain, type_word


def tools_of(value: object, column: str) -> list[dict[str, Any]]:
    """`tools` of a row, OpenAI's or bare functions, also as JSON text; empty where there are none."""
    value = listed(value, column)
    if is_blank(value):
        return []
    specs = value if isinstance(value, (list, tuple)) else [value]
    return [_spec(listed(spec, column), column) for spec in specs]


def _spec(spec: object, column: str) -> dict[str, Any]:
    function = spec.get("function", spec) if isinstance(spec, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError("tool", column=column, found=_found(spec))
    kept = {key: plain(inner, column) for key, inner in function.items() if inner is not None and key != "type"}
    return {"type": "function", "function": kept}


def calls_of(value: object, column: str) -> list[dict[str, Any]]:
    """`tool_calls` of a message, OpenAI's old `function_call`, or a turn that is a call, also as JSON text."""
    value = listed(value, column)
    calls = value if isinstance(value, (list, tuple)) else [value]
    return [_call(listed(call, column), column) for call in calls]


def _call(call: Any, column: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"].strip():
        raise RowError("call", column=column, found=_found(call))
    arguments: Any = next(
        (function[key] for key in ("arguments", "parameters", "args") if not is_blank(function.get(key))), {}
    )
    arguments = listed(arguments, column)
    if not isinstance(arguments, dict):
        raise RowError("arguments", column=column, name=function["name"][:40], found=_found(arguments))
    made: dict[str, Any] = {"type": "function"}
    if isinstance(call.get("id"), str) and call["id"]:
        made["id"] = clean(call["id"])
    return {**made, "function": {"name": clean(function["name"]), "arguments": plain(arguments, column)}}


def _found(value: object) -> str:
    return str(value)[:60] if isinstance(value, (str, dict)) else type_word(value)
