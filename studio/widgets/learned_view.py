"""Whether a run learned, as a page shows it: the sentence, what else was measured, and which settings stand out."""

from __future__ import annotations

from html import escape

from estimator.core.problems import Problem
from studio.i18n import explain, t
from studio.jobs.learned import FEWEST_ROWS, Learned, compare, number
from studio.jobs.view import RunView

LOOK = {"good": ("ls-good", "✓"), "bad": ("ls-problem", "✕"), "open": ("ls-warn", "!")}
"""Style and sign of each tone."""


def learned_view(lang: str, view: RunView) -> str:
    """Nothing for a run that has not finished."""
    found = view.learned
    if found is None:
        return ""
    style, sign = LOOK[found.tone]
    title = escape(t(lang, "learned.title"))
    return (
        f'<section class="ls-learned" aria-label="{title}"><h3>{title}</h3>'
        f'<p class="ls-verdict-learned {style}" data-kind="{found.kind}">{sign} '
        f"{escape(explain(lang, found.verdict))}</p>"
        f"{_list(lang, found.facts)}{_settings(lang, found)}</section>"
    )


def _settings(lang: str, found: Learned) -> str:
    if not found.settings:
        return ""
    return f"<h4>{escape(t(lang, 'learned.settings'))}</h4>{_list(lang, found.settings)}"


def _list(lang: str, notes: tuple[Problem, ...]) -> str:
    items = "".join(f'<li data-note="{note.code}">{escape(explain(lang, note))}</li>' for note in notes)
    return f"<ul>{items}</ul>" if items else ""


def learned_word(lang: str, view: RunView) -> str:
    """For a table's cell, with its sign."""
    found = view.learned
    return f"{LOOK[found.tone][1]} {t(lang, f'learned.kind_{found.kind}')}" if found else "–"


def heldout_text(view: RunView) -> str:
    """The two losses of a run, for a comparison's cell."""
    compared = view.learned.heldout if view.learned else None
    return f"{number(compared.first_loss)} → {number(compared.second_loss)}" if compared else "–"


def same_rows(lang: str, views: list[RunView]) -> str:
    """Which of two runs does better on the very same held-out rows; nothing where they had others."""
    first, second = (view.course.heldout.get("trained") for view in views)
    alike = len({view.info.fingerprint for view in views}) == 1
    compared = compare(first, second) if first and second and alike else None
    if compared is None:
        return ""
    said = {"rows": f"{compared.rows:,}", "fewest": FEWEST_ROWS, "name": views[1].name}
    losses = [compared.first_loss, compared.second_loss]
    ends = [compared.gain, compared.low, compared.high]
    if compared.gain < 0 and compared.is_sure:
        losses.reverse()
        said["name"] = views[0].name
        ends = [-compared.gain, -compared.high, -compared.low]
    said |= {"first": number(losses[0]), "second": number(losses[1])}
    said |= {
        name: number(end) if end is not None else "" for name, end in zip(("gain", "low", "high"), ends, strict=True)
    }
    key = "same_rows_few" if compared.low is None else "same_rows" if compared.is_sure else "same_rows_unclear"
    return f'<p class="ls-same-rows">{escape(t(lang, f"learned.{key}", **said))}</p>'
