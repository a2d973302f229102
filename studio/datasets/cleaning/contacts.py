"""E-mail addresses and phone numbers of people.

Long numbers are mostly no phones: orders, dates, ISBNs, amounts, identifiers. So a number counts where it is written as
one, which libphonenumber knows by country: with a plus and a country code, in groups as that country writes them, or
after a word that says so. Chinese mobile numbers are written without groups: they count by their form, unless the word
before says that it is something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from studio.datasets.cleaning.masks import Find, judged
from studio.datasets.cleaning.parts import CALL, SPOKEN, TOKENS
from studio.datasets.cleaning.record import Asked, Verdict
from studio.datasets.forms import Row

_ROLES = (*SPOKEN, TOKENS, CALL)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])([A-Za-z0-9][A-Za-z0-9._%+-]{0,63})@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)+[A-Za-z]{2,24})"
    r"(?![A-Za-z0-9_(@-]|\.[A-Za-z0-9])"
)
_NO_ADDRESS = re.compile(
    r"(?i)(?:^|\.)(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost|local|png|jpe?g|gif|svg|webp|css|js|ts|py)$"
)
"""RFC 2606 keeps these names for examples; the rest are names of files."""
_URL = re.compile(r"://[^\s/@]*$")
_MANY_DIGITS = re.compile(r"\d(?:[\s().\-–]?\d){6}")
_CHINESE_MOBILE = re.compile(
    r"(?<![\dA-Za-z_.#/=+-])(?:(?:\+|00)?86[ -]?)?1[3-9]\d(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}(?![\dA-Za-z_-]|\.\d)"
)
_OTHER_NUMBER = re.compile(
    r"(?i)(?:订单|单号|运单|快递|流水|交易|发票|商品|货号|编号|序列|证号|身份证|卡号|账号|帐号|群号|qq|order|invoice|tracking|ticket"
    r"|serial|sku|isbn|issn|doi|ean|upc|imei|account|\bid|\bno\.?|number of|timestamp|版本|金额|学号|工号|条码|税号"
    r"|reference|\bref|\bpp?\.|\bpages?|\bvol|\bcase|\bcard|\bpart|\bitem|\bmodel|\bpolicy)[^\d\n]{0,12}$"
)
_CALLED = re.compile(
    r"(?i)(?:电话|手机|座机|热线|联系方式|拨打|致电|传真|微信"
    r"|tel|phone|mobile|cell|call|fax|whatsapp|hotline|dial|text me)[^\d\n]{0,16}$"
)
_BEFORE = 32
_SENTENCE = re.compile(r"[.,;:]\s|\n")
"""What parts numbers that stand side by side, and is never inside one."""
_INSIDE = re.compile(r"[A-Za-z0-9_.#/=]$")


def judge_emails(row: Row, asked: Asked) -> Verdict | None:
    return judged(row, asked, emails, _ROLES)


def judge_phones(row: Row, asked: Asked) -> Verdict | None:
    regions = tuple(one.strip().upper() for one in asked.options["regions"].split(",") if one.strip())
    return judged(row, asked, lambda text: phones(text, regions), _ROLES)


def emails(text: str) -> list[Find]:
    if "@" not in text:
        return []
    return [
        Find(found.start(), found.end(), "email", "[EMAIL]")
        for found in _EMAIL.finditer(text)
        if found[1].lower() != "git" and not _NO_ADDRESS.search(found[2]) and not _in_url(text, found.start())
    ]


def _in_url(text: str, at: int) -> bool:
    """Whether it is the password and host of `scheme://user:password@host`, which are no address."""
    return bool(_URL.search(text[max(0, at - 80) : at]))


def phones(text: str, regions: tuple[str, ...] = ("CN", "US", "GB")) -> list[Find]:
    """`regions` are countries whose numbers are known without a country code."""
    if not _MANY_DIGITS.search(text):
        return []
    spans = [
        (found.start(), found.end()) for found in _CHINESE_MOBILE.finditer(text) if not _is_other(text, found.start())
    ]
    for span in (*_international(text), *(one for region in regions for one in _national(text, region))):
        if not any(span[0] < end and start < span[1] for start, end in spans):
            spans.append(span)
    return [Find(start, end, "phone", "[PHONE]") for start, end in sorted(spans)]


def _is_other(text: str, at: int) -> bool:
    return bool(_OTHER_NUMBER.search(text[max(0, at - _BEFORE) : at]))


def _international(text: str) -> Iterator[tuple[int, int]]:
    if "+" in text:
        for found in _library().PhoneNumberMatcher(text, None):
            if not _is_other(text, found.start):
                yield found.start, found.end


def _national(text: str, region: str) -> Iterator[tuple[int, int]]:
    library = _library()
    for found in library.PhoneNumberMatcher(text, region, leniency=library.Leniency.VALID):
        before = text[max(0, found.start - _BEFORE) : found.start]
        if _OTHER_NUMBER.search(before) or _INSIDE.search(before) or _SENTENCE.search(found.raw_string):
            continue
        if _CALLED.search(before) or _is_grouped(found, region):
            yield found.start, found.end


def _is_grouped(found: Any, region: str) -> bool:
    """In the groups of its country, with brackets or three groups: two alone could be anything, but for a Chinese area
    code."""
    library, written = _library(), found.raw_string
    shown = library.format_number(found.number, library.PhoneNumberFormat.NATIONAL)
    groups = re.findall(r"\d+", written)
    usual = re.findall(r"\d+", shown)
    if region == "CN" and written[0] == "0" and len(groups) == 2:
        return groups[0] == usual[0]
    return len(groups) >= (2 if "(" in written else 3) and groups == usual


@cache
def _library() -> Any:
    import phonenumbers

    return phonenumbers
