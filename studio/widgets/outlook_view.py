"""What is known of a run before it starts, as four lines or more above the button, and as the question that a hopeless
start has to answer."""

from __future__ import annotations

import os
from html import escape

from estimator.core.problems import Problem
from studio.i18n import explain, t
from studio.jobs.machine import Machine
from studio.outlook.outlook import CANNOT_COME, Outlook
from studio.outlook.pace import Pace
from studio.widgets.run_view import duration

DAY_S, YEAR_S = 86_400.0, 365 * 86_400.0


def outlook_view(lang: str, found: Outlook, meant_for: str = "") -> str:
    """`meant_for`: the card of the estimate that brought the recipe, where one did."""
    other = t(lang, "outlook.meant_for", gpu=meant_for) if meant_for else ""
    rows = [
        ("machine", device(lang, found.machine), other, False),
        ("time", *_time(lang, found.pace), any(note.code == "outlook.too_long" for note in found.hopeless)),
        (
            "memory",
            explain(lang, found.memory) if found.memory else t(lang, "outlook.time_unknown"),
            "",
            not found.fits,
        ),
        (
            "base",
            explain(lang, found.base),
            "",
            found.base.code in (*CANNOT_COME, "outlook.base_gated", "outlook.base_wheel"),
        ),
    ]
    rows += [("settings", explain(lang, note), "", True) for note in found.settings]
    title = escape(t(lang, "outlook.title"))
    body = "".join(_row(t(lang, f"outlook.{name}"), said, beside, bad, name) for name, said, beside, bad in rows)
    return f'<section class="ls-ahead" aria-label="{title}"><h3>{title}</h3><dl>{body}</dl></section>'


def _row(name: str, said: str, beside: str, bad: bool, key: str) -> str:
    note = f" <small>{escape(beside)}</small>" if beside else ""
    look = ' class="ls-ahead-bad"' if bad else ""
    return f'<dt>{escape(name)}</dt><dd data-ahead="{key}"{look}>{"! " if bad else ""}{escape(said)}{note}</dd>'


def device(lang: str, machine: Machine) -> str:
    if machine.device == "cpu":
        return t(lang, "outlook.machine_cpu", cores=os.cpu_count() or "?")
    return t(lang, "outlook.machine_other", device=machine.name)


def _time(lang: str, pace: Pace | None) -> tuple[str, str]:
    """(the range, what it stands on)"""
    if pace is None:
        return t(lang, "outlook.time_unknown"), ""
    basis = explain(lang, pace.basis)
    if pace.step_s is None:
        return t(lang, "outlook.time_unknown"), basis
    low, high = (span(lang, seconds) for seconds in pace.run_s or pace.step_s)
    if pace.run_s:
        return t(lang, "outlook.time_run", low=low, high=high, steps=f"{pace.steps:,}"), basis
    return t(lang, "outlook.time_step", low=low, high=high), basis


def span(lang: str, seconds: float) -> str:
    """Seconds to years, as a person says them."""
    if seconds < 10:
        return t(lang, "train.seconds", n=f"{seconds:.1g}" if seconds < 1 else f"{seconds:.1f}")
    if seconds < 2 * DAY_S:
        return duration(lang, seconds)
    if seconds < 2 * YEAR_S:
        return t(lang, "outlook.days", n=f"{seconds / DAY_S:,.0f}")
    return t(lang, "outlook.years", n=f"{seconds / YEAR_S:,.0f}")


def reasons(lang: str, found: Outlook) -> str:
    """Why a start waits for a yes."""
    return t(lang, "outlook.confirm", reasons=" ".join(_said(lang, found, note) for note in found.hopeless))


def anyway(lang: str, found: Outlook) -> str:
    """The words on the button that says yes: they name what is overlooked."""
    briefly = [_briefly(lang, found, note) for note in found.hopeless]
    return t(lang, "outlook.anyway", what=t(lang, "outlook.and").join(briefly))


def _briefly(lang: str, found: Outlook, note: Problem) -> str:
    if note.code != "outlook.too_long":
        return t(lang, "outlook.brief_base")
    low = span(lang, note.params["low_s"]).strip()
    return t(lang, "outlook.brief_too_long", low=low, device=device(lang, found.machine))


def _said(lang: str, found: Outlook, note: Problem) -> str:
    if note.code != "outlook.too_long":
        return explain(lang, note)
    low, high = (span(lang, note.params[name]) for name in ("low_s", "high_s"))
    return explain(lang, Problem(note.code, low=low, high=high, device=device(lang, found.machine)))
