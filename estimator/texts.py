"""Recipe fields as text: what a flag of the command line or a text box of a form holds, read as the field's type, and back."""

from __future__ import annotations

import json
import re
from typing import Any

from estimator.fields import FieldInfo

SWITCH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_WHOLE = r"-?[0-9]{1,18}"


def parsed(info: FieldInfo, given: str | list[str]) -> Any:
    """A text, or the words of a list, as the field's type; what does not parse is left as text for the record to refuse by name."""
    origins = [getattr(kind, "__origin__", kind) for kind in info.kinds]
    if isinstance(given, list) and dict in origins and given[0].lstrip().startswith("{"):
        return _table(" ".join(given))
    if isinstance(given, list):
        return _list(info, given, takes_text=str in origins)
    if bool in origins:
        return SWITCH.get(given.lower(), given)
    if dict in origins:
        return _table(given)
    for number in (int, float):
        if number in origins:
            try:
                return number(given) if number is float else int(given.replace("_", ""))
            except ValueError:
                return number_or_text(given)
    return given


def parsed_box(info: FieldInfo, text: Any) -> Any:
    """What a text box holds; an empty one is nothing where the field may be nothing."""
    text = str(text if text is not None else "").strip()
    if not text and type(None) in info.kinds:
        return None
    if is_list(info):
        return parsed(info, [text] if is_expression(text) or "=" in text else re.split(r"[\s,，、]+", text))
    return parsed(info, text)


def shown_in_box(value: Any) -> str:
    """The opposite of `parsed_box`."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        is_plain = all(re.fullmatch(r"[\w.]+", key) and isinstance(entry, int) for key, entry in value.items())
        return ", ".join(f"{key}={entry}" for key, entry in value.items()) if is_plain else json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_list(info: FieldInfo) -> bool:
    return any(getattr(kind, "__origin__", kind) is tuple for kind in info.kinds)


def is_expression(word: str) -> bool:
    """Whether a word is one text, `all-linear` or a regular expression, where names are taken too."""
    return word == "all-linear" or any(sign in word for sign in "*+?[](){}|^$\\")


def number_or_text(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _list(info: FieldInfo, words: list[str], takes_text: bool) -> Any:
    """One word without a comma is a single text (all-linear, a regular expression, a name) where the field takes one."""
    if takes_text and len(words) == 1 and is_expression(words[0]):
        return words[0]
    parts = [part.strip() for word in words for part in word.split(",") if part.strip()]
    if any(getattr(kind, "__args__", (None,))[0] is int for kind in info.kinds):
        return [int(part) if re.fullmatch(_WHOLE, part) else part for part in parts]
    return parts


def _table(text: str) -> Any:
    """`q_proj=8,v_proj=16`, or a JSON object."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(sign and re.fullmatch(_WHOLE, value.strip()) for _, sign, value in pairs):
        return text
    return {key.strip(): int(value) for key, _, value in pairs}
