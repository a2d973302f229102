"""What steps found, in the reader's language."""

from __future__ import annotations

from typing import Any

from studio.datasets.cleaning.report import Report, StepReport
from studio.datasets.store import DatasetInfo
from studio.datasets.words import reason_text
from studio.i18n import strings, t


def step_text(lang: str, step: str) -> str:
    """The name of a step; of another version's, and of what is no step, its own word."""
    key = f"cleaning.step_{step}"
    return t(lang, key) if key in strings(lang) else step


def action_text(lang: str, action: str) -> str:
    key = f"cleaning.action_{action}"
    return t(lang, key) if key in strings(lang) else action


def row_name(info: DatasetInfo, file: int, row: int) -> str:
    """The number of a row, with its file where there are several."""
    number = f"{row:,}"
    return f"{info.files[file]}: {number}" if 0 <= file < len(info.files) else number


def found_text(lang: str, info: DatasetInfo, one: StepReport) -> str:
    """`Near duplicates: 12 rows (row 4: it is nearly the same as row 2)`."""
    first = one.samples[0] if one.samples else None
    said = t(lang, "cleaning.found", step=step_text(lang, one.step), rows=f"{one.touched:,}")
    if first is None:
        return said
    why = reason_text(lang, {"reason": first.reason, "params": first.params})
    return said + t(lang, "cleaning.found_first", row=row_name(info, first.file, first.row), reason=why)


def doubts(lang: str, info: DatasetInfo, report: Report) -> list[str]:
    """A sentence for each step that found something, most rows first."""
    found = sorted((one for one in report.steps if one.touched), key=lambda one: -one.touched)
    return [found_text(lang, info, one) for one in found]


def change_text(lang: str, change: dict[str, Any]) -> str:
    """An entry of `DatasetInfo.changes`: `Near duplicates (leave out): 12 rows found, 12 left out`."""
    step, options, counts = str(change.get("step", "")), change.get("options") or {}, change.get("counts") or {}
    if step == "mix":
        parts = [f"{name} × {weight:g}" for name, weight in options.items() if isinstance(weight, (int, float))]
        return t(lang, "cleaning.mixed", parts="、".join(parts) if lang == "zh-CN" else ", ".join(parts))
    name = step_text(lang, step)
    if isinstance(options, dict) and options.get("action"):
        name = t(lang, "cleaning.named", step=name, action=action_text(lang, str(options["action"])))
    said = [
        t(lang, f"cleaning.count_{count}", rows=f"{rows:,}")
        for count, rows in counts.items()
        if f"cleaning.count_{count}" in strings(lang) and isinstance(rows, int)
    ]
    return t(lang, "cleaning.change", step=name, counts=("，" if lang == "zh-CN" else ", ").join(said) or "–")
