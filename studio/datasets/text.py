"""Text fit to store, to train on and to show: no debris of a conversion, no half characters."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

# Line breaks and tabs are text; everything else below a space is debris of a conversion.
_DEBRIS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff]")
NAME_LIMIT_CHARACTERS = 120
_SURROGATES = re.compile("[\ud800-\udfff]")
_ODD = re.compile(f"[\r\ud800-\udfff{_DEBRIS.pattern[1:-1]}]")
"""What `clean` changes: nearly every text has none of it, and one look says so."""


def clean(text: str) -> str:
    """Without control characters and half characters; line ends as `\\n`."""
    if not _ODD.search(text):
        return str(text)  # of a subclass too: what comes out is text
    return _SURROGATES.sub("\ufffd", _DEBRIS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def is_clean(text: str) -> bool:
    """Whether there is some text, without blanks at its ends and without anything that `clean` changes."""
    return bool(text) and not text[0].isspace() and not text[-1].isspace() and not _ODD.search(text)


def without_blank_lines_around(text: str) -> str:
    """Wholly blank lines at both ends are cut, and nothing else: the first line of code keeps its indentation."""
    if not text[:1].isspace() and not text[-1:].isspace():
        return text
    body = text.rstrip()
    text = body + text[len(body) :].partition("\n")[0]
    body = text.lstrip()
    return text[: len(text) - len(body)].rpartition("\n")[2] + body


def cleaned(params: dict[str, Any]) -> dict[str, Any]:
    """The values of a sentence, with words of a user's file in them, as text that can be written."""
    return {key: clean(value) if isinstance(value, str) else value for key, value in params.items()}


def safe_name(name: str) -> str:
    """A file's name without folders, control characters or what a file system or a page could take for its own.

    `../../etc/<b>x</b>.json` becomes `b_.json`: what follows the last slash, each forbidden character replaced.
    """
    last = re.split(r"[\\/]", unicodedata.normalize("NFC", name))[-1]
    safe = "".join("_" if c in "<>:\"|?*&'`" or unicodedata.category(c).startswith("C") else c for c in last)
    safe = safe.strip(" .")
    if len(safe) > NAME_LIMIT_CHARACTERS:
        stem, dot, suffix = safe.rpartition(".")
        keep = NAME_LIMIT_CHARACTERS - len(suffix) - 1
        safe = f"{stem[:keep]}.{suffix}" if dot and len(suffix) <= 10 else safe[:NAME_LIMIT_CHARACTERS]
    return safe or "dataset"
