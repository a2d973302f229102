"""A dataset's proposals in a reader's language."""

from __future__ import annotations

from typing import Any

from studio.i18n import explain, t
from studio.outlook.advisor import Advice, Proposal

_OURS = {"rule of thumb": "advisor.rule", "counted": "advisor.counted"}
"""Sources that are words of ours."""


def shown(lang: str, value: Any) -> str:
    if isinstance(value, bool):
        return t(lang, "estimate.on" if value else "estimate.off")
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def why(lang: str, one: Proposal) -> str:
    return t(lang, f"advisor.{one.why}", **one.params)


def source(lang: str, one: Proposal) -> str:
    parts = [t(lang, _OURS[part]) if part in _OURS else part for part in one.source.split("; ")]
    return t(lang, "advisor.said_by", source=t(lang, "advisor.joined").join(parts))


def worth_saying(advice: Advice) -> list[Proposal]:
    """All but what is off and was not on."""
    return [one for one in advice.proposals if one.why != "rslora_off" or advice.begun.use_rslora]


def notes(lang: str, advice: Advice) -> list[str]:
    said = [t(lang, f"advisor.note_{key}", **params) for key, params in advice.notes]
    return said + [explain(lang, problem) for problem in advice.refused]


def advice_text(lang: str, advice: Advice) -> str:
    """For a terminal, a line each."""
    lines = [
        f"  {one.field} = {shown(lang, one.value)}: {why(lang, one)} {source(lang, one)}"
        for one in worth_saying(advice)
    ]
    return "\n".join([*lines, *(f"! {note}" for note in notes(lang, advice))])
