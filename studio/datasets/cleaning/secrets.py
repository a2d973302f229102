"""Keys, tokens and passwords: what a model would give away to whoever asks.

The patterns are detect-secrets' own, of the kinds that have an unmistakable form, and those of services that it
does not know yet. Its detectors of high entropy and of words like "password =" are left out: every hash and every
form in a tutorial is one. Of a key that documentation shows (`AKIAIOSFODNN7EXAMPLE`, `sk-xxxxxxxx`) nothing is
said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from studio.datasets.cleaning.masks import Find, judged
from studio.datasets.cleaning.parts import CALL, SPOKEN, TOKENS, TOOLS
from studio.datasets.cleaning.record import Asked, Verdict
from studio.datasets.forms import Row

_ROLES = (*SPOKEN, TOKENS, CALL, TOOLS)
_KINDS = {
    "aws.AWSKeyDetector": ("AKIA", "ASIA", "A3T", "ABIA", "ACCA"),
    "azure_storage_key.AzureStorageKeyDetector": ("AccountKey",),
    "github_token.GitHubTokenDetector": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    "gitlab_token.GitLabTokenDetector": ("gl",),
    "jwt.JwtTokenDetector": ("eyJ",),
    "mailchimp.MailchimpDetector": ("-us",),
    "npm.NpmDetector": ("_authToken",),
    "openai.OpenAIDetector": ("T3BlbkFJ",),
    "pypi_token.PypiTokenDetector": ("pypi-",),
    "sendgrid.SendGridDetector": ("SG.",),
    "slack.SlackDetector": ("xox", "hooks.slack.com"),
    "square_oauth.SquareOAuthDetector": ("sq0csp",),
    "stripe.StripeDetector": ("_live_",),
    "telegram_token.TelegramBotTokenDetector": (":AA",),
    "twilio.TwilioKeyDetector": ("AC", "SK"),
}
"""Detectors of detect-secrets, and what a text has to hold to be worth their patterns."""
_NEWER: dict[str, str] = {
    "github_pat_": r"github_pat_[A-Za-z0-9_]{60,90}",
    "sk-ant-": r"sk-ant-[A-Za-z0-9]{2,8}-[A-Za-z0-9_-]{40,120}",
    "sk-": r"(?<![A-Za-z0-9_-])sk-(?:proj-|svcacct-|or-v1-)?"
           r"(?:[a-f0-9]{32}|[a-f0-9]{64}|[A-Za-z0-9]{48}|[A-Za-z0-9_-]{100,180})(?![A-Za-z0-9_-])",
    "hf_": r"(?<![A-Za-z0-9_])hf_[A-Za-z]{34}(?![A-Za-z0-9_])",
    "AIza": r"(?<![A-Za-z0-9_-])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
    "LTAI": r"(?<![A-Za-z0-9])LTAI[A-Za-z0-9]{12,24}(?![A-Za-z0-9])",
    "AKID": r"(?<![A-Za-z0-9])AKID[A-Za-z0-9]{32}(?![A-Za-z0-9])",
    "dapi": r"(?<![A-Za-z0-9])dapi[a-f0-9]{32}(?![A-Za-z0-9])",
}  # fmt: skip
"""GitHub's fine-grained tokens, Anthropic, OpenAI and those who write keys like it, Hugging Face, Google, Alibaba
Cloud, Tencent Cloud, Databricks."""
_PRIVATE_KEY = re.compile(
    r"-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY(?: BLOCK)?-----(?P<body>(?:\\n|[\sA-Za-z0-9+/=:,.\-])*?)"
    r"(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|(?![\s\\A-Za-z0-9+/=:,.\-])|\Z)"
)
_KEY_CHARACTERS = 40
"""Fewer than these behind its first line are no key, but a page that explains one."""
_IN_URL = re.compile(
    r"[a-zA-Z][a-zA-Z0-9+]{1,15}://[^\s:/@\"'<>]{1,64}:(?P<password>[^\s:/@\"'<>]{3,64})@[A-Za-z0-9\[]"
)
_NO_SECRET = re.compile(
    r"(?i)example|sample|dummy|fake|your|x{5,}|\*{3}|\.{3}|redacted|placeholder|1234567|abcdef[^0-9]|<|\{|\$|%"
)
_NO_PASSWORD = re.compile(
    r"(?i)^(?:\W*|pass(?:wo?r?d)?\d*|pwd|secret\d*|token|postgres|root|admin\d*|user|test\d*|guest|mysql|密码)$"
)
_FEWEST_DIFFERENT = 8


def judge(row: Row, asked: Asked) -> Verdict | None:
    return judged(row, asked, secrets, _ROLES)


def secrets(text: str) -> list[Find]:
    found: list[Find] = []
    for start, end, reason in sorted((*_private_keys(text), *_passwords(text), *_keys(text))):
        if not found or start >= found[-1].end:
            found.append(Find(start, end, reason, "[SECRET]"))
    return found


def _keys(text: str) -> Iterator[tuple[int, int, str]]:
    for marks, pattern in _patterns():
        if any(mark in text for mark in marks):
            for found in pattern.finditer(text):
                if not _NO_SECRET.search(found[0]) and len(set(found[0])) >= _FEWEST_DIFFERENT:
                    yield found.start(), found.end(), "secret_key"


def _private_keys(text: str) -> Iterator[tuple[int, int, str]]:
    if "PRIVATE KEY" not in text:
        return
    for found in _PRIVATE_KEY.finditer(text):
        body = re.sub(r"\\n|\s", "", found["body"])
        if len(body) >= _KEY_CHARACTERS and len(set(body)) >= _FEWEST_DIFFERENT and "..." not in body:
            yield found.start(), found.end(), "private_key"


def _passwords(text: str) -> Iterator[tuple[int, int, str]]:
    if "://" not in text:
        return
    for found in _IN_URL.finditer(text):
        password = found["password"]
        if not _NO_PASSWORD.search(password) and not _NO_SECRET.search(password) and len(set(password)) > 3:
            yield *found.span("password"), "password"


@cache
def _patterns() -> list[tuple[tuple[str, ...], re.Pattern[str]]]:
    """What a text has to hold, and the pattern that then looks: nearly all texts hold none of them."""
    from importlib import import_module

    found: list[tuple[tuple[str, ...], re.Pattern[str]]] = [((mark,), re.compile(one)) for mark, one in _NEWER.items()]
    for name, marks in _KINDS.items():
        module, _, detector = name.partition(".")
        of = getattr(import_module(f"detect_secrets.plugins.{module}"), detector)
        found += [(marks, pattern) for pattern in of.denylist]
    return found
