"""What people write for accelerators, taken apart: how many, which words, how much memory. `两张4090`, `8×H100`,
`4060ti 16g`, `NVIDIA A100-SXM4-80GB`. No catalogue is asked here."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

MAX_NAME_CHARS = 200
"""What is read of a name."""
_NUMBERS = {
    "one": 1, "single": 1, "two": 2, "dual": 2, "double": 2, "pair of": 2, "three": 3, "triple": 3, "four": 4,
    "quad": 4, "six": 6,
    "eight": 8, "sixteen": 16, "单": 1, "一": 1, "两": 2, "二": 2, "双": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7,
    "八": 8, "十六": 16,
    "十": 10,
}  # fmt: skip
_NUMBER = rf"(?:\d{{1,3}}|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_UNIT = r"(?:张|块|片|个|路|卡|[-\s]*(?:gpus?|cards?)\b(?:\s+of)?)"
_COUNTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<n>\d{1,3})\s*[x*✕]\s*(?P<rest>.*\d.*)",
        r"x\s*(?P<n>\d{1,3})\s+(?P<rest>.*\d.*)",
        r"(?P<rest>.*\d.*?)\s*(?:(?<![a-z])x|(?<=\dg)x|(?<=\dgb)x|[*✕])\s*(?P<n>\d{1,3})",
        rf"(?P<n>{_NUMBER})\s*{_UNIT}\s*(?P<rest>.*\d.*)",
        rf"(?P<rest>.*\d.*?)[\s,，]+(?P<n>{_NUMBER})\s*{_UNIT}",
        rf"(?P<rest>.*\d[a-z]*)\s*(?P<n>{'|'.join(n for n in _NUMBERS if not n.isascii())})\s*{_UNIT}",
        rf"(?P<n>{'|'.join(_NUMBERS)})[\s-]*(?P<rest>.*\d.*)",
        r"(?P<n>\d{1,2})\s+(?!gi?b\b|g\b)(?P<rest>[a-z].*\d.*|\d{4}.*)",
    )
)
_MEMORY = re.compile(r"(?<![a-z0-9.])(\d{1,4}(?:\.\d+)?)\s*(?:gi?b?|g)(?![a-z0-9.])")
NOISE = {
    "nvidia", "geforce", "tesla", "amd", "instinct", "radeon", "intel", "apple", "huawei", "ascend", "gpu", "gpus",
    "card", "graphics",
    "desktop", "vram", "memory", "of", "founders", "oc", "显卡", "显存", "卡", "的", "英伟达", "英偉達", "輝達", "老黄",
    "华为", "華為", "昇腾",
    "升腾", "昇騰", "英特尔", "苹果", "超威",
}  # fmt: skip
"""Words that tell no card from another."""
_CHINESE_NOISE = sorted((word for word in NOISE if not word.isascii()), key=len, reverse=True)
"""Written without a blank before the next word."""
_SPELLED = (
    (re.compile(r"(?<![a-z])(rtx|gtx|rx|arc)(?=[a-z]?\d)"), r"\1 "),
    (re.compile(r"(?<![a-z])(mi|[abhlptv])\s+(\d{1,4}[a-z]{0,2})(?![a-z0-9])"), r"\1\2"),
    (re.compile(r"(?<![a-z])(ascend|tesla|quadro|geforce|radeon|nvidia|titan)(?=[a-z]*\d)"), r"\1 "),
    (re.compile(r"(\d{4})tis(?![a-z])"), r"\1 ti super"),
    (re.compile(r"(\d{4})s(?![a-z])"), r"\1 super"),
    (re.compile(r"(\d{4})([a-z]+)"), r"\1 \2"),
    (re.compile(r"(?<![a-z])(?:mobile|notebook|笔记本)(?![a-z])"), "laptop"),
)


@dataclass(frozen=True)
class Typed:
    """The words of a name in small letters, without the maker's, and the memory in GiB that it states."""

    words: frozenset[str]
    memory_gib: float | None


def counted(name: str) -> tuple[int, str]:
    """(how many cards a name says, the name of one): (2, "4090") for `2x4090`; 1 where it says nothing."""
    text = _plain(name)
    for pattern in _COUNTS:
        if (found := pattern.fullmatch(text)) and (number := _NUMBERS.get(found["n"]) or _whole(found["n"])):
            return number, one_of(found["rest"].strip(" -,，"))
    return 1, name


def one_of(name: str) -> str:
    """A name without the plural's s: `4090s`."""
    return re.sub(r"(?<=\d{4})s\b", "", name, flags=re.IGNORECASE)


def typed(name: str) -> Typed:
    """The words of one card's name."""
    text = _plain(name)
    memory = _MEMORY.search(text)
    text = _MEMORY.sub(" ", text)
    for pattern, plain in _SPELLED:
        text = pattern.sub(plain, text)
    for word in _CHINESE_NOISE:
        text = text.replace(word, " ")
    words = re.findall(r"[a-z0-9.+]+|[^\W\da-z_]+", text)
    kept = frozenset(word for word in words if word not in NOISE and not word.startswith("hbm"))
    return Typed(kept, float(memory[1]) if memory else None)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name[:MAX_NAME_CHARS]).replace("×", "x").casefold().strip()


def _whole(number: str) -> int:
    return int(number) if number.isdecimal() else 0
