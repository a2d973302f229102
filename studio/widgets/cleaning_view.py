"""The steps that clean a dataset: which are on and what they do, what they found, rows before and after, copies side by
side. The form is plain HTML; `assets/scripts/elements/clean.js` reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from html import escape
from typing import Any

from studio import shipped
from studio.datasets.cleaning.record import Choice, Option, Step
from studio.datasets.cleaning.report import Copy, Report, Sample, StepReport
from studio.datasets.cleaning.steps import STEPS
from studio.datasets.cleaning.words import change_text
from studio.i18n import t
from studio.widgets.token_mask import visible

ON_LOAD = shipped.script("elements/clean")
_WORDS = re.compile(r"\w+|\W")
Reason = Any
"""`(lang, reason, params)` as a sentence."""


def cleaning_view(lang: str, choices: Sequence[Choice], report: Report | None, reason: Reason) -> str:
    """The form with `choices`, and with what a look found, if there was one."""
    on, found = {one.step: one for one in choices}, {one.step: one for one in report.steps} if report else {}
    steps = "".join(_step(lang, step, on.get(name), found.get(name), reason) for name, step in STEPS.items())
    title, help = (escape(t(lang, f"cleanup.{key}")) for key in ("title", "help"))
    look = f'<button type="button" class="ls-button" data-clean="look">{escape(t(lang, "cleanup.look"))}</button>'
    return (
        f'<section class="ls-cleaning"><h3>{title}</h3><p class="ls-note">{help}</p>'
        f'{steps}<div class="ls-cleaning-end">{look}{_end(lang, report)}</div></section>'
    )


def made_by(lang: str, changes: Sequence[dict[str, Any]], parent: str) -> str:
    """What was done to the version before, and the way back to it; nothing where there is none."""
    known = [one for one in changes if one.get("step") in STEPS and one.get("counts", {}).get("touched")]
    if not parent or not known:
        return ""
    items = "".join(f"<li>{escape(change_text(lang, one))}</li>" for one in known)
    title, undo = escape(t(lang, "cleanup.made")), escape(t(lang, "cleanup.undo"))
    button = f'<button type="button" class="ls-button" data-clean="undo">{undo}</button>'
    return f'<section class="ls-good ls-data-made" role="status"><p>✓ {title}</p><ul>{items}</ul>{button}</section>'


def _counts(lang: str, counts: dict[str, Any]) -> str:
    named = ("touched", "dropped", "changed", "added", "left_alone")
    return " · ".join(t(lang, f"cleaning.count_{name}", rows=f"{counts[name]:,}") for name in named if counts.get(name))


def _end(lang: str, report: Report | None) -> str:
    """What would come of it, and the button for that."""
    if report is None:
        return ""
    says = {name: f"{getattr(report, name):,}" for name in ("rows", "kept", "dropped", "changed", "added")}
    said = f'<p role="status">{escape(t(lang, "cleanup.would", **says))}</p>'
    if not (report.dropped or report.changed or report.added):
        return said
    word = escape(t(lang, "cleanup.apply"))
    return f'{said}<button type="button" class="ls-button ls-button-primary" data-clean="apply">{word}</button>'


def _step(lang: str, step: Step, choice: Choice | None, found: StepReport | None, reason: Reason) -> str:
    name, id = t(lang, f"cleaning.step_{step.name}"), f"clean-{step.name}"
    checked = " checked" if choice else ""
    action = choice.action if choice and choice.action else step.actions[0]
    options = "".join(
        f'<option value="{one}"{" selected" * (one == action)}>{escape(t(lang, f"cleaning.action_{one}"))}</option>'
        for one in step.actions
    )
    label = escape(t(lang, "cleanup.does", step=name))
    return (
        f'<div class="ls-clean-step" data-step="{step.name}"><div class="ls-clean-head">'
        f'<input type="checkbox" id="{id}" data-on{checked}><label for="{id}"><strong>{escape(name)}</strong></label>'
        f'<select data-action aria-label="{label}">{options}</select></div>'
        f'<p class="ls-note">{escape(t(lang, f"cleaning.step_{step.name}_help"))}</p>'
        f"{_options(lang, step, choice)}{_found(lang, found, reason)}</div>"
    )


def _options(lang: str, step: Step, choice: Choice | None) -> str:
    if not step.options:
        return ""
    said: Mapping[str, Any] = choice.options if choice else {}
    inputs = "".join(_option(lang, step, name, one, said.get(name, one.default)) for name, one in step.options.items())
    summary = escape(t(lang, "cleanup.options"))
    is_open = " open" if any(said.get(name, one.default) != one.default for name, one in step.options.items()) else ""
    return f'<details{is_open}><summary>{summary}</summary><div class="ls-clean-options">{inputs}</div></details>'


def _option(lang: str, step: Step, name: str, option: Option, value: Any) -> str:
    label, id = escape(t(lang, f"cleaning.option_{name}")), f"clean-{step.name}-{name}"
    kind = "text"
    if option.low is not None:
        every = "1" if isinstance(option.default, int) else "any"
        kind = f'number" min="{option.low}" max="{option.high}" step="{every}'
    shown = f'<input type="{kind}" id="{id}" data-option="{name}" value="{escape(str(value))}">'
    return f'<label for="{id}">{label}</label>{shown}'


def _found(lang: str, found: StepReport | None, reason: Reason) -> str:
    """Counts, rows before and after, and groups of copies."""
    if found is None:
        return ""
    if not found.touched:
        return f'<p class="ls-clean-found">✓ {escape(t(lang, "cleanup.found_none"))}</p>'
    said = _counts(lang, found.counts)
    samples = "".join(_sample(lang, one, reason) for one in found.samples)
    groups = "".join(_group(lang, group) for group in found.groups)
    shown = [
        f"<details><summary>{escape(t(lang, f'cleanup.{key}', count=len(of)))}</summary>{html}</details>"
        for key, of, html in (("samples", found.samples, samples), ("groups", found.groups, groups))
        if of
    ]
    return f'<p class="ls-clean-found">! {escape(said)}</p>{"".join(shown)}'


def _sample(lang: str, one: Sample, reason: Reason) -> str:
    title = t(lang, "cleanup.row_because", row=f"{one.row:,}", reason=reason(lang, one.reason, one.params))
    if one.after is None:
        after = f'<p class="ls-row-dropped">✕ {escape(t(lang, "cleanup.left_out"))}</p>'
    elif one.after == one.before:
        return f'<p class="ls-note">{escape(title)}</p><div class="ls-data-two">{_text(visible(one.before))}</div>'
    else:
        after = ""
    old, new = _apart(one.before, one.after or one.before)
    made = after or _text(new)
    return f'<p class="ls-note">{escape(title)}</p><div class="ls-data-two">{_text(old)}{made}</div>'


def _apart(before: str, after: str) -> tuple[str, str]:
    """Both as HTML, with the words marked that the other has not."""
    one, two = _WORDS.findall(before), _WORDS.findall(after)
    old, new = "", ""
    for kind, a, b, c, d in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        left, right = visible("".join(one[a:b])), visible("".join(two[c:d]))
        old += left if kind == "equal" else f"<del>{left}</del>" if left else ""
        new += right if kind == "equal" else f"<ins>{right}</ins>" if right else ""
    return old, new


def _text(html: str) -> str:
    return f'<div class="ls-row ls-tokens" dir="auto" tabindex="0">{html}</div>'


def _group(lang: str, group: Sequence[Copy]) -> str:
    shown = "".join(
        f'<article class="ls-row"><header><h4>{escape(t(lang, "dataset.row_title", row=f"{one.row:,}"))}</h4>'
        f'<p class="ls-note">{escape(_likeness(lang, at, one))}</p></header>'
        f'<div class="ls-tokens" dir="auto" tabindex="0">{visible(one.text)}</div></article>'
        for at, one in enumerate(group)
    )
    return f'<div class="ls-data-two">{shown}</div>'


def _likeness(lang: str, at: int, one: Copy) -> str:
    return t(lang, "cleanup.alike", share=f"{100 * one.similarity:.0f}") if at else t(lang, "cleanup.first")
