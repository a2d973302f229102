"""Recipe fields as text: what a flag of the command line or a text box of a form holds, read as the field's type, and
back.

Every value has a text. Where a plain one would be read as something else (a name with a comma, one name that is no
list), JSON says which it is: `["a,b"]`, `"lm_head"`, `{"q_proj": 8}`. Nothing is an empty text, or `default` where that
is not what a field has anyway.
"""

from __future__ import annotations

import json
import re
from typing import Any

from estimator.core.fields import DEFAULT, FieldInfo, checked
from estimator.core.problems import Problem

SWITCH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_WHOLE = r"-?[0-9]{1,18}"


def parsed(info: FieldInfo, given: str | list[str]) -> Any:
    """A text, or the words of a list, as the field's type; what does not parse is left as text for the record to refuse
    by name."""
    origins, text = _origins(info), given if isinstance(given, str) else " ".join(given)
    if given in ("", [""]) and type(None) in origins and not info.limits.get("may_be_empty"):
        return None
    if {dict, tuple} & origins and text.lstrip()[:1] in ("{", "[", '"'):
        made = _json(info, text)
        if made is not None or text.lstrip().startswith("{") and dict in origins:
            return text if made is None else made
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


def _origins(info: FieldInfo) -> set[Any]:
    return {getattr(kind, "__origin__", kind) for kind in info.kinds}


def _json(info: FieldInfo, text: str) -> Any:
    """A list, a table or a text of the field's own kinds, said as JSON; None for anything else (a regular expression
    may begin with `[`)."""
    try:
        made = json.loads(text)
        checked(info, made)
    except (ValueError, RecursionError):
        return None
    except Problem:
        return made if isinstance(made, dict) else None  # a table with a wrong entry is for the record to refuse
    return made if isinstance(made, (str, list, dict)) else None


def parsed_box(info: FieldInfo, text: object) -> Any:
    """What a text box holds; an empty one is nothing where the field may be nothing."""
    text = str(text if text is not None else "").strip()
    if is_list(info):
        is_whole = is_expression(text) or "=" in text or text.startswith('"')
        return parsed(info, [text] if is_whole else re.split(r"[\s,，、]+", text))
    return parsed(info, text)


def spelled(info: FieldInfo, value: object) -> str:
    """`value` (as `Recipe.to_dict` has it) as a text that `parsed` and `parsed_box` read as this very value: plain
    where that does, else JSON."""
    if value is None:
        return DEFAULT if info.says_default else ""
    plain = shown_in_box(value)
    if isinstance(value, (bool, int, float)):
        return plain
    reads = (parsed(info, [plain] if is_list(info) else plain), parsed_box(info, plain))
    return (
        plain
        if all(type(made) is type(value) and made == value for made in reads)
        else json.dumps(value, ensure_ascii=False)
    )


def shown_in_box(value: object) -> str:
    """A value for a reader, plainly; `spelled` where it is to be read back."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        is_plain = value and all(
            re.fullmatch(r"[\w.]+", key) and isinstance(entry, int) for key, entry in value.items()
        )
        return (
            ", ".join(f"{key}={entry}" for key, entry in value.items())
            if is_plain
            else json.dumps(value, ensure_ascii=False)
        )
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def is_list(info: FieldInfo) -> bool:
    return tuple in _origins(info)


def is_expression(word: str) -> bool:
    """Whether a word is one text, `all-linear` or a regular expression, where names are taken too."""
    return word == "all-linear" or any(sign in word for sign in "*+?[](){}|^$\\")


def number_or_text(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _list(info: FieldInfo, words: list[str], takes_text: bool) -> Any:
    """One word without a comma is a single text (all-linear, a regular expression, a name) where the field takes
    one."""
    if takes_text and len(words) == 1 and is_expression(words[0]):
        return words[0]
    parts = [part.strip() for word in words for part in word.split(",") if part.strip()]
    if any(getattr(kind, "__args__", (None,))[0] is int for kind in info.kinds):
        return [int(part) if re.fullmatch(_WHOLE, part) else part for part in parts]
    return parts


def _table(text: str) -> Any:
    """`q_proj=8,v_proj=16`; anything else stays text."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(sign and re.fullmatch(_WHOLE, value.strip()) for _, sign, value in pairs):
        return text
    return {key.strip(): int(value) for key, _, value in pairs}


def whole(value: object) -> Any:
    """The value, U+FFFD in its texts for each half of a surrogate pair, as browsers write such text: it cannot be
    encoded otherwise.

    JSON holds them as escapes (`"\\ud800"`), and so may a file's rows, a configuration, a request.
    """
    if isinstance(value, str):
        return (
            value
            if value.isascii() or _is_utf8(value)
            else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    if isinstance(value, dict):
        return {whole(key): whole(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(whole, value)) if type(value) in (list, tuple) else value
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
