"""Text that was read in the wrong encoding: mended where nothing was lost, told where something was.

ftfy undoes UTF-8 that was read as a Western code page. It does not know the Chinese one of the kind, UTF-8 that was
read as GBK: that is undone here, where the text is GBK and its bytes are UTF-8, which longer Chinese never is by
chance.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from studio.datasets.cleaning.parts import CALL, SPOKEN, TOKENS, Part, parts, rewritten
from studio.datasets.cleaning.record import Asked, Verdict
from studio.datasets.forms import Row

_LOST = re.compile("锟斤拷|烫烫烫|屯屯屯|\ufffd|ï¿½")
"""What is left where bytes could not be read, and what uninitialised memory reads as: the text before is gone."""
_FEWEST_ODD = 6
_ODD = re.compile("[^\x00-\x7f]+")
_SEEN = (*SPOKEN, TOKENS, CALL)


def judge(row: Row, asked: Asked) -> Verdict | None:
    said = [part.text for part in parts(row) if part.role in _SEEN]
    is_lossy = any(map(is_lost, said))
    is_mended = any(mended(text) != text for text in said)
    if not is_lossy and not is_mended:
        return None
    reason = "lost_text" if is_lossy else "garbled"
    shown = next(text for text in said if (is_lost(text) if is_lossy else mended(text) != text))
    found: list[tuple[str, dict[str, Any]]] = [(reason, {"text": _excerpt(shown)})]
    if asked.action == "drop":
        return Verdict(found, ())
    if asked.action == "fix" and is_mended:
        made = rewritten(row, lambda part: _change(part))
        if made is None or made == row:
            return Verdict([*found, ("left_alone", {})])
        return Verdict(found, (made,))
    return Verdict(found)


def _change(part: Part) -> str:
    return mended(part.text) if part.role in _SEEN else part.text


def is_lost(text: str) -> bool:
    """Whether something of it cannot be had back: what is left of it says so, or it is UTF-8 read as GBK but for a few
    bytes."""
    if text.isascii():
        return False
    return bool(_LOST.search(text)) or any(_is_torn(found[0]) for found in _ODD.finditer(text) if len(found[0]) >= 8)


def _is_torn(stretch: str) -> bool:
    try:
        written = stretch.encode("gb18030")
        written.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= 0.6 * len(written)
    except UnicodeError:
        return False
    return False


def mended(text: str) -> str:
    """The text as it was meant; the very same where nothing says that it was garbled."""
    if text.isascii():
        return text
    ftfy, config = _ftfy()
    made: str = ftfy.fix_text(text, config) if ftfy.is_bad(text) else text
    return _from_gbk(made)


@cache
def _ftfy() -> Any:
    """Only what undoes a wrong encoding: quotes stay curled, Chinese punctuation wide, ligatures and HTML as they
    are."""
    import ftfy

    return ftfy, ftfy.TextFixerConfig(
        unescape_html=False, remove_terminal_escapes=False, fix_latin_ligatures=False, fix_character_width=False,
        uncurl_quotes=False, fix_line_breaks=False, fix_surrogates=False, remove_control_chars=False,
        normalization=None, explain=False,
    )  # fmt: skip


def _from_gbk(text: str) -> str:
    """Each stretch that is not ASCII by itself: a row may hold a garbled quotation."""
    return _ODD.sub(lambda found: _read_again(found[0]), text)


def _read_again(stretch: str) -> str:
    if len(stretch) < _FEWEST_ODD:
        return stretch
    try:
        made = stretch.encode("gb18030").decode("utf-8")
    except UnicodeError:
        return stretch
    return made if any("\u4e00" <= character <= "\u9fff" for character in made) else stretch


def _excerpt(text: str, around: int = 30) -> str:
    """Where it is garbled, or its beginning."""
    lost = _LOST.search(text) or _ODD.search(text)
    at = lost.start() if lost else 0
    return text[max(0, at - around) : at + around].replace("\n", " ")
